"""The kernels of a GPU before their judge (`judging.py`), on the GPU itself.

    python tests/backends/on_a_gpu.py [--part K/N] [--small]

Prints one line a check and ends with what failed; `--part 2/8` takes every eighth check, so that several processes may
share the work (most of which is compiling). Without a GPU and with TRITON_INTERPRET=1 the small checks run in Triton's
interpreter, to try the script itself.
"""

import argparse
import os
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TRITON_INTERPRET", "0")

import judging
import torch
from judging import ROUNDINGS, Verdict

import ranvier as rv
from everything import NEURONS
from ranvier.backends import triton_backend
from ranvier.spikes import feedback_gpu

HALF = torch.float16, torch.bfloat16
LARGE = {"LIF": rv.LIF, "ALIF": rv.ALIF, "AdEx": rv.AdEx}


# ---------------------------------------------------------------- what is judged
def scan(device, make, steps, neurons, dtype=torch.float32):
    """A rule beside the reference, with a parameter for each neuron where there are few."""
    return judging.scan(judging.case(make().to(device), steps, neurons, dtype, device=device))


def recurrent(device, make, steps, batch, width, dtype=torch.float32, bias=False, segment=4):
    """A recurrent layer, step by step: is what came in the product of what came out, are the neurons right for what
    came in, and the same on the way back. So a spike that moved does not hide what follows."""
    rule, (x,), initial, params, grads, g_final = judging.case(make(), steps, batch * width, dtype, device=device)
    real, shape = initial.dtype, (steps, batch, width)
    weight = (torch.rand(width, width, generator=torch.Generator().manual_seed(1)) - 0.5).to(device, real)
    weight, offset = weight * (2 / width**0.5), torch.full((width,), 0.1, device=device, dtype=real) if bias else None
    z = torch.zeros(batch, width, device=device, dtype=dtype)
    outputs, final, _, u = feedback_gpu.forward(
        rule, x.view(shape), z, initial.view(-1, batch, width), params, weight, offset, segment
    )
    marks = _marks(rule, u, initial, params, segment)
    before = torch.cat([z.unsqueeze(0), outputs[0][:-1]]).double()
    due, most = before @ weight.t().double(), before.abs() @ weight.t().double().abs()
    far = (u - x.view(shape).double() - due - (0 if offset is None else offset.double())).abs()
    far = (far / (torch.finfo(real).eps * (most + u.abs() + 1))).max().item()

    def backward(seeds, g_final):
        rows = [g.view(shape) for g in seeds]
        g_u, g_initial, g_params = feedback_gpu.backward(
            rule, u, marks, params, weight, [*rows, g_final.view(-1, batch, width)], [True] * len(params), segment
        )
        g_y = rows[0].double()
        g_y[:-1] += g_u[1:].double() @ weight.double()
        flat = [g.reshape(steps, -1) for g in (g_y, *rows[1:])]
        return flat, [g_u.flatten(1), g_initial.flatten(1), *g_params.flatten(1)]

    flat = [y.flatten(1) for y in outputs]
    given = rule, [u.flatten(1)], initial, params, grads, g_final
    said = judging.verdict(given, (True,) * (1 + len(params)), flat, final.flatten(1), backward)
    if far > width**0.5 + ROUNDINGS:
        said.problem = f"the product is {far:.0f} roundings off"
    return said


def _marks(rule, u, initial, params, segment):
    """The states at the start of each segment, by the kernel of the plain scan."""
    marks, state = [], initial
    for start in range(0, len(u), segment):
        marks.append(state.view(-1, *u.shape[1:]))
        state = triton_backend.forward(rule, [u[start : start + segment].flatten(1)], state, params)[1]
    return torch.stack(marks)


def far_out(device):
    """More numbers than 32 bits count, forward and back: every column does what the first ones do."""
    steps, few, many = 33, 1 << 10, 1 << 26
    rule, (x,), initial, params, (g,), g_final = judging.case(rv.LIF(), steps, few, torch.bfloat16, device=device)
    wanted = (True,) + (False,) * len(params)
    wide = [t.repeat(1, many // few) for t in (x, initial, g, g_final)]
    found = []
    for a, b, c, d in ((x, initial, g, g_final), wide):
        y, final = triton_backend.forward(rule, [a], b, params)
        found.append((y[0], final, *triton_backend.backward(rule, [a], b, params, [c], d, wanted)[0]))
    same = all(bool((w.view(len(n), -1, few) == n.unsqueeze(1)).all()) for n, w in zip(*found, strict=True))
    return Verdict(problem="" if same else "columns beyond 2^31 numbers differ from the first")


def repeated(device, times=10):
    """The same again and again gives the same bits."""
    layer, x = rv.ALIF(learn=("beta", "kappa")).to(device), torch.rand(100, 16, 512, device=device) * 1.5
    found = []
    for _ in range(times):
        leaf = x.clone().requires_grad_()
        y = layer(leaf)
        found.append([y.detach(), *torch.autograd.grad(y.square().sum(), [leaf, *layer.parameters()])])
    same = all(torch.equal(a, b) for later in found[1:] for a, b in zip(found[0], later, strict=True))
    return Verdict(problem="" if same else "runs differ")


def captured(device):
    """A training step captured once and played again on other input gives what it gives by itself."""
    net = rv.Sequential(rv.Linear(20, 64), rv.Recurrent(rv.LIF(learn="beta"), 64), rv.Linear(64, 5), rv.LI()).to(device)
    x, other = torch.rand(30, 8, 20, device=device), torch.rand(30, 8, 20, device=device)

    def step(run, x):
        return torch.autograd.grad(run(x).square().mean(), list(net.parameters()))

    played = [g.clone() for g in step(rv.graphed(net, x), other)]
    same = all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(played, step(net, other), strict=True))
    return Verdict(problem="" if same else "a CUDA graph plays something else")


# ---------------------------------------------------------------- all of it
def checks(device, small):
    """Each check by its name; the small ones are those that an interpreter can do."""
    found = {}
    for make in [rv.LIF, rv.CubaLIF] if small else NEURONS:
        for steps, neurons in [(9, 33)] if small else [(1, 1), (40, 33), (70, 3000)]:
            found[f"{make.__name__} T={steps} N={neurons}"] = (scan, device, make, steps, neurons)
        for dtype in (torch.bfloat16,) if small else (*HALF, torch.float64):
            found[f"{make.__name__} {dtype}"] = (scan, device, make, 9, 257, dtype)
    rows = [(7, 3, 33, False)] if small else [(1, 1, 1, False), (13, 5, 33, True), (40, 200, 256, False),
                                              (20, 3, 300, True), (50, 64, 512, False)]  # fmt: skip
    for steps, batch, width, bias in rows:
        for dtype in (torch.float32, torch.float64):
            for segment in (4, steps):
                name = f"Recurrent {dtype} T={steps} B={batch} N={width} by {segment}"
                found[name] = (recurrent, device, rv.ALIF, steps, batch, width, dtype, bias, segment)
    if small:
        return found
    for name, make in LARGE.items():
        for steps, neurons in ((16, 32 * 64 * 32 * 32), (100, 64 * 1024), (500, 16 * 512)):
            for dtype in (torch.float32, torch.bfloat16):
                found[f"{name} T={steps} N={neurons} {dtype}"] = (scan, device, make, steps, neurons, dtype)
    found["more than 2^31 numbers"] = (far_out, device)
    found["ten runs"] = (repeated, device)
    found["a training step in a CUDA graph"] = (captured, device)
    for n in range(1, torch.cuda.device_count()):  # while the first is the current one
        found[f"LIF on device {n}"] = (scan, f"cuda:{n}", rv.LIF, 9, 33)
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", default="0/1", help="K/N: the checks whose number leaves K when divided by N")
    parser.add_argument("--small", action="store_true")
    asked = parser.parse_args()
    part, parts = map(int, asked.part.split("/"))
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and os.environ["TRITON_INTERPRET"] != "1":
        sys.exit("no GPU here; TRITON_INTERPRET=1 tries the script without one")
    failed, worst = [], Verdict()
    for at, (name, (check, *given)) in enumerate(checks(device, asked.small or device == "cpu").items()):
        if at % parts != part:
            continue
        begin = time.perf_counter()
        try:
            said = check(*given)
        except Exception:
            said = Verdict(problem=traceback.format_exc().strip().replace("\n", "\n    "))
        print(
            f"{'FAILED' if said.problem else 'ok':7}{name:44} {said} ({time.perf_counter() - begin:.1f} s)", flush=True
        )
        failed += [name] if said.problem else []
        if "float16" not in name:  # both halves
            worst = Verdict(worst.moved + said.moved, max(worst.farthest, said.farthest), max(worst.error, said.error))
    print(f"in float32 and float64: {worst}")
    print(f"{len(failed)} failed: {failed}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
