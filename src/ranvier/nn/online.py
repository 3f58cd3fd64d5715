"""Online training through time: weights learn from the trace of their input, so no step has to remember another.

The gradient of a weight at one step is the gradient of its output times the trace of its input; nothing flows from step
to step. Xiao et al., Online training through time for spiking neural networks, NeurIPS 2022.
"""

from typing import Any

import torch
from torch import Tensor, nn


class _Instead(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        return grads[0], grads[0]


def instead(x: Tensor, value: Tensor) -> Tensor:
    """The value of one tensor; the gradient goes to both.

    >>> import torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> y = instead(x, torch.tensor([3.0, 4.0]))
    >>> y.sum().backward()
    >>> y.tolist(), x.grad.tolist()
    ([3.0, 4.0], [1.0, 1.0])
    """
    if x.shape != value.shape:
        raise ValueError(f"instead: both must have one shape, got {tuple(x.shape)} and {tuple(value.shape)}")
    return _Instead.apply(x, value)


class TraceGradient(nn.Module):
    """A module whose output is that of the spikes, and whose weights learn as if the trace had come in.

    (spike, trace), one step [B, *features] each -> module(spike). The gradient that reaches spike and trace is the one
    of the module's input.

    >>> import torch
    >>> layer = TraceGradient(torch.nn.Linear(1, 1, bias=False))
    >>> layer(torch.ones(1, 1), torch.full((1, 1), 1.5)).backward()
    >>> layer.module.weight.grad
    tensor([[1.5000]])
    """

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, spike: Tensor, trace: Tensor) -> Tensor:
        with torch.no_grad():
            y = self.module(spike)
        return instead(self.module(instead(spike, trace)), y)
