"""Backward of consecutive linear layers and their neurons, which `chunked.py` has run: from the last chunk of steps to
the first.

Each link asks the one after it for the gradient of a chunk of its output. So of the gradients that links hand to each
other, only one chunk is in memory, and it is still in cache when it is read.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ranvier.backends.buffers import contiguous, empty, scratch
from ranvier.spikes import product
from ranvier.spikes.chunked import Saved, place, put, rows

Ask = Callable[[slice], Tensor]  # steps -> the gradient of an output at these steps, or [1, B, N] if all are equal


def backward(
    links: Sequence[Saved], saved: Sequence[Tensor], grads: Sequence[Tensor | None], needs: Sequence[bool],
    into: Tensor | None,
) -> list[Tensor | None]:  # fmt: skip
    """Return the gradients of weight, bias, states and params of all links, and write that of x to `into` [T, B, K],
    if it is wanted.

    saved: the tensors that `forward` returned. grads: the gradients of the output and of the final states. needs:
    which of the gradients are wanted.
    """
    (g, *after), at, end = grads, len(needs), len(saved)
    ask, found = _given(g, links[-1]), []
    for k, link in reversed(list(enumerate(links))):
        stop, at, begin = at, at - 2 - link.states - link.params, end - 5 - link.params
        g_after = [after.pop() for _ in range(link.neurons.states)][::-1] if after else ()
        inward = into is not None or any(needs[:at])
        room = None if not inward else _room(link, links[k - 1], saved[begin + 1]) if k else into
        back = _Backward(link, saved[begin:end], ask, g_after, room, needs[at:stop])
        found.append(back)
        ask, end = back.gradient, begin
        if not inward:
            break
    back.finish()
    return [*(None for _ in needs[:at]), *(g for back in reversed(found) for g in back.gradients())]


def _given(g_y: Tensor | None, link: Saved) -> Ask:
    """Return how to ask for the gradient of the last output, which is known: g_y [T, B, N], or None if it is zero."""
    if g_y is None:
        g_y = torch.zeros((1, *link.neurons.shape), dtype=link.neurons.dtype)
    if g_y.stride(0) == 0:  # the same at all steps, such as the gradient of a mean over time
        g_y = g_y[:1]
    if g_y.shape[0] == 1 or len(link.spans) == 1:
        g_y = contiguous(g_y)
        return lambda of: g_y
    return lambda of: contiguous(g_y[of])


def _room(link: Saved, before: Saved, weight: Tensor) -> Tensor:
    """Return memory for a chunk of the gradient of a link's input: the longer chunk of the two links that use it."""
    steps = max(link.spans[0].stop, before.spans[0].stop)
    return empty((steps, link.neurons.shape[0], weight.shape[1]), weight.dtype)


def _part(x: Tensor, of: slice, steps: int) -> Tensor:
    """Return some steps of x [steps, ...], which has all steps, or is the room for some chunks."""
    count = of.stop - of.start
    if count == steps:
        return x
    begin = of.start % steps
    return x[begin : begin + count]


class _Backward:
    """Backward of one link.

    saved: the tensors that `forward` returned for it. ask: gives the gradient of its output. g_after: the gradients of
    its final states. room: memory for the gradient of its input, for all steps or for some chunks; None if it is not
    wanted. needs: which of the gradients of weight, bias, initial states and params are wanted.
    """

    def __init__(
        self, link: Saved, saved: Sequence[Tensor], ask: Ask, g_after: Sequence[Tensor | None], room: Tensor | None,
        needs: Sequence[bool],
    ):  # fmt: skip
        self.x, self.weight, self.u, spikes, course, *params = saved
        self.link, self.ask, self.needs, self.steps = link, ask, needs, link.spans[-1].stop
        self.course = link.neurons.begin(link.initial, 1) if course is None else course.numpy()
        self.room, self.room_steps = room, 0 if room is None else room.shape[0]
        self.back = link.neurons.begin_backward(params, needs[2 + link.states :], link.states > 0, spikes)
        self.g_state, self.g_weight, self.g_bias = link.neurons.end(g_after), None, None
        self.left, self.density = len(link.spans), 1.0  # chunks to do; share of events in the gradient of u

    def gradient(self, of: slice) -> Tensor:
        """Return the gradient of the input at some steps, until it is asked for earlier ones."""
        assert self.room is not None
        while self.left and self.link.spans[self.left - 1].stop > of.start:
            self._chunk()
        return _part(self.room, of, self.room_steps)

    def finish(self) -> None:
        """Run all chunks that are left."""
        while self.left:
            self._chunk()

    def _chunk(self) -> None:
        self.left -= 1
        link, u, weight = self.link, self.u, self.weight
        span, before, (_, batch, width) = link.spans[self.left], self.course[self.left], u.shape
        g_y, u = self.ask(span), _part(u, span, self.steps)
        g_u = scratch("chunk", ((span.stop - span.start) * batch, width), u.dtype)
        self.g_state = link.neurons.backward(self.back, span, u, before, g_y, self.g_state, g_u)
        if self.g_weight is None:
            self.density = product.share(g_u, width) if link.events else 1.0
            self.g_weight = product.Gradient(width, weight.shape[1], link.density, self.density)
        if self.room is not None:
            g_x = _part(self.room, span, self.room_steps)
            into = place(g_x)
            product.multiplier(g_u, width, weight.t(), None, self.density)(g_u, out=into)
            put(into, g_x)
        if self.needs[0]:
            self.g_weight.add(rows(_part(self.x, span, self.steps)), g_u)
        if self.needs[1]:
            of_bias = g_u.sum(0)
            self.g_bias = of_bias if self.g_bias is None else self.g_bias.add_(of_bias)

    def gradients(self) -> list[Tensor | None]:
        """Return the gradients of weight, bias, initial states and params, after all chunks."""
        self.room = None  # so that its memory can be used again
        neurons, of_states = self.link.neurons, self.needs[2 : 2 + self.link.states]
        of_weight = self.g_weight.total() if self.g_weight and self.needs[0] else None
        return [of_weight, self.g_bias, *neurons.before(self.g_state, of_states), *neurons.gradients(self.back)]
