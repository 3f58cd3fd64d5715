"""SpikingJelly's layers for online training. Their input is a pair [spike, trace], one step per call.

The gradient of a weight at one step is the gradient of its output times the trace of its input. No gradient flows from
step to step. Xiao et al., Online training through time for spiking neural networks, NeurIPS 2022.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ranvier.compat.spikingjelly.activation_based.neuron import OTTTLIFNode


class _Instead(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        return grads[0], grads[0]


def instead(x: Tensor, value: Tensor) -> Tensor:
    """Return `value`. In the backward pass, both x and `value` get the gradient of the result.

    >>> import torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> y = instead(x, torch.tensor([3.0, 4.0]))
    >>> y.sum().backward()
    >>> y.tolist(), x.grad.tolist()
    ([3.0, 4.0], [1.0, 1.0])
    """
    if x.shape != value.shape:
        raise ValueError(f"instead: both must have the same shape, got {tuple(x.shape)} and {tuple(value.shape)}")
    return _Instead.apply(x, value)


class ReplaceforGrad:
    """`apply(x, x_r)` returns x_r. In the backward pass, both x and x_r get the gradient of the result."""

    apply = staticmethod(instead)


class GradwithTrace(nn.Module):
    """A module that is run on spikes, while the gradient of its weights is computed as if its input were the trace.

    [spike, trace], each one step [N, *features] -> module(spike). Spike and trace both get the gradient of the module's
    input.

    >>> import torch
    >>> layer = GradwithTrace(torch.nn.Linear(1, 1, bias=False))
    >>> layer([torch.ones(1, 1), torch.full((1, 1), 1.5)]).backward()
    >>> layer.module.weight.grad
    tensor([[1.5000]])
    """

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x: Any) -> Tensor:
        spike, trace = x
        with torch.no_grad():
            y = self.module(spike)
        return instead(self.module(instead(spike, trace)), y)


class SpikeTraceOp(nn.Module):
    """[spike, trace] -> the module applied to both; the trace has no gradient."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x: Any) -> list[Tensor]:
        spike, trace = x
        with torch.no_grad():
            trace = self.module(trace)
        return [self.module(spike), trace]


class OTTTSequential(nn.Sequential):
    """Layers in sequence. In training, the layers after the first `OTTTLIFNode` receive a pair [spike, trace],
    the others one tensor.
    """

    def forward(self, x: Any) -> Any:  # type: ignore[override]
        for module in self:
            x = _on_pair(module, x) if isinstance(x, (list, tuple)) else module(x)
        return x


def _on_pair(module: nn.Module, x: Any) -> Any:
    if isinstance(module, OTTTLIFNode):
        return module(x[0])
    if isinstance(module, (GradwithTrace, SpikeTraceOp)):
        return module(x)
    return (GradwithTrace if any(True for _ in module.parameters()) else SpikeTraceOp)(module)(x)
