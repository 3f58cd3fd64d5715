"""Nodes for online training: no gradient flows from step to step."""

import torch
from torch import Tensor

import ranvier
from ranvier.compat.spikingjelly.activation_based.neuron.leaky import LIF, LIFNode
from ranvier.compat.spikingjelly.activation_based.neuron.node import Node


class SLTTLIFNode(LIFNode):
    """`LIFNode` whose memory is detached from the graph before every step; only in step mode "s"."""

    takes = {**LIF, "detach_reset": True}

    def supported_step_mode(self) -> tuple[str, ...]:
        return ("s",)

    def single_step_forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        self.v = ranvier.detach(self.v)
        return Node.single_step_forward(self, x)


class OTTTLIFNode(SLTTLIFNode):
    """`SLTTLIFNode` that returns [spike, trace] in training; the trace of its spikes decays by a factor 1 - 1 / tau."""

    takes = {**LIF, "decay_input": False, "v_reset": None, "detach_reset": True}

    def __init__(self, *args: object, **kwargs: object):
        super().__init__(*args, **kwargs)
        self.register_memory("trace", 0.0)

    def single_step_forward(self, x: Tensor) -> Tensor | list[Tensor]:  # type: ignore[override]
        spike = super().single_step_forward(x)
        if not self.training:
            return spike
        with torch.no_grad():
            self.trace = self.trace * (1.0 - 1.0 / self.tau) + spike
        return [spike, self.trace]
