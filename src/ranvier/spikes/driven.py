"""A rule driven through a linear map, chunk of time by chunk of time.

    u[t] = x[t] W^T (+ b),   (y[t], s[t]) = rule(u[t], s[t - 1])

Map and neurons take turns at a chunk of ticks, which the neurons find in cache. For backward u is kept, the states at
the start of each chunk, and x, of spikes only the bits; of the gradient of u there is never more than a chunk. Spikes
may be handed on as bits: of y, too, there is then never more than a chunk.

Traffic beside the map's own, per neuron and tick: forward 4 bytes out and back (u) and 4 out, or an eighth; backward
8 in, and a chunk in cache.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ranvier.derive.rule import Rule
from ranvier.machines import cpu, op
from ranvier.machines.memory import contiguous, empty, scratch
from ranvier.spikes import bits, product

CHUNK = 1 << 18  # numbers of u that pass at once: a megabyte, so that map and neurons find it in cache
SHARED = 1 << 22  # the same where threads share the work: they wait for each other at every step
ROWS = 2048  # at least, of a dense product, which arranges the whole weight anew each time


@dataclass(frozen=True)
class Handed:
    """Spikes on their way to the next layer as bits [T B, words]; `carrier` [T, B, N] holds no memory, it only takes
    their gradient."""

    bits: Tensor
    carrier: Tensor


def driven(
    x: Tensor | Handed, weight: Tensor, bias: Tensor | None, initial: Tensor, params: Sequence[Tensor], rule: Rule,
    events: bool = True, hand: bool = False,
) -> Tensor | Handed:  # fmt: skip
    """x [T, B, K], weight [N, K], bias [N], initial [S, B, N], params broadcastable to [N] -> y [T, B, N] of a rule
    with one input and one output; with `hand` its bits, for a binary rule in float32. events: whether the product may
    go by the events of x."""
    known = x.bits if isinstance(x, Handed) else product.bits_of(x) if events else None
    given = x.carrier if isinstance(x, Handed) else x
    keep = torch.is_grad_enabled()
    y, packed = _Driven.apply(given, known, weight, bias, initial, rule, events, hand, keep, *params)
    return Handed(packed, y) if hand else y


def _chunks(steps: int, batch: int, neurons: int, dense: bool) -> list[slice]:
    """Ticks that pass together."""
    most = CHUNK if torch.get_num_threads() == 1 else SHARED
    rows = max(most // max(1, neurons), ROWS if dense else 1)
    ticks = max(1, rows // max(1, batch), math.isqrt(steps))  # a state is kept for each chunk
    return [slice(t, min(t + ticks, steps)) for t in range(0, steps, ticks)]


class _Driven(torch.autograd.Function):
    """-> y, or what stands for it, and its bits if these are handed on (else [0])."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, known: Tensor | None, weight: Tensor, bias: Tensor | None, initial: Tensor, rule: Rule,
        events: bool, hand: bool, keep: bool, *params: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        (steps, batch, columns), neurons, dtype = x.shape, len(weight), weight.dtype
        rows = x.reshape(-1, columns).contiguous() if known is None else known
        few = product.share(rows, columns) if events else 1.0
        chunks = _chunks(steps, batch, neurons, few > product.FORWARD)
        flat = op.flat_params(params, (batch, neurons), dtype)
        multiply = product.multiplier(rows, columns, weight, bias, few)
        most = chunks[0].stop
        room = (steps if keep else most) * batch, neurons
        u = empty(room, dtype) if keep else scratch("u", room, dtype)
        spikes = torch.empty(steps * batch if hand else 0, bits.words(neurons), dtype=torch.int64)
        y = scratch("chunk", (most, batch * neurons), dtype) if hand else empty((steps, batch * neurons), dtype)
        state, marks = initial.view(len(initial), batch * neurons), []
        for ticks in chunks:
            of, count = slice(ticks.start * batch, ticks.stop * batch), ticks.stop - ticks.start
            marks.append(state)
            v, z = u[of] if keep else u[: count * batch], y[:count] if hand else y[ticks]
            multiply(rows[of], v)
            _, state = cpu.forward(rule, [v.view(count, -1)], state, flat, into=[z])
            if hand:
                bits.packed(z.view(-1, neurons), into=spikes[of])
        if keep:
            ctx.save_for_backward(rows, weight, u.view(steps, batch, neurons), *params, *marks)
            ctx.rule, ctx.chunks, ctx.events, ctx.few = rule, chunks, events, few
        ctx.mark_non_differentiable(spikes)
        return weight.new_zeros(1).expand(steps, batch, neurons) if hand else y.view(steps, batch, neurons), spikes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        with torch.no_grad():
            found = _gradients(ctx, grads[0])
        return op.first_derivatives(found, ctx.saved_tensors)


def _gradients(ctx: Any, g_y: Tensor) -> tuple[Tensor | None, ...]:
    """Of x, the bits (none), weight, bias, the initial state, and after the settings (none) the parameters."""
    rows, weight, u, *saved = ctx.saved_tensors
    (steps, batch, neurons), columns, chunks = u.shape, weight.shape[1], ctx.chunks
    inward, _, weighs, biases, _, _, _, _, _, *learns = ctx.needs_input_grad
    params, marks = saved[: len(learns)], saved[len(learns) :]
    flat = op.flat_params(params, (batch, neurons), u.dtype)
    g_x = empty((steps, batch, columns), u.dtype) if inward else None
    g_weight, g_bias = None, torch.zeros(neurons, dtype=u.dtype) if biases else None
    g_state, g_params = torch.zeros_like(marks[0]), torch.zeros(sum(learns), batch * neurons, dtype=u.dtype)
    room = scratch("chunk", (chunks[0].stop, batch * neurons), u.dtype)
    for k in reversed(range(len(chunks))):
        ticks = chunks[k]
        of, count = slice(ticks.start * batch, ticks.stop * batch), ticks.stop - ticks.start
        g = contiguous(g_y[:1] if g_y.stride(0) == 0 else g_y[ticks])  # the same at every tick, if of a mean over time
        here, given, g_u = [u[ticks].view(count, -1)], [g.view(len(g), -1)], room[:count]
        _, g_state, more = cpu.backward(ctx.rule, here, marks[k], flat, given, g_state, (True, *learns), into=[g_u])
        g_params += more
        g_u = g_u.view(-1, neurons)
        if g_weight is None:
            few = product.share(g_u, neurons) if ctx.events else 1.0
            g_weight = product.Gradient(neurons, columns, ctx.few, few)
        if g_x is not None:
            product.multiplier(g_u, neurons, weight.t(), None, few)(g_u, g_x[ticks].view(-1, columns))
        if weighs:
            g_weight.add(rows[of], g_u)
        if g_bias is not None:
            g_bias += g_u.sum(0)
    kept = iter(g_params)
    of_params = [
        next(kept).view(batch, neurons).sum_to_size(p.shape) if want else None
        for p, want in zip(params, learns, strict=True)
    ]
    return (
        g_x,
        None,
        g_weight and g_weight.total(),
        g_bias,
        g_state.view(-1, batch, neurons),
        None,
        None,
        None,
        None,
        *of_params,
    )
