"""Izhikevich's neuron."""

from ranvier.nn.neuron import Neuron, Param, State
from ranvier.nn.reset import resetting
from ranvier.ops import spike


class Izhikevich(Neuron):
    """Quadratic integrate-and-fire with a recovery current: regular, bursting and chattering spikes from one equation.

    v = v + (x + a0 (v - v_rest) (v - v_critical) - w) / tau;  z = 1 where v >= threshold;
    w = w + (a (v - v_rest) - w) / tau_w + b z;  then the reset of v: "zero" puts it to v_reset.

    x [T, B, *features] -> spikes. tau and tau_w in steps, above 0; v and w without unit. Izhikevich, Simple model of
    spiking neurons, IEEE TNN 14, 2003, in the form of Gerstner et al., Neuronal Dynamics, 6.2.

    >>> import torch, ranvier
    >>> ranvier.Izhikevich(b=0.5)(torch.full((5, 1, 1), 1.5)).flatten()
    tensor([0., 1., 0., 0., 1.])
    """

    tau = Param(2.0, "time constant of the membrane in steps", low=1e-6)
    a0 = Param(1.0, "curvature of the membrane")
    v_rest = Param(-0.1, "resting level")
    v_critical = Param(0.8, "level above which the membrane runs away")
    tau_w = Param(2.0, "time constant of the recovery in steps", low=1e-6)
    a = Param(0.0, "how the recovery follows the membrane")
    b = Param(0.0, "what a spike adds to the recovery")
    threshold = Param(1.0, "membrane at which a spike is fired")
    v_reset = Param(-0.1, "level the membrane begins at and is reset to")
    v = State("v_reset", "membrane")
    w = State(0.0, "recovery current")
    reset = resetting("zero")

    @staticmethod
    def rule(x, v, w, tau, a0, v_rest, v_critical, tau_w, a, b, threshold, v_reset, reset):
        v = v + (x + a0 * (v - v_rest) * (v - v_critical) - w) / tau
        z = spike(v - threshold)
        w = w + (a * (v - v_rest) - w) / tau_w + b * z
        return z, (v_reset + reset(v - v_reset, z, threshold), w)
