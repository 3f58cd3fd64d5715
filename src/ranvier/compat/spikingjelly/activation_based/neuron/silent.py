"""Readout neurons without spikes: their output is computed from their membrane."""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

import ranvier
from ranvier.compat.spikingjelly.activation_based.base import MultiStepModule
from ranvier.compat.spikingjelly.activation_based.carried import Carried
from ranvier.nn.neurons.parametric import leak


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


class NonSpikingBaseNode(MultiStepModule, Carried):
    """A neuron without spikes. Its membrane over a sequence is decoded by `decode`, such as "last-mem" (the membrane
    after the last step); None returns a list of all steps. Every call starts from the initial state.
    """

    def __init__(self, decode: str | None = None):
        if decode not in DECODE:
            raise ValueError(f"decode must be one of {list(DECODE)}, got {decode!r}")
        Carried.__init__(self, self.membrane(), "m")
        self.decode = decode

    def membrane(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define membrane(), the core layer that integrates")

    def multi_step_forward(self, x_seq: Tensor) -> Any:  # type: ignore[override]
        if self.decode not in DECODE:
            raise ValueError(f"decode must be one of {list(DECODE)}, got {self.decode!r}")
        self.reset()
        v = self.v_seq = super().multi_step_forward(x_seq)
        self.v = v[-1]
        return DECODE[self.decode](v)


class NonSpikingIFNode(NonSpikingBaseNode):
    def membrane(self) -> Any:
        return ranvier.LI(beta=1.0)


class NonSpikingLIFNode(NonSpikingBaseNode):
    def __init__(self, tau: float = 2.0, decode: str | None = None):
        self.__dict__["_tau"] = tau
        super().__init__(decode)
        self._tau = tau

    def membrane(self) -> Any:
        return ranvier.Lowpass(tau=-1.0 / math.log1p(-leak(self.__dict__["_tau"])), dt=1.0)

    @property
    def tau(self) -> float:
        return self._tau

    @tau.setter
    def tau(self, value: float) -> None:
        self._tau = value
        self.__dict__["core"] = self.membrane()
