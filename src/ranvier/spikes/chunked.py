"""Consecutive linear layers, each followed by neurons, as one autograd function. Each layer is computed for a chunk of
steps at a time:

    u[t] = x[t] W^T (+ b),   (y[t], s[t]) = rule(u[t], s[t - 1])

For each chunk the matrix product writes u, and the neurons read it while it is in cache. Saved for backward are u, the
states at the start of each chunk, and x (one bit per number if x is spikes). Only one chunk of the gradient of u is in
memory at a time. If spikes are passed to the next layer as bits, only one chunk of y is in memory, too. `neurons.py`
runs the neurons. A short sequence is one chunk.

Memory traffic besides that of the product, per neuron and step: forward writes and reads u (4 bytes each) and writes y
(4 bytes, or one bit); backward reads u and the gradient of y (8 bytes).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ranvier.backends.autograd import Function
from ranvier.backends.buffers import contiguous, empty, scratch
from ranvier.spikes import bits, dense, product
from ranvier.spikes.neurons import Neurons

CHUNK = 1 << 18  # size of u in a chunk: one megabyte, which stays in cache
SHARED = 1 << 22  # as CHUNK, for several threads: larger, because threads wait for each other after each chunk
ROWS = 1024  # fewest rows of a dense product, because each product first rearranges the whole weight


class Link(NamedTuple):
    """A linear layer (weight [N, K], bias [N]) and its neurons.

    initial: the initial states as numbers. states: the initial states as tensors [B, N], if they are not plain numbers.
    params: the parameters of the neurons. events: whether the product may skip zeros of its input. packed: whether its
    input is the spikes of the previous link, passed as bits.
    """

    neurons: Neurons
    weight: Tensor
    bias: Tensor | None
    initial: Sequence[float]
    states: Sequence[Tensor]
    params: Sequence[Tensor]
    events: bool
    packed: bool


def run(x: Tensor, links: Sequence[Link], states: bool) -> tuple[Tensor, list[list[Tensor]]]:
    """Run all links: x [T, B, K] -> the output [T, B, N] of the last link and, if `states`, the final states of each
    link.
    """
    first, given = links[0], []
    for link in links:
        given += link.weight, link.bias, *link.states, *link.params
    known = known_bits(x, first.events, first.packed) if first.events else None
    if torch.is_grad_enabled() and [v for v in (x, *given) if v is not None and v.requires_grad]:
        y, *after = _Row.apply(links, states, x, known, *given)
    else:
        y, after, *_ = _forward(links, states, x, known, False)
    rows = iter(after)
    return y, [[next(rows) for _ in range(link.neurons.states)] for link in links] if states else []


def known_bits(x: Tensor, events: bool, packed: bool) -> Tensor | None:
    """Return x as bits if it is spikes, otherwise None. packed: whether it is known that x is spikes, to be passed as
    bits.
    """
    if packed:
        return bits.packed(x.detach().reshape(-1, x.shape[-1])).bits
    return product.bits_of(x) if events else None


def chunks(steps: int, batch: int, neurons: int, dense: bool) -> list[slice]:
    """Return the chunks: slices of steps that are computed together."""
    most = CHUNK if torch.get_num_threads() == 1 else SHARED
    rows = max(most // max(1, neurons), max(ROWS, neurons // 4) if dense else 1)
    count = max(1, rows // max(1, batch), math.isqrt(steps))  # states are saved per chunk: about sqrt(T) chunks
    return [slice(t, min(t + count, steps)) for t in range(0, steps, count)]


def drive(x: Tensor, weight: Tensor, bias: Tensor | None, events: bool, packed: bool) -> Tensor:
    """Return the input u [T, B, N] of the neurons; it equals the u in `run` bit for bit."""
    known = known_bits(x, events, packed)
    (steps, batch, columns), width = x.shape, weight.shape[0]
    density = product.share(x.detach().reshape(-1, columns) if known is None else known, columns) if events else 1.0
    count = chunks(steps, batch, width, not product.few(density, columns, width))[0].stop * batch
    return product.linear(x, weight, bias, known, events, count)


class Saved(NamedTuple):
    """The values of one link that backward needs besides tensors. The saved tensors are x (rows of numbers or bits),
    the weight, u, the recurrent outputs, the states at the start of each chunk, and the params.

    states, params: the numbers of initial states and of params that are tensors. spans: the chunks (None for a short
    sequence). density: the share of events in x.
    """

    neurons: Neurons
    events: bool
    initial: Sequence[float]
    states: int
    params: int
    spans: list[slice] | None
    density: float


class _Row(Function):
    """The autograd function of all links, which run one after the other."""

    @staticmethod
    def forward(
        ctx: Any, links: Sequence[Link], states: bool, x: Tensor, known: Tensor | None, *given: Any
    ) -> tuple[Tensor, ...]:
        y, after, tensors, ctx.saved = _forward(links, states, x, known, True)
        ctx.save_for_backward(*tensors)
        if states:  # without states the only output is y, which always has a gradient
            ctx.set_materialize_grads(False)
        return y, *after

    @staticmethod
    def gradients(ctx: Any, saved: tuple[Tensor, ...], *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        needs, found, (g, *after) = ctx.needs_input_grad, [], grads
        at, end = len(needs), len(saved)
        for link in reversed(ctx.saved):
            stop, at, begin = at, at - 2 - link.states - link.params, end - 5 - link.params
            g_after = [after.pop() for _ in range(link.neurons.states)][::-1] if after else ()
            back = _back_short if link.spans is None else _back
            g, own = back(link, saved[begin:end], g, g_after, any(needs[:at]), needs[at:stop])
            found, end = [*own, *found], begin
            if not any(needs[:at]):
                break
        return None, None, g, None, *(None for _ in needs[4:at]), *found


def _forward(
    links: Sequence[Link], states: bool, x: Tensor, known: Tensor | None, keep: bool
) -> tuple[Tensor, list[Tensor], list[Tensor | None], list[Saved]]:
    """Return the output, the final states of all links if they are wanted, and, if `keep`, the tensors and values that
    backward needs.
    """
    (steps, batch, _), y, after, tensors, saved = x.shape, x.contiguous() if known is None else known, [], [], []
    for at, link in enumerate(links):
        rows, hand = y.view(steps * batch, -1), at + 1 < len(links) and links[at + 1].packed
        most = steps * batch * max(link.weight.shape)
        if most < product.SMALL:
            y, final, kept, spans, density = _short(link, rows)
        else:
            y, final, kept, spans, density = _through(link, rows, hand, keep)
        if states:
            after += (torch.from_numpy(s.reshape(link.neurons.shape).copy()) for s in final)
        if keep:
            tensors += *kept, *link.params
            saved.append(
                Saved(link.neurons, link.events, link.initial, len(link.states), len(link.params), spans, density)
            )
    return y, after, tensors, saved


Through = tuple[Tensor, np.ndarray, tuple[Tensor | None, ...], list[slice] | None, float]


def _short(link: Link, rows: Tensor) -> Through:
    """Run one link as `_through` does, for a sequence so small that it is one chunk and events are not used."""
    neurons, weight, (batch, width) = link.neurons, link.weight, link.neurons.shape
    size = rows.shape[0] // batch, batch, width
    u, y = torch.empty(size, dtype=weight.dtype), torch.empty(size, dtype=weight.dtype)
    dense.multiply(rows, weight, link.bias, u.view(-1, width))
    state = neurons.begin(link.states or link.initial, 2)
    neurons.forward(u, state[0], neurons.arrays(link.params), y, state[1])
    back = y.view(-1, width).clone() if neurons.returns else None  # a copy, because the user may change y in place
    first = torch.from_numpy(state[0]) if link.states else None  # plain numbers need not be saved
    return y, state[1], (rows, weight, u, back, first), None, 1.0


def _through(link: Link, rows: Tensor, hand: bool, keep: bool) -> Through:
    """Run one link: rows [T B, K], numbers or bits -> the output [T, B, N], or its bits if `hand` (the next link reads
    bits); the final state; if `keep`, the tensors that backward needs; the chunks; and the share of events.
    """
    neurons, weight, (batch, width), count = link.neurons, link.weight, link.neurons.shape, rows.shape[0]
    columns, dtype, steps = weight.shape[1], weight.dtype, count // batch
    density = product.share(rows, columns) if link.events else 1.0
    spans = chunks(steps, batch, width, not product.few(density, columns, width))
    multiply = product.multiplier(rows, columns, weight, link.bias, density)
    most = spans[0].stop * batch
    u = empty((steps, batch, width), dtype) if keep else scratch("u", (most, width), dtype)
    y = scratch("chunk", (most, width), dtype) if hand else empty((steps, batch, width), dtype)
    packs = hand or (keep and neurons.returns)
    spikes = torch.empty((count, bits.words(width)), dtype=torch.int64) if packs else None
    state = neurons.begin(link.states or link.initial, len(spans) + 1 if keep else 2)
    arrays, current, flat = neurons.arrays(link.params), u.view(-1, width), y.view(-1, width)
    for k, span in enumerate(spans):
        of = slice(span.start * batch, span.stop * batch)
        chunk = slice(0, of.stop - of.start)
        v, z = current[of if keep else chunk], flat[chunk if hand else of]
        multiply(rows[of], out=v)
        neurons.forward(v, state[k % len(state)], arrays, z, state[(k + 1) % len(state)])
        if spikes is not None:
            bits.packed(z, into=spikes[of])
    kept = rows, weight, u, spikes if neurons.returns else None, torch.from_numpy(state)
    return y if spikes is None or not hand else spikes, state[len(spans) % len(state)], kept, spans, density


Back = tuple[Tensor | None, list[Tensor | None]]


def _back_short(
    link: Saved, saved: Sequence[Tensor], g_y: Tensor | None, g_after: Sequence[Tensor | None], inward: bool,
    needs: Sequence[bool],
) -> Back:  # fmt: skip
    """Compute the gradients as `_back` does, for a link that was run by `_short`."""
    (rows, weight, u, spikes, state), params, neurons = saved[:5], saved[5:], link.neurons
    back = neurons.begin_backward(params, needs[2 + link.states :], link.states > 0, spikes)
    (steps, batch, width), g_x, g_weight = u.shape, None, None
    g_u = torch.empty((steps * batch, width), dtype=u.dtype)
    g_y = _given(g_y, u, neurons).contiguous()
    before = neurons.begin(link.initial, 1)[0] if state is None else state.numpy()
    g_state = neurons.backward(back, slice(0, steps), u, before, g_y, neurons.end(g_after), g_u)
    if inward:
        g_x = torch.empty((steps, batch, rows.shape[1]), dtype=u.dtype)
        dense.multiply(g_u, weight.t(), None, g_x.view(-1, rows.shape[1]))
    if needs[0]:
        g_weight = torch.empty((width, rows.shape[1]), dtype=u.dtype)
        dense.multiply(g_u.t(), rows.t(), None, g_weight)
    return g_x, [
        g_weight,
        g_u.sum(0) if needs[1] else None,
        *neurons.before(g_state, needs[2 : 2 + link.states]),
        *neurons.gradients(back),
    ]


def _back(
    link: Saved, saved: Sequence[Tensor], g_y: Tensor | None, g_after: Sequence[Tensor | None], inward: bool,
    needs: Sequence[bool],
) -> Back:  # fmt: skip
    """Compute, from the gradients of the output and of the final states, the gradient of the input [T, B, K] (if
    `inward`), and those of weight, bias, initial states and params.
    """
    (rows, weight, u, spikes, course), params, neurons, spans = saved[:5], saved[5:], link.neurons, link.spans
    (steps, batch, width), columns, dtype, u = u.shape, weight.shape[1], u.dtype, u.view(-1, u.shape[2])
    assert spans is not None
    back = neurons.begin_backward(params, needs[2 + link.states :], link.states > 0, spikes)
    g_x = empty((steps, batch, columns), dtype) if inward else None
    g_weight, g_bias = None, torch.zeros(width, dtype=dtype) if needs[1] else None
    room, density = scratch("chunk", (spans[0].stop * batch, width), dtype), 1.0
    state, g_state, g_y = course.numpy(), neurons.end(g_after), _given(g_y, u, neurons)
    for span, before in zip(reversed(spans), reversed(state[: len(spans)]), strict=True):
        of = slice(span.start * batch, span.stop * batch)
        g_u, g = room[: of.stop - of.start], contiguous(g_y if len(g_y) == 1 else g_y[span])
        g_state = neurons.backward(back, span, u[of], before, g, g_state, g_u)
        if g_weight is None:
            density = product.share(g_u, width) if link.events else 1.0
            g_weight = product.Gradient(width, columns, link.density, density)
        if g_x is not None:
            product.multiplier(g_u, width, weight.t(), None, density)(g_u, out=g_x[span].view(-1, columns))
        if needs[0]:
            g_weight.add(rows[of], g_u)
        if g_bias is not None:
            g_bias += g_u.sum(0)
    of_weight = g_weight.total() if g_weight and needs[0] else None
    return g_x, [of_weight, g_bias, *neurons.before(g_state, needs[2 : 2 + link.states]), *neurons.gradients(back)]


def _given(g_y: Tensor | None, u: Tensor, neurons: Neurons) -> Tensor:
    """Return the gradient of an output: [T, B, N], or [1, B, N] if it is the same at all steps, such as the gradient of
    a mean over time.
    """
    if g_y is None:
        return u.new_zeros((1, *neurons.shape))
    return g_y[:1] if g_y.stride(0) == 0 else g_y
