"""Adaptive neurons: each spike makes the next one harder."""

from typing import Literal

from ranvier.nn.declare import step_length
from ranvier.nn.neuron import Learn, Neuron, Option, Param, State, Time
from ranvier.nn.reset import Reset, detaching, resetting
from ranvier.ops import spike


class ALIF(Neuron):
    """Leaky integrate-and-fire whose threshold rises with its own spikes.

    v = beta v + x;  theta = threshold + kappa a;  z = 1 where v >= theta;  reset by theta;  a = rho a + z.

    x [T, B, *features] input current per step; returns spikes z of the same shape. beta and rho in [0, 1] are decays
    per step, kappa is what one spike adds to the threshold. Bellec et al., Long short-term memory and
    learning-to-learn in networks of spiking neurons, 2018.

    >>> import torch, ranvier
    >>> ranvier.ALIF(kappa=1.0)(torch.full((4, 1, 1), 1.5)).flatten()
    tensor([1., 0., 1., 0.])
    """

    beta: Param = Param(0.9, "decay of the membrane per step", low=0.0, high=1.0)
    tau: Time = Time("beta", "time constant of the membrane")
    dt: Option[float] = step_length()
    rho: Param = Param(0.97, "decay of the adaptation per step", low=0.0, high=1.0)
    tau_a: Time = Time("rho", "time constant of the adaptation")
    kappa: Param = Param(0.2, "rise of the threshold with each spike")
    threshold: Param = Param(1.0, "threshold at rest")
    v = State(0.0, "membrane")
    a = State(0.0, "adaptation")
    reset: Option[Reset] = resetting()
    detach_reset: Option[bool] = detaching()
    learn: Learn[Literal["beta", "kappa", "rho", "tau", "tau_a", "threshold"]] = Learn()

    @staticmethod
    def rule(x, v, a, beta, rho, kappa, threshold, reset):
        v = beta * v + x
        theta = threshold + kappa * a
        z = spike(v - theta)
        return z, (reset(v, z, theta), rho * a + z)
