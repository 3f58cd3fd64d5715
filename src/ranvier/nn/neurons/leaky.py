"""Leaky integrate-and-fire, and the leaky integrator without spikes, which is a readout."""

from typing import Literal

from ranvier.nn.declare import step_length
from ranvier.nn.neuron import Learn, Neuron, Option, Param, State, Time
from ranvier.nn.reset import Reset, detaching, resetting
from ranvier.ops import spike


class LIF(Neuron):
    """Leaky integrate-and-fire.

    v = beta v + x;  z = 1 where v >= threshold;  then the reset ("subtract", "zero" or "none").

    x [T, B, *features] input current per step; returns spikes z of the same shape. beta in [0, 1] is the decay per
    step: `ranvier.decay(tau, dt)`. Gerstner & Kistler, Spiking Neuron Models, 2002, chapter 4.

    >>> import torch, ranvier
    >>> ranvier.LIF(beta=0.5)(torch.full((4, 1, 1), 0.6)).flatten()
    tensor([0., 0., 1., 0.])
    """

    beta: Param = Param(0.9, "decay of the membrane per step", low=0.0, high=1.0)
    tau: Time = Time("beta", "time constant of the membrane")
    dt: Option[float] = step_length()
    threshold: Param = Param(1.0, "membrane at which a spike is fired")
    v = State(0.0, "membrane")
    reset: Option[Reset] = resetting()
    detach_reset: Option[bool] = detaching()
    learn: Learn[Literal["beta", "tau", "threshold"]] = Learn()

    @staticmethod
    def rule(x, v, beta, threshold, reset):
        v = beta * v + x
        z = spike(v - threshold)
        return z, reset(v, z, threshold)


class LI(Neuron):
    """Leaky integrator: a membrane without spikes, the usual readout.

    v = beta v + x;  returns v in the shape of x [T, B, *features]. beta in [0, 1] is the decay per step.

    >>> import torch, ranvier
    >>> ranvier.LI(beta=0.5)(torch.ones(3, 1, 1)).flatten()
    tensor([1.0000, 1.5000, 1.7500])
    """

    beta: Param = Param(0.9, "decay of the membrane per step", low=0.0, high=1.0)
    tau: Time = Time("beta", "time constant of the membrane")
    dt: Option[float] = step_length()
    v = State(0.0, "membrane")
    learn: Learn[Literal["beta", "tau"]] = Learn()

    @staticmethod
    def rule(x, v, beta):
        v = beta * v + x
        return v, v
