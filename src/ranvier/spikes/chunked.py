"""Forward and backward of consecutive linear layers, each followed by neurons. Each layer is computed for a chunk of
steps at a time:

    u[t] = x[t] W^T (+ b),   (y[t], s[t]) = rule(u[t], s[t - 1])

For each chunk the matrix product writes u, and the neurons read it while it is in cache. Saved for backward are u, the
states at the start of each chunk, and x (one bit per number if x is spikes). Only one chunk of the gradient of u is in
memory at a time. If spikes are passed to the next layer as bits, only one chunk of y is in memory, too. `neurons.py`
runs the neurons. A short sequence is one chunk. `row.py` makes one autograd function of it.

Memory traffic besides that of the product, per neuron and step: forward writes and reads u (4 bytes each) and writes y
(4 bytes, or one bit); backward reads u and the gradient of y (8 bytes).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ranvier.backends import threads
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


def chunks(steps: int, batch: int, neurons: int, dense: bool) -> list[slice]:
    """Return the chunks: slices of steps that are computed together."""
    most = CHUNK if threads.usable() == 1 else SHARED
    rows = max(most // max(1, neurons), max(ROWS, neurons // 4) if dense else 1)
    count = max(1, rows // max(1, batch), math.isqrt(steps))  # states are saved per chunk: about sqrt(T) chunks
    return [slice(t, min(t + count, steps)) for t in range(0, steps, count)]


def drive(x: Tensor, known: Tensor | None, weight: Tensor, bias: Tensor | None, events: bool) -> Tensor:
    """Return the input u [T, B, N] of the neurons, as `forward` computes it. known: x as bits, if it is spikes."""
    (steps, batch, columns), width = x.shape, weight.shape[0]
    density = product.share(x.detach() if known is None else known, columns) if events else 1.0
    count = chunks(steps, batch, width, not product.few(density, columns, width))[0].stop * batch
    return product.linear(x, weight, bias, None if known is None else _rows(known), events, count)


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


def forward(
    links: Sequence[Link], x: Tensor, into: Tensor, states: bool, keep: bool
) -> tuple[list[Tensor], list[Tensor | None], list[Saved]]:
    """Run all links: x, numbers [T, B, K] or bits [T, B, words]; the output of the last link is written to `into` [T,
    B, N]. Return the final states of all links, if they are wanted, and, if `keep`, the tensors and values that
    `backward` needs.
    """
    after, tensors, saved = [], [], []
    for link, following in zip(links, (*links[1:], None), strict=True):
        small = x.shape[0] * x.shape[1] * max(link.weight.shape) < product.SMALL and x.dtype == link.weight.dtype
        way = _short if small else _through
        hand = following is not None and following.packed
        x, final, kept, spans, density = way(link, x, into if following is None else None, hand, keep)
        if states:
            after += (torch.from_numpy(s.reshape(link.neurons.shape).copy()) for s in final)
        if keep:
            tensors += *kept, *link.params
            saved.append(
                Saved(link.neurons, link.events, link.initial, len(link.states), len(link.params), spans, density)
            )
    return after, tensors, saved


def backward(
    links: Sequence[Saved], saved: Sequence[Tensor], grads: Sequence[Tensor | None], needs: Sequence[bool],
    into: Tensor | None,
) -> list[Tensor | None]:  # fmt: skip
    """Return the gradients of weight, bias, states and params of all links, and write that of x to `into` [T, B, K],
    if it is wanted.

    saved: the tensors that `forward` returned. grads: the gradients of the output and of the final states. needs:
    which of the gradients are wanted.
    """
    found, (g, *after), at, end = [], grads, len(needs), len(saved)
    for first, link in zip((*(False for _ in links[1:]), True), reversed(links), strict=True):
        stop, at, begin = at, at - 2 - link.states - link.params, end - 5 - link.params
        g_after = [after.pop() for _ in range(link.neurons.states)][::-1] if after else ()
        inward = into is not None or any(needs[:at])
        back = _back_short if link.spans is None else _back
        g, own = back(link, saved[begin:end], g, g_after, inward, into if first else None, needs[at:stop])
        found, end = [*own, *found], begin
        if not inward:
            break
    return [*(None for _ in needs[:at]), *found]


Through = tuple[Tensor, np.ndarray, tuple[Tensor | None, ...], list[slice] | None, float]


def _short(link: Link, x: Tensor, into: Tensor | None, hand: bool, keep: bool) -> Through:
    """Run one link as `_through` does, for a sequence so small that it is one chunk and events are not used."""
    neurons, weight, (batch, width) = link.neurons, link.weight, link.neurons.shape
    u, y = x.new_empty((x.shape[0], batch, width)), into
    if y is None or not y.is_contiguous():
        y = torch.empty_like(u)
    dense.multiply(_rows(x), weight, link.bias, u.view(-1, width))
    state = neurons.begin(link.states or link.initial, 2)
    neurons.forward(u, state[0], neurons.arrays(link.params), y, state[1])
    back = y.view(-1, width).clone() if neurons.returns else None  # a copy, because the user may change y in place
    first = torch.from_numpy(state[0]) if link.states else None  # plain numbers need not be saved
    if into is not None and into is not y:
        into.copy_(y)
    return y, state[1], (x, weight, u, back, first), None, 1.0


def _through(link: Link, x: Tensor, into: Tensor | None, hand: bool, keep: bool) -> Through:
    """Run one link: x, numbers [T, B, K] or bits [T, B, words] -> the output [T, B, N] (written to `into`, if given),
    or its bits if `hand` (the next link reads bits); the final state; if `keep`, the tensors that backward needs; the
    chunks; and the share of events.
    """
    neurons, weight, (batch, width) = link.neurons, link.weight, link.neurons.shape
    steps, columns, dtype = x.shape[0], weight.shape[1], weight.dtype
    density = product.share(x, columns) if link.events else 1.0
    spans = chunks(steps, batch, width, not product.few(density, columns, width))
    multiply = product.multiplier(x, columns, weight, link.bias, density)
    size = steps, batch, width
    u = empty(size, dtype) if keep else scratch("u", (spans[0].stop, batch, width), dtype)
    y = None if hand else empty(size, dtype) if into is None else into
    packs = hand or (keep and neurons.returns)
    spikes = x.new_empty((steps, batch, bits.words(width)), dtype=torch.int64) if packs else None
    state = neurons.begin(link.states or link.initial, len(spans) + 1 if keep else 2)
    arrays = neurons.arrays(link.params)
    for k, span in enumerate(spans):
        v = _rows(u[span] if keep else u[: span.stop - span.start])
        z = scratch("chunk", v.shape, dtype) if y is None else _place(y[span])
        multiply(_rows(x[span]), out=v)
        neurons.forward(v, state[k % len(state)], arrays, z, state[(k + 1) % len(state)])
        if spikes is not None:
            bits.packed(z, into=_rows(spikes[span]))
        if y is not None:
            _put(z, y[span])
    back = _rows(spikes) if spikes is not None and neurons.returns else None
    kept = x, weight, u, back, torch.from_numpy(state)
    found = spikes if y is None else y
    assert found is not None
    return found, state[len(spans) % len(state)], kept, spans, density


def _rows(x: Tensor) -> Tensor:
    """Return x [n, B, K] as contiguous rows [n B, K]: a copy, if x has other strides or only some of the samples."""
    return x.reshape(-1, x.shape[2]).contiguous()


def _place(into: Tensor) -> Tensor:
    """Return rows [n B, N] in which to compute `into` [n, B, N]: its own, or scratch if it has only some of the
    samples; see `_put`.
    """
    if into.is_contiguous():
        return into.view(-1, into.shape[2])
    return scratch("place", (into.shape[0] * into.shape[1], into.shape[2]), into.dtype)


def _put(rows: Tensor, into: Tensor) -> None:
    """Copy rows that were computed in `_place(into)` to `into`, if they are scratch."""
    if not into.is_contiguous():
        into.copy_(rows.view(into.shape))


Back = tuple[Tensor | None, list[Tensor | None]]


def _back_short(
    link: Saved, saved: Sequence[Tensor], g_y: Tensor | None, g_after: Sequence[Tensor | None], inward: bool,
    into: Tensor | None, needs: Sequence[bool],
) -> Back:  # fmt: skip
    """Compute the gradients as `_back` does, for a link that was run by `_short`."""
    (x, weight, u, spikes, state), params, neurons = saved[:5], saved[5:], link.neurons
    rows = _rows(x)
    back = neurons.begin_backward(params, needs[2 + link.states :], link.states > 0, spikes)
    (steps, batch, width), g_weight = u.shape, None
    g_u = u.new_empty((steps * batch, width))
    g_y = _given(g_y, u, neurons).contiguous()
    before = neurons.begin(link.initial, 1)[0] if state is None else state.numpy()
    g_state = neurons.backward(back, slice(0, steps), u, before, g_y, neurons.end(g_after), g_u)
    if inward:
        into = u.new_empty((steps, batch, rows.shape[1])) if into is None else into
        place = _place(into)
        dense.multiply(g_u, weight.t(), None, place)
        _put(place, into)
    if needs[0]:
        g_weight = u.new_empty((width, rows.shape[1]))
        dense.multiply(g_u.t(), rows.t(), None, g_weight)
    return into, [
        g_weight,
        g_u.sum(0) if needs[1] else None,
        *neurons.before(g_state, needs[2 : 2 + link.states]),
        *neurons.gradients(back),
    ]


def _back(
    link: Saved, saved: Sequence[Tensor], g_y: Tensor | None, g_after: Sequence[Tensor | None], inward: bool,
    into: Tensor | None, needs: Sequence[bool],
) -> Back:  # fmt: skip
    """Compute, from the gradients of the output and of the final states, the gradient of the input [T, B, K] (if
    `inward`; written to `into`, if given), and those of weight, bias, initial states and params.
    """
    (x, weight, u, spikes, course), params, neurons, spans = saved[:5], saved[5:], link.neurons, link.spans
    (steps, batch, width), columns, dtype = u.shape, weight.shape[1], u.dtype
    assert spans is not None
    back = neurons.begin_backward(params, needs[2 + link.states :], link.states > 0, spikes)
    g_x = (empty((steps, batch, columns), dtype) if into is None else into) if inward else None
    g_weight, g_bias = None, u.new_zeros(width) if needs[1] else None
    room, density = scratch("chunk", (spans[0].stop * batch, width), dtype), 1.0
    state, g_state, g_y = course.numpy(), neurons.end(g_after), _given(g_y, u, neurons)
    for span, before in zip(reversed(spans), reversed(state[: len(spans)]), strict=True):
        g_u, g = room[: (span.stop - span.start) * batch], contiguous(g_y if len(g_y) == 1 else g_y[span])
        g_state = neurons.backward(back, span, u[span], before, g, g_state, g_u)
        if g_weight is None:
            density = product.share(g_u, width) if link.events else 1.0
            g_weight = product.Gradient(width, columns, link.density, density)
        if g_x is not None:
            place = _place(g_x[span])
            product.multiplier(g_u, width, weight.t(), None, density)(g_u, out=place)
            _put(place, g_x[span])
        if needs[0]:
            g_weight.add(_rows(x[span]), g_u)
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
