"""A rule driven through a linear map, chunk of time by chunk of time.

    u[t] = x[t] W^T (+ b),   (y[t], s[t]) = rule(u[t], s[t - 1])

Map and neurons take turns at a chunk of span, which the neurons find in cache. For backward u is kept, the states at
the start of each chunk, and x, of spikes only the bits; of the gradient of u there is never more than a chunk. Spikes
may be handed on as bits: of y, too, there is then never more than a chunk. `carried.py` has the neurons.

Traffic beside the map's own, per neuron and step: forward 4 bytes out and back (u) and 4 out, or an eighth; backward
8 in, and a chunk in cache.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ranvier.backends import op
from ranvier.backends.buffers import contiguous, empty, scratch
from ranvier.derive.rule import Rule
from ranvier.spikes import bits, product
from ranvier.spikes.carried import Neurons, Returning

CHUNK = 1 << 18  # numbers of u that pass at once: a megabyte, so that map and neurons find it in cache
SHARED = 1 << 22  # the same where threads share the work: they wait for each other at every step
SETTINGS = 10  # arguments of `_Driven` before what is learned
ROWS = 1024  # at least, of a dense product, which arranges the whole weight anew each time


@dataclass(frozen=True)
class Handed:
    """Spikes on their way to the next layer as bits [T B, words]; `carrier` [T, B, N] holds no memory, it only takes
    their gradient."""

    bits: Tensor
    carrier: Tensor


def driven(
    x: Tensor | Handed, weight: Tensor, bias: Tensor | None, initial: Tensor, learned: Sequence[Tensor], rule: Rule,
    kind: type[Neurons] = Neurons, events: bool = True, hand: bool = False,
) -> Tensor | Handed:  # fmt: skip
    """x [T, B, K], weight [N, K], bias [N], initial [S, B, N] -> y [T, B, N] of neurons of some kind, which have
    learned what it says; with `hand` its bits, for a binary rule in float32. events: whether the product may go by the
    events of x."""
    known = x.bits if isinstance(x, Handed) else product.bits_of(x) if events else None
    given = x.carrier if isinstance(x, Handed) else x
    asked = any(v is not None and v.requires_grad for v in (given, weight, bias, initial, *learned))
    keep = torch.is_grad_enabled() and asked
    y, packed = _Driven.apply(given, known, weight, bias, initial, rule, kind, events, hand, keep, *learned)
    return Handed(packed, y) if hand else y


def _chunks(steps: int, batch: int, neurons: int, dense: bool) -> list[slice]:
    """Steps that pass together."""
    most = CHUNK if torch.get_num_threads() == 1 else SHARED
    rows = max(most // max(1, neurons), max(ROWS, neurons // 4) if dense else 1)
    span = max(1, rows // max(1, batch), math.isqrt(steps))  # a state is kept for each chunk
    return [slice(t, min(t + span, steps)) for t in range(0, steps, span)]


class _Driven(torch.autograd.Function):
    """-> y, or what stands for it, and its bits if these are handed on (else [0])."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, known: Tensor | None, weight: Tensor, bias: Tensor | None, initial: Tensor, rule: Rule,
        kind: type[Neurons], events: bool, hand: bool, keep: bool, *learned: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        (steps, batch, columns), width, dtype = x.shape, len(weight), weight.dtype
        rows = x.reshape(-1, columns).contiguous() if known is None else known
        few = product.share(rows, columns) if events else 1.0
        chunks = _chunks(steps, batch, width, few > product.FORWARD)
        neurons = kind(rule, learned, (batch, width), dtype, None)
        multiply = product.multiplier(rows, columns, weight, bias, few)
        most, packs = chunks[0].stop, hand or (keep and kind is Returning)
        u = empty((steps, batch, width), dtype) if keep else scratch("u", (most, batch, width), dtype)
        y = scratch("chunk", (most, batch * width), dtype) if hand else empty((steps, batch * width), dtype)
        spikes = torch.empty(steps * batch if packs else 0, bits.words(width), dtype=torch.int64)
        state, marks = initial.view(len(initial), batch * width), []
        for span in chunks:
            of, count = slice(span.start * batch, span.stop * batch), span.stop - span.start
            marks.append(state)
            v, z = u[span] if keep else u[:count], y[:count] if hand else y[span]
            multiply(rows[of], v.view(-1, width))
            state = neurons.forward(v, state, z)
            if packs:
                bits.packed(z.view(-1, width), into=spikes[of])
        if keep:
            ctx.save_for_backward(rows, weight, u, spikes if kind is Returning else None, *learned, *marks)
            ctx.rule, ctx.kind, ctx.chunks, ctx.events, ctx.few = rule, kind, chunks, events, few
        ctx.mark_non_differentiable(spikes)
        return weight.new_zeros(1).expand(steps, batch, width) if hand else y.view(steps, batch, width), spikes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        with torch.no_grad():
            found = _gradients(ctx, grads[0])
        return op.first_derivatives(found, ctx.saved_tensors)


def _gradients(ctx: Any, g_y: Tensor) -> tuple[Tensor | None, ...]:
    """Of x, the bits (none), weight, bias, the initial state, and after the settings (none) what is learned."""
    rows, weight, u, spikes, *saved = ctx.saved_tensors
    (steps, batch, width), columns, dtype = u.shape, weight.shape[1], u.dtype
    inward, _, weighs, biases, _, *_ = ctx.needs_input_grad
    learns = ctx.needs_input_grad[SETTINGS:]
    learned, marks = saved[: len(learns)], saved[len(learns) :]
    neurons = ctx.kind(ctx.rule, learned, (batch, width), dtype, spikes)
    neurons.turn(learns)
    g_x = empty((steps, batch, columns), dtype) if inward else None
    g_weight, g_bias = None, torch.zeros(width, dtype=dtype) if biases else None
    g_state, room = torch.zeros_like(marks[0]), scratch("chunk", (ctx.chunks[0].stop, batch * width), dtype)
    for span, state in zip(reversed(ctx.chunks), reversed(marks), strict=True):
        of, g_u = slice(span.start * batch, span.stop * batch), room[: span.stop - span.start]
        g = contiguous(g_y[:1] if g_y.stride(0) == 0 else g_y[span])  # the same at every step, if of a mean over time
        g_state = neurons.backward(span, u[span], state, g.view(len(g), -1), g_state, g_u)
        g_rows = g_u.view(-1, width)
        if g_weight is None:
            few = product.share(g_rows, width) if ctx.events else 1.0
            g_weight = product.Gradient(width, columns, ctx.few, few)
        if g_x is not None:
            product.multiplier(g_rows, width, weight.t(), None, few)(g_rows, g_x[span].view(-1, columns))
        if weighs:
            g_weight.add(rows[of], g_rows)
        if g_bias is not None:
            g_bias += g_rows.sum(0)
    of_weight = g_weight.total() if g_weight and weighs else None
    return g_x, None, of_weight, g_bias, g_state.view(-1, batch, width), *(None,) * (SETTINGS - 5), *neurons.gradients()
