"""Truncated backpropagation through time: gradients flow back through a limited number of steps, and only these need
memory.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ranvier.nn.padded import known, only, within
from ranvier.nn.verbs import detach, scan


class Truncated:
    """The loss of a network over a whole sequence, with its gradient computed in chunks of `steps` steps.

    First the traces of the whole sequence are computed without an autograd graph, then the loss and its gradient with
    respect to the traces. Then every chunk runs again from its initial state, and its part of this gradient is
    propagated back through it. The loss is therefore that of the whole sequence; only the gradient does not flow from a
    chunk into the previous one. Williams & Peng, An efficient gradient-based algorithm for on-line training of
    recurrent networks, 1990.
    """

    def __init__(self, net: nn.Module, loss: Any, steps: int):
        self.net, self.loss, self.steps = net, loss, steps
        self.chunks: list[tuple[Tensor, Tensor, Any, Tensor]] = []  # input, which steps count, state, random numbers
        self.traces = torch.empty(0)

    def forward(self, x: Tensor, labels: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return traces `[T, B, C]` and the loss for x `[T, B, *features]`, labels, and lengths `[B]` (None: all T)."""
        self.chunks, outputs, state = [], [], None
        ends = lengths if lengths is not None else torch.full(x.shape[1:2], len(x), device=x.device)
        valid = within(ends, int(ends.max()))
        x = only(valid, x[: len(valid)])
        buffers = [buffer.clone() for buffer in self.net.buffers()]
        with torch.no_grad():
            for chunk, there in zip(x.split(self.steps), valid.split(self.steps), strict=True):
                self.chunks.append((chunk, there, state, torch.get_rng_state()))
                y, state = self._run(chunk, there, state)
                outputs.append(y)
            for buffer, before in zip(self.net.buffers(), buffers, strict=True):
                buffer.copy_(before)  # only the second run may update buffers
        self.traces = torch.cat(outputs).requires_grad_()
        return self.traces, self.loss(self.traces, labels, *([] if lengths is None else [lengths]))

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of `loss` to that of the weights; `loss` is the one that `forward` returned, or a multiple
        of it.
        """
        loss.backward()
        assert self.traces.grad is not None
        for chunk, gradient in zip(self.chunks, self.traces.grad.split(self.steps), strict=True):
            x, there, state, draws = chunk
            torch.set_rng_state(draws)
            y, _ = self._run(x, there, detach(state) if state is not None else None)
            y.backward(gradient)
        self.chunks = []

    def _run(self, x: Tensor, there: Tensor, state: Any) -> Any:
        with known(self.net, there):
            return scan(self.net, x, state)
