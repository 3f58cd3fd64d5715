"""Membranes that run away by themselves: quadratic and exponential integrate-and-fire."""

from ranvier.nn.neuron import Neuron, Param, State
from ranvier.nn.reset import resetting
from ranvier.ops import exp, spike


class QIF(Neuron):
    """Quadratic integrate-and-fire.

    v = v + (x + a (v - v_rest) (v - v_critical)) / tau;  z = 1 where v >= threshold;  then the reset: "zero" puts v
    to v_reset.

    x [T, B, *features] -> spikes. tau in steps, above 0. Above v_critical the membrane rises without input.
    Ermentrout & Kopell, Parabolic bursting in an excitable system, 1986; Gerstner et al., Neuronal Dynamics, 5.3.

    >>> import torch, ranvier
    >>> ranvier.QIF()(torch.full((4, 1, 1), 1.0)).flatten()
    tensor([0., 0., 1., 0.])
    """

    tau = Param(2.0, "time constant of the membrane in steps", low=1e-6)
    a = Param(1.0, "curvature")
    v_rest = Param(0.0, "resting level")
    v_critical = Param(0.8, "level above which the membrane runs away")
    threshold = Param(1.0, "membrane at which a spike is fired")
    v_reset = Param(-0.1, "level the membrane begins at and is reset to")
    v = State("v_reset", "membrane")
    reset = resetting("zero")

    @staticmethod
    def rule(x, v, tau, a, v_rest, v_critical, threshold, v_reset, reset):
        v = v + (x + a * (v - v_rest) * (v - v_critical)) / tau
        z = spike(v - threshold)
        return z, v_reset + reset(v - v_reset, z, threshold)


class EIF(Neuron):
    """Exponential integrate-and-fire.

    v = v + (x + v_rest - v + delta exp((v - theta) / delta)) / tau;  z = 1 where v >= threshold;  then the reset:
    "zero" puts v to v_reset.

    x [T, B, *features] -> spikes. tau in steps, above 0; delta, above 0, is the sharpness of the spike's onset at the
    rheobase theta. Fourcaud-Trocmé et al., How spike generation mechanisms determine the neuronal response to
    fluctuating inputs, J. Neurosci. 23, 2003.

    >>> import torch, ranvier
    >>> ranvier.EIF()(torch.full((4, 1, 1), 1.0)).flatten()
    tensor([0., 1., 0., 1.])
    """

    tau = Param(2.0, "time constant of the membrane in steps", low=1e-6)
    delta = Param(1.0, "sharpness of the onset", low=1e-6)
    theta = Param(0.8, "rheobase")
    v_rest = Param(0.0, "resting level")
    threshold = Param(1.0, "membrane at which a spike is fired")
    v_reset = Param(-0.1, "level the membrane begins at and is reset to")
    v = State("v_reset", "membrane")
    reset = resetting("zero")

    @staticmethod
    def rule(x, v, tau, delta, theta, v_rest, threshold, v_reset, reset):
        v = v + (x + v_rest - v + delta * exp((v - theta) / delta)) / tau
        z = spike(v - threshold)
        return z, v_reset + reset(v - v_reset, z, threshold)
