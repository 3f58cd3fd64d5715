"""SpikingJelly's layers for online training: what runs on [spike, trace], step by step."""

from typing import Any

import torch
from torch import Tensor, nn

from ranvier.compat.spikingjelly.neuron import OTTTLIFNode
from ranvier.nn.online import TraceGradient, instead


class ReplaceforGrad:
    """`apply(x, x_r)`: the value of x_r; the gradient goes to both."""

    apply = staticmethod(instead)


class GradwithTrace(TraceGradient):
    """[spike, trace] -> module(spike), whose weights learn as if the trace had come in."""

    def forward(self, x: Any) -> Tensor:  # type: ignore[override]
        return super().forward(*x)


class SpikeTraceOp(nn.Module):
    """[spike, trace] -> the module of both; the trace's without gradient."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x: Any) -> list[Tensor]:
        spike, trace = x
        with torch.no_grad():
            trace = self.module(trace)
        return [self.module(spike), trace]


class OTTTSequential(nn.Sequential):
    """Layers in sequence on a tensor, or from the first `OTTTLIFNode` on, in training, on [spike, trace]."""

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
