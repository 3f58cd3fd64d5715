"""The torch operator of a rule whose own output returns through a weight.

    u[t] = x[t] + z[t - 1] W^T (+ b),   (z[t], s[t]) = rule(u[t], s[t - 1])

One kernel carries the whole sequence, a block of the batch through all steps (`feedback_cpu.py`, `feedback_gpu.py`).
u takes the place of x as what is kept for backward: with u known, backward needs no product to see the states again.
They are retraced segment by segment, then each step is one product, g_z[t] = g_y[t] + g_u[t + 1] W, and one row of the
adjoint. The gradient of W is a single product over all steps.
"""

import math
from typing import Any

import torch
from torch import Tensor

from ranvier.backends import op
from ranvier.derive.rule import Rule
from ranvier.spikes import bits, feedback_cpu, product

FEW = 1 << 18  # numbers that the states of one segment of a tile may take: the second cache, and some more
WIDEST = {"numba": math.inf, "triton": 512}  # neurons; see `feedback_gpu.block`


def _kernels(backend: str) -> Any:
    if backend == "triton":
        from ranvier.spikes import feedback_gpu  # Triton is imported where it is used

        return feedback_gpu
    return feedback_cpu


def _segment(steps: int, states: int, neurons: int) -> int:
    """Steps whose states are held at once: all if they are few, else about sqrt(T)."""
    few = steps * states * neurons * feedback_cpu.together(neurons) <= FEW
    return max(1, steps if few else math.isqrt(max(steps - 1, 0)) + 1)


def _packs(rule: Rule, dtype: torch.dtype, backend: str) -> bool:
    """Whether backward keeps the bits of the output instead of the output."""
    return backend == "numba" and rule.binary and dtype == torch.float32


@torch.library.custom_op("ranvier::feedback", mutates_args=())
def feedback(
    x: Tensor, z: Tensor, initial: Tensor, params: list[Tensor], weight: Tensor, bias: Tensor | None, rule: str,
    backend: str,
) -> list[Tensor]:  # fmt: skip
    """x [T, B, N], z [B, N] the output before the first step, initial [S, B, N], weight [N, N], bias [N] or None
    -> outputs [T, B, N] each, final [S, B, N], marks [segments, S, B, N], u [T, B, N], and the bits
    [T B, words] of the first output where backward keeps those (else [0, words])."""
    known, (steps, batch, neurons) = op.rules[rule], x.shape
    segment = _segment(steps, len(known.states), neurons)
    outputs, final, marks, u = _kernels(backend).forward(
        known, x.contiguous(), z, initial.contiguous(), params, weight, bias, segment
    )
    packed = x.new_empty(0, bits.words(neurons), dtype=torch.int64)
    if _packs(known, initial.dtype, backend):
        packed = bits.packed(outputs[0].view(steps * batch, neurons)).bits
    return [*(y.to(x.dtype) for y in outputs), final, marks, u, packed]


@feedback.register_fake
def _(
    x: Tensor, z: Tensor, initial: Tensor, params: list[Tensor], weight: Tensor, bias: Tensor | None, rule: str,
    backend: str,
) -> list[Tensor]:  # fmt: skip
    known = op.rules[rule]
    segment = _segment(x.shape[0], len(known.states), x.shape[2])
    outputs = [x.new_empty(x.shape) for _ in known.outputs]
    marks = initial.new_empty(-(-x.shape[0] // segment), *initial.shape)
    rows = x.shape[0] * x.shape[1] if _packs(known, initial.dtype, backend) else 0
    packed = x.new_empty(rows, bits.words(x.shape[2]), dtype=torch.int64)
    return [*outputs, initial.new_empty(initial.shape), marks, x.new_empty(x.shape, dtype=initial.dtype), packed]


@torch.library.custom_op("ranvier::feedback_backward", mutates_args=())
def feedback_backward(
    u: Tensor, y: Tensor, z: Tensor, marks: Tensor, params: list[Tensor], weight: Tensor, grads: list[Tensor],
    wanted: list[bool], rule: str, backend: str,
) -> list[Tensor]:  # fmt: skip
    """Gradients of x, z, the initial state, the weight, and the wanted parameters.

    y: the first output [T, B, N], or its bits [T B, words]. grads: of the outputs [T, B, N] each and of the final
    state [S, B, N].
    """
    known, dtype, (steps, batch, neurons) = op.rules[rule], marks.dtype, u.shape
    segment = _segment(steps, len(known.states), neurons)
    g_u, g_initial, rows = _kernels(backend).backward(known, u, marks, params, weight, grads, wanted, segment)
    before = y[: (steps - 1) * batch] if y.dim() == 2 else y[:-1].reshape(-1, neurons).to(dtype)
    g_weight = product.gradient(before, g_u[1:].reshape(-1, neurons), neurons) + g_u[0].t() @ z.to(dtype)
    kept = [p for p, want in zip(params, wanted, strict=True) if want]
    found = [r.sum_to_size(p.shape).to(p.dtype) for r, p in zip(rows, kept, strict=True)]
    return [g_u.to(grads[0].dtype), (g_u[0] @ weight.to(dtype)).to(z.dtype), g_initial, g_weight, *found]


@feedback_backward.register_fake
def _(
    u: Tensor, y: Tensor, z: Tensor, marks: Tensor, params: list[Tensor], weight: Tensor, grads: list[Tensor],
    wanted: list[bool], rule: str, backend: str,
) -> list[Tensor]:  # fmt: skip
    found = [p.new_empty(p.shape) for p, want in zip(params, wanted, strict=True) if want]
    like = marks.new_empty(weight.shape)
    return [grads[0].new_empty(u.shape), z.new_empty(z.shape), marks.new_empty(marks.shape[1:]), like, *found]


def _remember(ctx: Any, inputs: tuple, output: list[Tensor]) -> None:
    _, z, _, params, weight, bias, ctx.rule, ctx.backend = inputs
    ctx.set_materialize_grads(False)  # nothing comes back to u, which is as large as the output
    *outputs, _, marks, u, packed = output
    ctx.biased = bias is not None
    y = packed if _packs(op.rules[ctx.rule], u.dtype, ctx.backend) else outputs[0]
    ctx.save_for_backward(u, y, z, marks, weight, *params)
    ctx.dtype = outputs[0].dtype


def _backward(ctx: Any, grads: list[Tensor | None]) -> tuple:
    u, y, z, marks, weight, *params = ctx.saved_tensors
    *given, final, _, _, _ = grads
    given = [torch.zeros_like(u, dtype=ctx.dtype) if g is None else g for g in given]
    final = torch.zeros_like(marks[0]) if final is None else final
    wanted = [bool(n) for n in ctx.needs_input_grad[3]] if params else []
    g_x, g_z, g_initial, g_weight, *found = feedback_backward(
        u, y, z, marks, params, weight, [*given, final], wanted, ctx.rule, ctx.backend
    )
    each = iter(found)
    g_params = [next(each) if want else None for want in wanted]
    g_bias = g_x.sum((0, 1)) if ctx.biased else None
    return g_x, g_z, g_initial, g_params, g_weight.to(weight.dtype), g_bias, None, None


feedback.register_autograd(_backward, setup_context=_remember)
feedback_backward.register_autograd(op.no_second_derivative, setup_context=lambda ctx, inputs, output: None)
