"""How a GPU kernel is judged, in Triton's interpreter and on a chip.

Neurons do not hear of each other, so each is judged by itself: its spikes are those of the reference, but that the
first to differ may do so where the membrane is within rounding of the threshold (`ROUNDINGS` of them, and the verdict
says how far it was). From there on that neuron is another one and is left out; all numbers of the others are compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ranvier.backends import op, reference, triton_backend
from ranvier.derive.hoist import evaluate, value
from ranvier.derive.trace import SPIKES

ROUNDINGS = 64  # of the numbers that are compared at a threshold: what a membrane gathers on its way there
FEW = 1e-3  # share of neurons that may be left out
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 2e-3, torch.bfloat16: 1e-2}


@dataclass
class Verdict:
    """Neurons that were left out, how far the farthest was from its threshold (in roundings), the largest error of a
    number relative to its tensor, and what is wrong."""

    moved: int = 0
    farthest: float = 0.0
    error: float = 0.0
    problem: str = ""

    def __str__(self) -> str:
        said = f"spikes moved {self.moved:3}, within {self.farthest:4.1f} roundings; relative error {self.error:.1e}"
        return f"{said} {self.problem}"


def case(neuron, steps, neurons, dtype=torch.float32, seed=0, device="cpu"):
    """A rule, and inputs, initial state, parameters, output gradients, gradient of the final state, as kernels take
    them."""
    rule, g = neuron.bound(()), torch.Generator().manual_seed(seed)
    real = torch.float64 if dtype == torch.float64 else torch.float32

    def some(*shape, dtype=dtype):
        return torch.rand(*shape, generator=g, dtype=torch.float32).to(device, dtype)

    inputs = [some(steps, neurons) * 1.5 for _ in rule.inputs]
    initial = some(len(rule.states), neurons, dtype=real) * 0.5
    params = op.flat_params([p.detach() for p in neuron.values(inputs[0])], (neurons,), real)
    grads = [some(steps, neurons) - 0.4 for _ in rule.outputs]
    return rule, inputs, initial, params, grads, some(len(rule.states), neurons, dtype=real) - 0.5


def judged(rule, inputs, initial, params, grads, g_final, wanted):
    """Outputs, final state, and the gradients that `backward` gives, by the reference."""
    real, neurons = initial.dtype, initial.shape[1]
    xs = [x.to(real).detach().requires_grad_(w) for x, w in zip(inputs, wanted, strict=False)]
    wide = [p.expand(neurons).clone().requires_grad_(w) for p, w in zip(params, wanted[len(xs) :], strict=True)]
    start = initial.clone().requires_grad_()
    outputs, after = reference.scan(rule, xs, list(start.unbind(0)), wide)
    ends = [*outputs, torch.stack(list(after)) if after else start]
    sought = [*(x for x in xs if x.requires_grad), start, *(p for p in wide if p.requires_grad)]
    seeds = [*(g.to(real) for g in grads), g_final]
    found = torch.autograd.grad(ends, sought, seeds, allow_unused=True)
    found = [torch.zeros_like(s) if g is None else g for s, g in zip(sought, found, strict=True)]
    return [y.detach() for y in ends], found


def verdict(
    given: tuple, wanted: Sequence[bool], outputs: Sequence[Tensor], final: Tensor, backward: Callable
) -> Verdict:
    """Of a kernel's outputs [T, N] and final state [S, N] for `given`, as `case` makes it. `backward(grads, g_final)`
    gives the kernel's gradients as a list, and the gradients of the outputs that they are judged by."""
    rule, inputs, initial, params, grads, g_final = given
    grads, found = backward(grads, g_final)
    ends, true = judged(rule, inputs, initial, params, grads, g_final, wanted)
    said, same = _spikes(rule, inputs, initial, params, outputs, ends)
    got, dtype = [*outputs, final, *found], inputs[0].dtype
    for a, b in zip((*ends, *true), got, strict=True):
        a, b = a[..., same].double(), b[..., same].double()
        said.error = max(said.error, ((a - b).norm() / max(a.norm(), 1e-3)).item()) if a.numel() else said.error
    if not said.problem and not said.error <= TOLERANCE[dtype]:  # NaN is an error too
        said.problem = f"a number is off by more than {TOLERANCE[dtype]:g}"
    return said


def scan(given: tuple, wanted: Sequence[bool] | None = None) -> Verdict:
    """Of the kernels of a rule: forward, with marks, and backward."""
    rule, inputs, initial, params, *_ = given
    wanted = wanted or (True,) * (len(inputs) + len(params))
    outputs, final, marks = triton_backend.forward_marked(rule, inputs, initial, params, wanted)

    def backward(grads, g_final):
        found = triton_backend.backward(rule, inputs, initial, params, grads, g_final, wanted, marks)
        return grads, [*found[0], found[1], *found[2]]

    return verdict(given, wanted, outputs, final, backward)


def _spikes(rule, inputs, initial, params, outputs, ends) -> tuple[Verdict, Tensor]:
    """What can be said of the spikes, and which neurons [N] have all of them right."""
    moved = torch.zeros_like(initial.new_empty(initial.shape[1]), dtype=torch.bool)
    if not rule.spiking:
        return Verdict(), ~moved
    differs = torch.stack([a.to(b.dtype) != b for a, b in zip(ends[:1], outputs[:1], strict=True)]).any(0)  # [T, N]
    if not rule.binary:  # a graded output may differ in its last bits
        differs &= ~torch.isclose(ends[0], outputs[0].to(ends[0].dtype), rtol=1e-2, atol=1e-2)
    said, first = Verdict(int(differs.any(0).sum())), torch.where(differs.any(0), differs.int().argmax(0), -1)
    if said.moved:
        for t, near in enumerate(_margins(rule, inputs, initial, params)):
            here = first == t
            if here.any():
                said.farthest = max(said.farthest, near[here].max().item())
    if said.farthest > ROUNDINGS:
        said.problem = f"a spike moved {said.farthest:.0f} roundings away from its threshold"
    elif said.moved > max(1, FEW * len(moved)):
        said.problem = f"the spikes of {said.moved} of {len(moved)} neurons moved"
    return said, first < 0


@torch.no_grad()
def _margins(rule, inputs, initial, params):
    """For each step, how many roundings each neuron [N] is from the nearest threshold of its rule."""
    names, state, real = rule.arguments, list(initial.unbind(0)), initial.dtype
    eps, makers = torch.finfo(real).eps, {o.out: o for o in rule.step.ops}
    for now in zip(*(x.to(real).unbind(0) for x in inputs), strict=True):
        known = evaluate(rule.step.ops, dict(zip(names, (*now, *state, *params), strict=True)))
        near = torch.full_like(now[0], torch.inf)
        for o in rule.step.ops:
            if o.name in SPIKES:
                u, maker = value(o.args[0], known), makers.get(o.args[0])
                parts = [torch.as_tensor(value(a, known)).abs() for a in (maker.args if maker else o.args)]
                size = torch.stack([p.to(u).expand_as(near) for p in parts]).amax(0)
                near = torch.minimum(near, u.abs() / (eps * size.clamp_min(torch.finfo(real).tiny)))
        yield near
        state = [torch.as_tensor(value(a, known), dtype=real).expand_as(now[0]) for a in rule.after]
