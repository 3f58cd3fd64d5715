"""What only a real GPU can show: its kernels against the reference there. `python tests/backends/on_a_gpu.py`

Prints one line a check and ends with the number of failures. Rules of arithmetic alone must give the reference's spikes
exactly; exp and its like are approximate on a GPU, and so are long sums, so elsewhere a spike may move, and is counted.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("TRITON_INTERPRET", "0")

import torch
from torch import nn

import ranvier as rv
from everything import NEURONS, drive
from ranvier.backends import triton_backend
from ranvier.spikes import feedback

ARITHMETIC = {"add", "sub", "mul", "div", "neg", "spike", "spike_strict", "stop", "where", "gt", "ge", "lt", "le"}
SHAPES = [(1, (1, 1)), (9, (2, 33)), (70, (3, 1000))]
failed = []


def outcome(layer, backend, x):
    """The outputs, and the gradients of the inputs and parameters."""
    xs = [v.clone().requires_grad_() for v in (x if isinstance(x, tuple) else (x,))]
    with rv.backend(backend):
        y, after = layer.scan(tuple(xs) if len(xs) > 1 else xs[0])
    ys = [*(y if isinstance(y, tuple) else (y,)), *after.values()]
    generator = torch.Generator(xs[0].device).manual_seed(3)
    drawn = [torch.randn(v.shape, generator=generator, dtype=v.dtype, device=v.device) for v in ys]
    total = sum((v * w).sum() for v, w in zip(ys, drawn, strict=True))
    wanted = [*xs, *layer.parameters()]
    found = torch.autograd.grad(total, wanted, allow_unused=True) if total.requires_grad else []
    return ys, [torch.zeros(()) if g is None else g for g in found]


def check(name, layer, x, exact, tolerance):
    (true, g_true), (fast, g_fast) = outcome(layer, "reference", x), outcome(layer, "triton", x)
    moved = int((true[0] != fast[0]).sum()) if layer_spikes(layer) else 0
    pairs = zip((*true, *g_true), (*fast, *g_fast), strict=True)
    size = max(g.norm().item() for g in (*true, *g_true))
    error = max(((a - b).norm() / max(a.norm().item(), 1e-3 * size, 1e-6)).item() for a, b in pairs)
    bad = (exact and moved > 0) or (moved == 0 and not error <= tolerance)
    print(
        f"{'FAILED' if bad else 'ok':7}{name:46} spikes moved {moved:4}, worst relative error {error:.1e}", flush=True
    )
    if bad:
        failed.append(name)


def layer_spikes(layer):
    return getattr(layer, "neuron", layer).spiking


def neurons(device, classes):
    for c in classes:
        layer = c(learn=c().learnable).to(device)
        exact = {op.name for op in layer.bound(()).step.ops} <= ARITHMETIC
        for steps, shape in SHAPES:
            x = drive(layer, steps, shape)
            x = tuple(v.to(device) for v in x) if isinstance(x, tuple) else x.to(device)
            check(f"{c.__name__} T={steps} {shape}", layer, x, exact, 1e-3 if exact else 1e-2)


def recurrent(device):
    """float64 is judged strictly: there no spike lies within rounding of the threshold."""
    for dtype, tolerance in ((torch.float64, 1e-8), (torch.float32, 1e-3)):
        for steps, batch, width, bias in (
            (1, 1, 1, False),
            (13, 5, 33, True),
            (40, 200, 256, False),
            (20, 3, 300, True),
        ):
            if device == "cpu" and width > 33:
                continue
            for few in (1 << 18, 64):
                feedback.FEW = few
                neuron = rv.ALIF(learn=("beta", "kappa"), beta=torch.rand(width) * 0.5 + 0.4)
                layer = rv.Recurrent(neuron, nn.Linear(width, width, bias=bias)).to(device, dtype)
                x = torch.rand(steps, batch, width, dtype=dtype, device=device) * 1.5
                name = f"Recurrent {dtype} T={steps} B={batch} N={width} {'whole' if few > 64 else 'segments'}"
                check(name, layer, x, dtype == torch.float64, tolerance)
    feedback.FEW = 1 << 18


def graph(device):
    """A training step captured once and played again on other input gives what it gives by itself."""
    net = rv.Sequential(nn.Linear(20, 64), rv.Recurrent(rv.LIF(learn="beta"), 64), nn.Linear(64, 5), rv.LI()).to(device)
    x, other = torch.rand(30, 8, 20, device=device), torch.rand(30, 8, 20, device=device)

    def step():
        return torch.autograd.grad(net(x).square().mean(), list(net.parameters()))

    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        found = step()
    x.copy_(other)
    captured.replay()
    played = [g.clone() for g in found]
    same = all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(played, step(), strict=True))
    print(f"{'ok' if same else 'FAILED':7}a training step in a CUDA graph")
    if not same:
        failed.append("graph")


if __name__ == "__main__":
    torch.manual_seed(0)
    if torch.cuda.is_available():
        print(torch.cuda.get_device_name(), "with", triton_backend.processors(torch.device("cuda", 0)), "processors")
        for n in range(torch.cuda.device_count()):  # the second device while the first is the current one
            recurrent(f"cuda:{n}")
        graph("cuda:0")
        neurons("cuda:0", NEURONS)
    elif os.environ["TRITON_INTERPRET"] == "1":  # the script itself can be tried without a GPU
        recurrent("cpu")
        neurons("cpu", [rv.LIF, rv.CubaLIF])
    print(f"{len(failed)} failed: {failed}")
    sys.exit(bool(failed))
