"""Nodes for online training: no gradient flows from step to step."""

import torch
from torch import Tensor

import ranvier
from ranvier.compat.spikingjelly import surrogate
from ranvier.compat.spikingjelly.neuron.leaky import LIFNode
from ranvier.compat.spikingjelly.neuron.node import Surrogate
from ranvier.plasticity import Trace


class SLTTLIFNode(LIFNode):
    """`LIFNode` whose memory is cut off from the graph before every step; step mode "s" only."""

    def __init__(
        self,
        tau: float = 2.0,
        decay_input: bool = True,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: Surrogate = surrogate.Sigmoid(),  # noqa: B008
        detach_reset: bool = True,
        step_mode: str = "s",
        store_v_seq: bool = False,
    ):
        given = tau, decay_input, v_threshold, v_reset, surrogate_function, detach_reset, step_mode, store_v_seq
        super().__init__(*given)

    def supported_step_mode(self) -> tuple[str, ...]:
        return ("s",)

    def single_step_forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        self.v = ranvier.detach(self.v)
        return super().single_step_forward(x)


class OTTTLIFNode(SLTTLIFNode):
    """`SLTTLIFNode` that in training gives [spike, trace], the trace of its own spikes decaying by 1 - 1 / tau."""

    def __init__(
        self,
        tau: float = 2.0,
        decay_input: bool = False,
        v_threshold: float = 1.0,
        v_reset: float | None = None,
        surrogate_function: Surrogate = surrogate.Sigmoid(),  # noqa: B008
        detach_reset: bool = True,
        step_mode: str = "s",
        store_v_seq: bool = False,
    ):
        given = tau, decay_input, v_threshold, v_reset, surrogate_function, detach_reset, step_mode, store_v_seq
        super().__init__(*given)
        self.follow = Trace(rho=1.0 - 1.0 / tau)
        self.register_memory("trace", None)

    def single_step_forward(self, x: Tensor) -> Tensor | list[Tensor]:  # type: ignore[override]
        spike = super().single_step_forward(x)
        if not self.training:
            return spike
        with torch.no_grad():
            rows = spike.detach().reshape(1, 1, -1)
            before = None if self.trace is None else {"trace": self.trace.reshape(1, -1)}
            self.trace = self.follow.scan(rows, before)[0].reshape(spike.shape)
        return [spike, self.trace]
