"""The torch operator of a recurrent layer: a rule whose own output returns to its input through a weight.

    u[t] = x[t] + z[t - 1] W^T (+ b),   (z[t], s[t]) = rule(u[t], s[t - 1])

One kernel runs the whole sequence: each block of the batch goes through all steps (`LOOPS`). For backward u is saved
instead of x, because the states can be computed again from u without a matrix product. Backward does this segment by
segment. Then each step is one product, g_z[t] = g_y[t] + g_u[t + 1] W, and one row of the rule's adjoint. The gradient
of W is a single product over all steps. If the returning spikes are detached, g_z = g_y, so backward is the same as
without recurrence.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from ranvier.backends import op
from ranvier.backends.autograd import Function, refuse
from ranvier.backends.backend import Backend
from ranvier.derive.rule import Rule
from ranvier.spikes import bits, bits_gpu, feedback_cpu, product

SEGMENT = 1 << 18  # most numbers for the states in one segment of a tile: somewhat more than the L2 cache


@dataclass(frozen=True)
class Loop:
    """How a backend runs a recurrent layer: where its kernels are, how many neurons they support, how spikes are packed
    into bits for backward, how the gradient of the weight is computed from these bits, and whether the weight may have
    autocast's dtype.
    """

    kernels: str
    widest: float
    description: str
    pack: Callable[[Tensor], Tensor]
    gradient: Callable[[Tensor, Tensor, int], Tensor]
    autocasts: bool = False

    def forward(self, *given: Any) -> tuple:
        return import_module(self.kernels).forward(*given)

    def backward(self, *given: Any) -> tuple:
        return import_module(self.kernels).backward(*given)


LOOPS = {
    "numba": Loop(
        "ranvier.spikes.feedback_cpu",
        math.inf,
        "tiles of the batch on CPU threads",
        lambda y: bits.packed(y).bits,
        product.gradient,
    ),
    "triton": Loop(
        "ranvier.spikes.feedback_gpu",
        512,
        "a block of the batch per program",
        bits_gpu.pack,
        bits_gpu.gradient,
        autocasts=True,
    ),
}


def loop(backend: Backend) -> Loop | None:
    """Return how a backend runs recurrent layers; None if it has no kernels for them."""
    return LOOPS.get(backend.name)


def feedback(
    x: Tensor, z: Tensor, initial: Tensor, params: Sequence[Tensor], weight: Tensor, bias: Tensor | None, rule: Rule,
    backend: str, detached: bool = False,
) -> tuple[list[Tensor], Tensor]:  # fmt: skip
    """Run a recurrent layer: x [T, B, N], z [B, N] (the output before the first step), initial [S, B, N], weight [N,
    N], bias [N] or None -> outputs [T, B, N] each, final [S, B, N]. detached: whether the gradient through the
    returning outputs is cut."""
    if op.traced((x, z, initial, *params, weight)):
        *outputs, final, _, _, _ = recurrent(x, z, initial, list(params), weight, bias, rule.key, backend, detached)
    else:
        *outputs, final = _Recurrent.apply(x, z, initial, weight, bias, rule.key, backend, detached, *params)
    return outputs, final


def _segment(steps: int, states: int, neurons: int) -> int:
    """Return the number of steps per segment: all steps if their states are few, otherwise about sqrt(T)."""
    whole = steps * states * neurons * feedback_cpu.together(neurons) <= SEGMENT
    return max(1, steps if whole else math.isqrt(max(steps - 1, 0)) + 1)


def _packs(rule: Rule, dtype: torch.dtype) -> bool:
    """Whether the bits of the output are saved for backward instead of the output."""
    return rule.binary and dtype == torch.float32


def _forward(
    x: Tensor, z: Tensor, initial: Tensor, params: list[Tensor], weight: Tensor, bias: Tensor | None, rule: str,
    backend: str, detached: bool,
) -> list[Tensor]:  # fmt: skip
    """Return outputs, final, marks [segments, S, B, N], u [T, B, N], and the bits [T B, words] of the first output if
    backward needs them (otherwise [0, words]).
    """
    known, (steps, batch, neurons) = op.rules[rule], x.shape
    segment = _segment(steps, len(known.states), neurons)
    outputs, final, marks, u = LOOPS[backend].forward(
        known, x.contiguous(), z, initial.contiguous(), params, weight, bias, segment
    )
    packed = x.new_empty(0, bits.words(neurons), dtype=torch.int64)
    if _packs(known, initial.dtype):
        packed = LOOPS[backend].pack(outputs[0].view(steps * batch, neurons))
    return [*(y.to(x.dtype) for y in outputs), final, marks, u, packed]


recurrent = torch.library.custom_op("ranvier::recurrent", _forward, mutates_args=())


@recurrent.register_fake
def _(
    x: Tensor, z: Tensor, initial: Tensor, params: list[Tensor], weight: Tensor, bias: Tensor | None, rule: str,
    backend: str, detached: bool,
) -> list[Tensor]:  # fmt: skip
    known = op.rules[rule]
    segment = _segment(x.shape[0], len(known.states), x.shape[2])
    outputs = [x.new_empty(x.shape) for _ in known.outputs]
    marks = initial.new_empty(-(-x.shape[0] // segment), *initial.shape)
    rows = x.shape[0] * x.shape[1] if _packs(known, initial.dtype) else 0
    packed = x.new_empty(rows, bits.words(x.shape[2]), dtype=torch.int64)
    return [*outputs, initial.new_empty(initial.shape), marks, x.new_empty(x.shape, dtype=initial.dtype), packed]


def _gradients(
    u: Tensor, y: Tensor, z: Tensor, marks: Tensor, params: list[Tensor], weight: Tensor, grads: list[Tensor],
    wanted: list[bool], rule: str, backend: str, detached: bool = False,
) -> list[Tensor]:  # fmt: skip
    """Return the gradients of x, z, the initial state, the weight, and the wanted parameters.

    y: the first output [T, B, N], or its bits [T B, words]. grads: those of the outputs [T, B, N] each and of the final
    state [S, B, N].
    """
    known, dtype, (steps, batch, neurons) = op.rules[rule], marks.dtype, u.shape
    if detached:
        g_u, g_initial, *found = op._gradients([u], marks[0], params, grads, [True, *wanted], rule, backend)
        g_z = torch.zeros_like(z)
    else:
        segment = _segment(steps, len(known.states), neurons)
        g_u, g_initial, rows = LOOPS[backend].backward(known, u, marks, params, weight, grads, wanted, segment)
        kept = [p for p, want in zip(params, wanted, strict=True) if want]
        found = [r.sum_to_size(p.shape).to(p.dtype) for r, p in zip(rows, kept, strict=True)]
        g_z = (g_u[0] @ weight.to(dtype)).to(z.dtype)
    before = y[: (steps - 1) * batch] if y.dim() == 2 else y[:-1].reshape(-1, neurons).to(dtype)
    sums = LOOPS[backend].gradient if y.dim() == 2 else product.gradient
    g_weight = sums(before, g_u[1:].reshape(-1, neurons), neurons) + g_u[0].t() @ z.to(dtype)
    return [g_u.to(grads[0].dtype), g_z, g_initial, g_weight, *found]


recurrent_backward = torch.library.custom_op("ranvier::recurrent_backward", _gradients, mutates_args=())


@recurrent_backward.register_fake
def _(
    u: Tensor, y: Tensor, z: Tensor, marks: Tensor, params: list[Tensor], weight: Tensor, grads: list[Tensor],
    wanted: list[bool], rule: str, backend: str, detached: bool = False,
) -> list[Tensor]:  # fmt: skip
    found = [p.new_empty(p.shape) for p, want in zip(params, wanted, strict=True) if want]
    like = marks.new_empty(weight.shape)
    return [grads[0].new_empty(u.shape), z.new_empty(z.shape), marks.new_empty(marks.shape[1:]), like, *found]


def _keep(ctx: Any, inputs: tuple, output: Sequence[Tensor], rule: str, backend: str, detached: bool) -> None:
    z, params, weight, bias = inputs
    *outputs, _, marks, u, packed = output
    ctx.set_materialize_grads(False)  # else torch would allocate a gradient of zeros for u, which is large
    ctx.rule, ctx.backend, ctx.detached = rule, backend, detached
    ctx.biased, ctx.dtype = bias is not None, outputs[0].dtype
    y = packed if _packs(op.rules[rule], u.dtype) else outputs[0]
    ctx.save_for_backward(u, y, z, marks, weight, *params)


def _back(
    ctx: Any, saved: Sequence[Tensor], grads: Sequence[Tensor | None], wanted: list[bool], gradients: Any
) -> tuple:
    """Return the gradients of x, z, the initial state, the weight, the bias and each parameter; grads: those of the
    outputs and the final state.
    """
    u, y, z, marks, weight, *params = saved
    *given, final = grads
    given = [torch.zeros_like(u, dtype=ctx.dtype) if g is None else g for g in given]
    final = torch.zeros_like(marks[0]) if final is None else final
    asked = u, y, z, marks, params, weight, [*given, final], wanted, ctx.rule, ctx.backend, ctx.detached
    g_x, g_z, g_initial, g_weight, *found = gradients(*asked)
    each = iter(found)
    g_params = [next(each) if want else None for want in wanted]
    return g_x, g_z, g_initial, g_weight.to(weight.dtype), g_x.sum((0, 1)) if ctx.biased else None, g_params


def _remember(ctx: Any, inputs: tuple, output: list[Tensor]) -> None:
    _, z, _, params, weight, bias, rule, backend, detached = inputs
    _keep(ctx, (z, params, weight, bias), output, rule, backend, detached)


def _backward(ctx: Any, grads: list[Tensor | None]) -> tuple:
    wanted = [bool(n) for n in ctx.needs_input_grad[3]] if ctx.needs_input_grad[3] else []
    *given, final, _, _, _ = grads
    g_x, g_z, g_initial, g_weight, g_bias, g_params = _back(
        ctx, ctx.saved_tensors, [*given, final], wanted, recurrent_backward
    )
    return g_x, g_z, g_initial, g_params, g_weight, g_bias, None, None, None


recurrent.register_autograd(_backward, setup_context=_remember)
recurrent_backward.register_autograd(refuse, setup_context=lambda ctx, inputs, output: None)


class _Recurrent(Function):
    """The operator without torch's dispatcher; it returns the outputs and the final state."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, z: Tensor, initial: Tensor, weight: Tensor, bias: Tensor | None, rule: str, backend: str,
        detached: bool, *params: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        found = _forward(x, z, initial, list(params), weight, bias, rule, backend, detached)
        out = found[:-3]
        if not len(found[-1]):  # backward needs the output itself, which the user may change in place
            out = [found[0].clone(), *out[1:]]
        _keep(ctx, (z, params, weight, bias), found, rule, backend, detached)
        return tuple(out)

    @staticmethod
    def gradients(ctx: Any, saved: tuple[Tensor, ...], *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        wanted = list(ctx.needs_input_grad[8:])
        g_x, g_z, g_initial, g_weight, g_bias, g_params = _back(ctx, saved, grads, wanted, _gradients)
        return g_x, g_z, g_initial, g_weight, g_bias, None, None, None, *g_params
