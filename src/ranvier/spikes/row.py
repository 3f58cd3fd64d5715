"""A row of linear layers, each followed by neurons, as one autograd function. `chunked.py` and
`chunked_backward.py` compute it.

On several threads, each thread computes all layers for samples of its own, from the first chunk of steps to the last.
So no thread waits for another one between two layers, and what a layer returns is still in the cache of the thread that
reads it.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ranvier.backends import threads
from ranvier.backends.autograd import Function
from ranvier.backends.buffers import empty
from ranvier.spikes import bits, chunked, product
from ranvier.spikes.chunked import Link, Saved
from ranvier.spikes.chunked_backward import backward

LEAST = 1024  # fewest rows (steps times samples) per thread: each thread arranges the whole weight for its products


def run(x: Tensor, links: Sequence[Link], states: bool) -> tuple[Tensor, list[list[Tensor]]]:
    """Run all links: x [T, B, K] -> the output [T, B, N] of the last link and, if `states`, the final states of each
    link.
    """
    first, given = links[0], []
    for link in links:
        given += link.weight, link.bias, *link.states, *link.params
    known = known_bits(x, first.events, first.packed)
    if torch.is_grad_enabled() and [v for v in (x, *given) if v is not None and v.requires_grad]:
        y, *after = _Row.apply(links, states, x, known, *given)
    else:
        y, after, *_ = _forward(links, states, x, known, False)
    rows = iter(after)
    return y, [[next(rows) for _ in range(link.neurons.states)] for link in links] if states else []


def known_bits(x: Tensor, events: bool, packed: bool) -> Tensor | None:
    """Return x [T, B, K] as bits [T, B, words] if it is spikes, otherwise None. packed: whether it is known that x is
    spikes, to be passed as bits.
    """
    found = bits.packed(x.detach().reshape(-1, x.shape[2])).bits if packed else product.bits_of(x) if events else None
    return None if found is None else found.view(*x.shape[:2], -1)


def drive(x: Tensor, weight: Tensor, bias: Tensor | None, events: bool, packed: bool) -> Tensor:
    """Return the input u [T, B, N] of the neurons; it equals the u in `run` bit for bit."""
    known, parts = known_bits(x, events, packed), _samples(x)
    found = [chunked.drive(x[:, of], None if known is None else known[:, of], weight, bias, events) for of in parts]
    return found[0] if len(found) == 1 else torch.cat(found, 1)


def _samples(x: Tensor) -> list[slice]:
    """Return the samples of each thread; one thread takes all of them, if there is little to compute."""
    steps, batch, _ = x.shape
    if steps * batch >= 2 * LEAST:
        parts = threads.shares(batch)
        if batch // len(parts) * steps >= LEAST:
            return parts
    return [slice(0, batch)]


class _Row(Function):
    @staticmethod
    def forward(
        ctx: Any, links: Sequence[Link], states: bool, x: Tensor, known: Tensor | None, *given: Any
    ) -> tuple[Tensor, ...]:
        y, after, tensors, ctx.saved = _forward(links, states, x, known, True)
        ctx.shape = x.shape
        if len(ctx.saved) > 1:
            ctx.divided = [d for link in links for d in _divided(link, x.shape[1])]
        ctx.save_for_backward(*tensors)
        if states:  # without states the only output is y, which always has a gradient
            ctx.set_materialize_grads(False)
        return y, *after

    @staticmethod
    def gradients(ctx: Any, saved: tuple[Tensor, ...], *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        parts, (_, _, inward, _, *needs) = ctx.saved, ctx.needs_input_grad
        g_x = empty(ctx.shape, parts[0][0].neurons.dtype) if inward else None
        if len(parts) == 1:
            return None, None, g_x, None, *backward(parts[0], saved, grads, needs, g_x)
        count, begin, jobs = len(saved) // len(parts), 0, []
        for k, links in enumerate(parts):
            of = slice(begin, begin + links[0].neurons.shape[0])
            g, *after = grads
            own = [None if g is None else g[:, of], *(None if a is None else a[of] for a in after)]
            into = None if g_x is None else g_x[:, of]
            jobs.append(partial(backward, links, saved[k * count : (k + 1) * count], own, needs, into))
            begin = of.stop
        found = threads.each(jobs)
        return None, None, g_x, None, *map(_joined, zip(*found, strict=True), ctx.divided)


def _forward(
    links: Sequence[Link], states: bool, x: Tensor, known: Tensor | None, keep: bool
) -> tuple[Tensor, list[Tensor], list[Tensor | None], list[list[Saved]]]:
    """Return the output, the final states, and, if `keep`, the tensors and values that backward needs; the values are
    for each thread.
    """
    parts, given, (steps, batch, _), last = _samples(x), x if known is None else known, x.shape, links[-1].weight
    y, jobs = empty((steps, batch, last.shape[0]), last.dtype), []
    if len(parts) == 1:
        after, tensors, saved = chunked.forward(links, given, y, states, keep)
        return y, after, tensors, [saved]
    for of in parts:
        own = [_part(link, of, batch) for link in links]
        jobs.append(partial(chunked.forward, own, given[:, of], y[:, of], states, keep))
    after, tensors, saved = zip(*threads.each(jobs), strict=True)
    ends = [torch.cat(own) for own in zip(*after, strict=True)]
    return y, ends, [t for own in tensors for t in own], list(saved)


def _divided(link: Link, batch: int) -> list[bool]:
    """Return for weight, bias, states and params of a link whether they have a row per sample."""
    own = link.params[: len(link.params) - link.neurons.returns]  # the last one of recurrent neurons is their weight
    params = [p.dim() > 1 and p.shape[0] == batch for p in own]
    return [False, False, *(True for _ in link.states), *params, *(False for _ in link.params[len(own) :])]


def _part(link: Link, of: slice, batch: int) -> Link:
    """Return a link for some of the samples."""
    tensors = link.weight, link.bias, *link.states, *link.params
    own = [t[of] if t is not None and d else t for t, d in zip(tensors, _divided(link, batch), strict=True)]
    params = 2 + len(link.states)
    return link._replace(neurons=link.neurons.of(of.stop - of.start), states=own[2:params], params=own[params:])


def _joined(grads: Sequence[Tensor | None], divided: bool) -> Tensor | None:
    """Return a gradient from those that the threads computed."""
    first, *more = grads
    if first is None or not more:
        return first
    if divided:
        return torch.cat(grads)  # type: ignore[arg-type]
    for g in more:
        first.add_(g)  # type: ignore[arg-type]
    return first
