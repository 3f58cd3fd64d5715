"""Consecutive linear layers, each followed by neurons. Each layer is computed for a chunk of steps at a time:

    u[t] = x[t] W^T (+ b),   (y[t], s[t]) = rule(u[t], s[t - 1])

For each chunk the matrix product writes u, and the neurons read it while it is in cache. Saved for backward are u, the
states at the start of each chunk, and x (one bit per number if x is spikes). If spikes are passed to the next layer as
bits, only one chunk of y is in memory. Backward (`chunked_backward.py`) holds one chunk of each gradient. `neurons.py`
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
from ranvier.backends.buffers import empty, scratch
from ranvier.spikes import bits, dense, product
from ranvier.spikes.neurons import Neurons

CHUNK = 1 << 18  # size of u, or of the gradient of x, in a chunk: one megabyte, which stays in cache
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


def chunks(steps: int, batch: int, columns: int, width: int, dense: bool) -> list[slice]:
    """Return the chunks of a layer with `columns` inputs and `width` neurons: slices of steps that are computed
    together. Their number of steps is a power of two.
    """
    most = CHUNK if threads.usable() == 1 else SHARED
    rows = max(most // max(1, columns, width), max(ROWS, width // 4) if dense else 1)
    count = max(1, rows // max(1, batch), math.isqrt(steps))  # states are saved per chunk: about sqrt(T) chunks
    count = 1 << (count - 1).bit_length()  # so that a chunk of one link consists of whole chunks of another
    return [slice(t, min(t + count, steps)) for t in range(0, steps, count)]


def drive(x: Tensor, known: Tensor | None, weight: Tensor, bias: Tensor | None, events: bool) -> Tensor:
    """Return the input u [T, B, N] of the neurons, as `forward` computes it. known: x as bits, if it is spikes."""
    (steps, batch, columns), width = x.shape, weight.shape[0]
    density = product.share(x.detach() if known is None else known, columns) if events else 1.0
    count = chunks(steps, batch, columns, width, not product.few(density, columns, width))[0].stop * batch
    return product.linear(x, weight, bias, None if known is None else rows(known), events, count)


class Saved(NamedTuple):
    """The values of one link that backward needs besides tensors. The saved tensors are x (numbers or bits), the
    weight, u, the recurrent outputs, the states at the start of each chunk (None: `initial`), and the params.

    initial: as in `Link`. states, params: the numbers of initial states and of params that are tensors. spans: the
    chunks. events: whether products may skip zeros. density: the share of events in x.
    """

    neurons: Neurons
    initial: Sequence[float]
    states: int
    params: int
    spans: list[slice]
    events: bool
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
        x, final, kept, how = way(link, x, into if following is None else None, hand, keep)
        if states:
            after += (torch.from_numpy(s.reshape(link.neurons.shape).copy()) for s in final)
        if keep:
            tensors += *kept, *link.params
            saved.append(how)
    return after, tensors, saved


Through = tuple[Tensor, np.ndarray, tuple[Tensor | None, ...], Saved]


def _short(link: Link, x: Tensor, into: Tensor | None, hand: bool, keep: bool) -> Through:
    """Run one link as `_through` does, for a sequence so small that it is one chunk and events are not used."""
    neurons, weight, (batch, width) = link.neurons, link.weight, link.neurons.shape
    u, y = x.new_empty((x.shape[0], batch, width)), into
    if y is None or not y.is_contiguous():
        y = torch.empty_like(u)
    dense.multiply(rows(x), weight, link.bias, u.view(-1, width))
    state = neurons.begin(link.states or link.initial, 2)
    neurons.forward(u, state[0], neurons.arrays(link.params), y, state[1])
    back = y.view(-1, width).clone() if neurons.returns else None  # a copy, because the user may change y in place
    if into is not None and into is not y:
        into.copy_(y)
    first = torch.from_numpy(state[:1]) if link.states else None  # plain numbers need not be saved
    spans = [slice(0, x.shape[0])]
    how = Saved(neurons, link.initial, len(link.states), len(link.params), spans, False, 1.0)
    return y, state[1], (x, weight, u, back, first), how


def _through(link: Link, x: Tensor, into: Tensor | None, hand: bool, keep: bool) -> Through:
    """Run one link: x, numbers [T, B, K] or bits [T, B, words] -> the output [T, B, N] (written to `into`, if given),
    or its bits if `hand` (the next link reads bits); the final state; and, if `keep`, what backward needs: tensors and
    values.
    """
    neurons, weight, (batch, width) = link.neurons, link.weight, link.neurons.shape
    steps, columns, dtype = x.shape[0], weight.shape[1], weight.dtype
    density = product.share(x, columns) if link.events else 1.0
    spans = chunks(steps, batch, columns, width, not product.few(density, columns, width))
    multiply = product.multiplier(x, columns, weight, link.bias, density)
    size = steps, batch, width
    u = empty(size, dtype) if keep else scratch("u", (spans[0].stop, batch, width), dtype)
    y = None if hand else empty(size, dtype) if into is None else into
    packs = hand or (keep and neurons.returns)
    spikes = x.new_empty((steps, batch, bits.words(width)), dtype=torch.int64) if packs else None
    state = neurons.begin(link.states or link.initial, len(spans) + 1 if keep else 2)
    arrays = neurons.arrays(link.params)
    for k, span in enumerate(spans):
        v = rows(u[span] if keep else u[: span.stop - span.start])
        z = scratch("chunk", v.shape, dtype) if y is None else place(y[span])
        multiply(rows(x[span]), out=v)
        neurons.forward(v, state[k % len(state)], arrays, z, state[(k + 1) % len(state)])
        if spikes is not None:
            bits.packed(z, into=rows(spikes[span]))
        if y is not None:
            put(z, y[span])
    back = rows(spikes) if spikes is not None and neurons.returns else None
    found = spikes if y is None else y
    assert found is not None
    kept = x, weight, u, back, torch.from_numpy(state)
    how = Saved(neurons, link.initial, len(link.states), len(link.params), spans, link.events, density)
    return found, state[len(spans) % len(state)], kept, how


def rows(x: Tensor) -> Tensor:
    """Return x [n, B, K] as contiguous rows [n B, K]: a copy, if x has other strides or only some of the samples."""
    return x.reshape(-1, x.shape[2]).contiguous()


def place(into: Tensor) -> Tensor:
    """Return rows [n B, N] in which to compute `into` [n, B, N]: its own, or scratch if it has only some of the
    samples; see `put`.
    """
    if into.is_contiguous():
        return into.view(-1, into.shape[2])
    return scratch("place", (into.shape[0] * into.shape[1], into.shape[2]), into.dtype)


def put(rows: Tensor, into: Tensor) -> None:
    """Copy rows that were computed in `place(into)` to `into`, if they are scratch."""
    if not into.is_contiguous():
        into.copy_(rows.view(into.shape))
