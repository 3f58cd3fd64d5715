"""Membranes without spikes, read out at the end."""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

import ranvier
from ranvier.compat.spikingjelly.memory import MemoryModule, MultiStepModule
from ranvier.nn.neurons.parametric import leak
from ranvier.nn.temporal import Temporal


def _greatest(v: Tensor) -> Tensor:
    at = v.abs().argmax(0, keepdim=True)
    return v.gather(0, at)[0]


DECODE: dict[str | None, Callable[[Tensor], Any]] = {
    None: lambda v: list(v.unbind(0)),
    "max-mem": lambda v: v.amax(0),
    "max-abs-mem": _greatest,
    "mean-mem": lambda v: v.mean(0),
    "last-mem": lambda v: v[-1],
    "last_mem": lambda v: v[-1],
}


class NonSpikingBaseNode(MultiStepModule, MemoryModule):
    """A membrane without spikes over a sequence, read out by `decode`; every call begins anew."""

    def __init__(self, core: Temporal, decode: str | None):
        MemoryModule.__init__(self, "m")
        if decode not in DECODE:
            raise ValueError(f"decode must be one of {list(DECODE)}, got {decode!r}")
        self.core, self.decode = core, decode
        self.register_memory("v", 0.0)

    def multi_step_forward(self, x_seq: Tensor) -> Any:  # type: ignore[override]
        flat = x_seq.reshape(len(x_seq), 1, -1)
        v = self.core.scan(flat)[0].reshape(x_seq.shape)
        self.v = v[-1]
        return DECODE[self.decode](v)


class NonSpikingIFNode(NonSpikingBaseNode):
    def __init__(self, decode: str | None = None):
        super().__init__(ranvier.LI(beta=1.0), decode)


class NonSpikingLIFNode(NonSpikingBaseNode):
    def __init__(self, tau: float = 2.0, decode: str | None = None):
        super().__init__(ranvier.Lowpass(tau=-1.0 / math.log1p(-leak(tau)), dt=1.0), decode)
