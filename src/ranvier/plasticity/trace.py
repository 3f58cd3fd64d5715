"""A trace: a decaying memory of recent spikes."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ranvier.nn.declare import step_length
from ranvier.nn.neuron import Neuron, Option, Param, State, Time
from ranvier.nn.neurons.traced import floating
from ranvier.ops import where

# The trace after a step, computed from the trace before, the spikes z, the decay and the gain of a spike.
KINDS: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "additive": lambda trace, z, rho, gain: trace * rho + gain * z,
    "saturating": lambda trace, z, rho, gain: trace * rho + gain * z * (1.0 - trace * rho),
    "nearest": lambda trace, z, rho, gain: where(z > 0.0, gain * z, trace * rho),
    "euler": lambda trace, z, rho, gain: trace + (1.0 - rho) * (gain * z - trace),
}


class Trace(Neuron):
    """The trace of presynaptic or postsynaptic spikes: it rises with each spike and decays between spikes; a spike is
    included in the trace of the same step.

    "additive": t = rho t + gain z (all pairs of spikes count);
    "saturating": t = rho t + gain z (1 - rho t), never above 1 for gain in [0, 1];
    "nearest": t = gain where z is not 0, else rho t (only the last spike counts);
    "euler": t = t + (1 - rho) (gain z - t), forward Euler of tau t' = gain z - t with rho = 1 - dt / tau.

    z [T, B, *features], float or bool; returns t of the same shape. rho in [-1, 1] is the decay per step:
    `ranvier.decay(tau, dt)`. Other kinds raise a ValueError. Morrison, Diesmann & Gerstner, Biol. Cybern. 98:459, 2008.

    >>> import torch
    >>> from ranvier.plasticity import Trace
    >>> z = torch.tensor([1.0, 1.0, 0.0]).reshape(3, 1, 1)
    >>> {kind: Trace(rho=0.5, kind=kind)(z).flatten().tolist() for kind in ("additive", "saturating", "nearest")}
    {'additive': [1.0, 1.5, 0.75], 'saturating': [1.0, 1.0, 0.5], 'nearest': [1.0, 1.0, 0.5]}
    """

    rho: Param = Param(0.95, "decay per step", low=-1.0, high=1.0)
    gain: Param = Param(1.0, "what a spike adds")
    tau: Time = Time("rho", "time constant of the trace")
    dt: Option[float] = step_length()
    trace = State(0.0, "trace")
    kind: Option[str] = Option("additive", "which spikes count", make=lambda kind: KINDS[kind], choices=tuple(KINDS))

    @staticmethod
    def rule(z, trace, rho, gain, kind):
        trace = kind(trace, z, rho, gain)
        return trace, trace

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        return super().run(floating(x), state, names)
