"""A rule whose own output returns through a weight, carried through time on the CPU in one operator.

    u[t] = x[t] + z[t - 1] W^T (+ b),   (z[t], s[t]) = rule(u[t], s[t - 1])

A tile of the batch runs through all ticks in one kernel (`feedback_kernels.py`). Forward adds up the rows of the weight
that spiked, or multiplies where many did. u takes the place of x as what is kept for backward: with u known, backward
needs no product to see the states again. They are retraced segment by segment, then each tick is one product,
g_z[t] = g_y[t] + g_u[t + 1] W, and one row of the adjoint. The gradient of W is a single product over all ticks.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ranvier.derive.rule import Rule
from ranvier.machines import cpu, op
from ranvier.machines.memory import empty, scratch
from ranvier.machines.threads import spread
from ranvier.spikes import bits, product

CACHE = 1 << 18  # numbers that the states of one segment of a tile may take: the second cache, and some more
WORTH = 1 << 17  # numbers from which threads share the batch


def _loops() -> str:
    return "\n\n" + cpu.loops("ranvier.spikes", "feedback_kernels.py")


def _tile(neurons: int) -> int:
    """Samples carried together: enough that a row of the weight serves several, few enough that they stay in cache."""
    return 8 if neurons <= 512 else 16


def _segment(steps: int, states: int, neurons: int) -> int:
    """Ticks whose states are held at once: all if they are few, else about sqrt(T)."""
    few = steps * states * neurons * _tile(neurons) <= CACHE
    return max(1, steps if few else math.isqrt(max(steps - 1, 0)) + 1)


def _ready(params: Sequence[Tensor], x: Tensor, dtype: torch.dtype) -> tuple[tuple[bool, ...], tuple]:
    """Which parameters are per neuron, and all of them as the kernels take them."""
    wide = [p.to(dtype) if p.dim() == 0 else p.to(dtype).expand(x.shape[1:]) for p in params]
    flat = [p.reshape(-1).contiguous() for p in wide]
    return cpu.per_neuron(flat), tuple(p.numpy() for p in flat)


def _columns(weight: Tensor) -> Tensor:
    """A weight [N, K] as the kernels add up its columns: panels in float32, transposed in float64."""
    return product.panels(weight) if weight.dtype == torch.float32 else weight.t().contiguous()


def _flat(sequences: Sequence[Tensor]) -> tuple:
    """[T, B, N] each as arrays [T, B N]."""
    return tuple(s.view(len(s), -1).numpy() for s in sequences)


@torch.library.custom_op("ranvier::feedback", mutates_args=())
def feedback(
    x: Tensor, z: Tensor, initial: Tensor, params: list[Tensor], weight: Tensor, bias: Tensor | None, rule: str
) -> list[Tensor]:
    """x [T, B, N], z [B, N] the output before the first tick, initial [S, B, N], weight [N, N], bias [N] or None
    -> outputs [T, B, N] each, final [S, B, N], marks [segments, S, B, N], u [T, B, N], and the bits
    [T B, words] of the first output where they say all of it (else [0, words])."""
    known, dtype = op.rules[rule], initial.dtype
    steps, batch, neurons = x.shape
    states = len(known.states)
    segment = _segment(steps, states, neurons)
    outputs, u = [empty(x.shape, dtype) for _ in known.outputs], empty(x.shape, dtype)
    marks, final = initial.new_empty(-(-steps // segment), *initial.shape), torch.empty_like(initial)
    wide, numbers = _ready(params, x, dtype)
    code = cpu.module(known, dtype, wide, more=_loops())
    current = (x.to(dtype) if bias is None else x.to(dtype) + bias.to(dtype)).contiguous().numpy()
    begin, s = z.to(dtype).contiguous().numpy(), initial.contiguous().view(states, -1).numpy()
    arrays = (product.FORWARD, current, begin, _columns(weight.to(dtype)).numpy(), s, numbers, _flat(outputs),
              outputs[0].numpy(), u.numpy(), _flat([u]), final.view(states, -1).numpy(),
              marks.view(len(marks), states, -1).numpy())  # fmt: skip
    tile = min(_tile(neurons), batch)

    def work(lo: int, hi: int) -> None:
        two = scratch("feedback", (2, states, tile * neurons), dtype).numpy()
        around = two, *product.tile_scratch(tile, neurons)
        cpu.timed(known.name, code.feedback_forward, lo, hi, segment, *arrays, *around)

    spread(work, batch, tile, x.numel() >= WORTH)
    spikes = outputs[0].view(-1, neurons)[: steps * batch if _packs(known, dtype) else 0]
    return [*(y.to(x.dtype) for y in outputs), final, marks, u, bits.packed(spikes).bits]


def _packs(rule: Rule, dtype: torch.dtype) -> bool:
    """Whether backward keeps the bits of the output instead of the output."""
    return rule.binary and dtype == torch.float32


@feedback.register_fake
def _(
    x: Tensor, z: Tensor, initial: Tensor, params: list[Tensor], weight: Tensor, bias: Tensor | None, rule: str
) -> list[Tensor]:
    known = op.rules[rule]
    segment = _segment(x.shape[0], len(known.states), x.shape[2])
    outputs = [x.new_empty(x.shape) for _ in known.outputs]
    marks = initial.new_empty(-(-x.shape[0] // segment), *initial.shape)
    rows = x.shape[0] * x.shape[1] if _packs(known, initial.dtype) else 0
    packed = x.new_empty(rows, bits.words(x.shape[2]), dtype=torch.int64)
    return [*outputs, initial.new_empty(initial.shape), marks, x.new_empty(x.shape, dtype=initial.dtype), packed]


@torch.library.custom_op("ranvier::feedback_backward", mutates_args=())
def feedback_backward(
    u: Tensor, y: Tensor, z: Tensor, marks: Tensor, params: list[Tensor], weight: Tensor, grads: list[Tensor],
    wanted: list[bool], rule: str,
) -> list[Tensor]:  # fmt: skip
    """Gradients of x, z, the initial state, the weight, and the wanted parameters.

    y: the first output [T, B, N], or its bits [T B, words]. grads: of the outputs [T, B, N] each and of the final
    state [S, B, N].
    """
    known, dtype = op.rules[rule], marks.dtype
    (steps, batch, neurons), states = u.shape, len(known.states)
    segment = _segment(steps, states, neurons)
    wide, numbers = _ready(params, u, dtype)
    code = cpu.module(known, dtype, wide, (True, *wanted), more=_loops())
    g_outputs = [g.to(dtype).contiguous() for g in grads[:-1]]
    g_final = grads[-1].to(dtype).contiguous().view(states, -1).numpy()
    g_z, g_u = empty(u.shape, dtype), empty(u.shape, dtype)
    g_initial, g_params = torch.empty_like(marks[0]), torch.zeros(sum(wanted), batch * neurons, dtype=dtype)
    weight = weight.to(dtype)
    arrays = (_flat([u]), marks.view(len(marks), states, -1).numpy(), numbers, _columns(weight.t()).numpy(),
              g_outputs[0].numpy(), g_z.numpy(), _flat([g_z, *g_outputs[1:]]), g_final, g_u.numpy(), _flat([g_u]),
              g_initial.view(states, -1).numpy(), g_params.numpy())  # fmt: skip
    tile = min(_tile(neurons), batch)

    def work(lo: int, hi: int) -> None:
        trail = scratch("trail", (segment, states, tile * neurons), dtype).numpy()
        carry = scratch("carry", (states, tile * neurons), dtype).numpy()
        around = trail, carry, *product.tile_scratch(tile, neurons)
        cpu.timed(known.name, code.feedback_backward, lo, hi, segment, *arrays, *around)

    spread(work, batch, tile, u.numel() >= WORTH)
    returned = y[: (steps - 1) * batch] if y.dim() == 2 else y[:-1].reshape(-1, neurons).to(dtype)
    g_weight = product.gradient(returned, g_u[1:].reshape(-1, neurons), neurons) + g_u[0].t() @ z.to(dtype)
    kept = [p for p, want in zip(params, wanted, strict=True) if want]
    found = [r.view(u.shape[1:]).sum_to_size(p.shape).to(p.dtype) for r, p in zip(g_params, kept, strict=True)]
    return [g_u.to(grads[0].dtype), (g_u[0] @ weight).to(z.dtype), g_initial, g_weight, *found]


@feedback_backward.register_fake
def _(
    u: Tensor, y: Tensor, z: Tensor, marks: Tensor, params: list[Tensor], weight: Tensor, grads: list[Tensor],
    wanted: list[bool], rule: str,
) -> list[Tensor]:  # fmt: skip
    found = [p.new_empty(p.shape) for p, want in zip(params, wanted, strict=True) if want]
    like = marks.new_empty(weight.shape)
    return [grads[0].new_empty(u.shape), z.new_empty(z.shape), marks.new_empty(marks.shape[1:]), like, *found]


def _remember(ctx: Any, inputs: tuple, output: list[Tensor]) -> None:
    _, z, _, params, weight, bias, ctx.rule = inputs
    *outputs, _, marks, u, packed = output
    ctx.biased = bias is not None
    y = packed if _packs(op.rules[ctx.rule], u.dtype) else outputs[0]
    ctx.save_for_backward(u, y, z, marks, weight, *params)
    ctx.dtype = outputs[0].dtype


def _backward(ctx: Any, grads: list[Tensor | None]) -> tuple:
    u, y, z, marks, weight, *params = ctx.saved_tensors
    *given, final, _, _, _ = grads
    given = [torch.zeros_like(u, dtype=ctx.dtype) if g is None else g for g in given]
    final = torch.zeros_like(marks[0]) if final is None else final
    wanted = [bool(n) for n in ctx.needs_input_grad[3]] if params else []
    g_x, g_z, g_initial, g_weight, *found = feedback_backward(
        u, y, z, marks, params, weight, [*given, final], wanted, ctx.rule
    )
    each = iter(found)
    g_params = [next(each) if want else None for want in wanted]
    g_bias = g_x.sum((0, 1)) if ctx.biased else None
    return g_x, g_z, g_initial, g_params, g_weight.to(weight.dtype), g_bias, None


feedback.register_autograd(_backward, setup_context=_remember)
feedback_backward.register_autograd(op.no_second_derivative, setup_context=lambda ctx, inputs, output: None)
