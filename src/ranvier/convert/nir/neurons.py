"""Neurons with the gains, resting levels and reset levels of NIR nodes, which no other layer has."""

from ranvier.nn.neuron import Neuron, Param, State
from ranvier.ops import spike


class GainLIF(Neuron):
    """Leaky integrate-and-fire with an input gain, a resting level and a reset level.

    v = rest + beta (v - rest) + gain x;  z = 1 where v >= threshold;  v = level where z = 1.

    x [T, B, *features] -> spikes of the same shape. beta in [0, 1] is the decay per step.

    >>> import torch
    >>> from ranvier.convert.nir.neurons import GainLIF
    >>> GainLIF(beta=0.5, gain=2.0, level=-1.0)(torch.full((4, 1, 1), 0.6)).flatten()
    tensor([1., 0., 1., 0.])
    """

    beta = Param(0.9, "decay of the membrane per step", low=0.0, high=1.0)
    gain = Param(1.0, "membrane per input")
    threshold = Param(1.0, "membrane at which a spike is fired")
    rest = Param(0.0, "level to which the membrane decays, and at which it starts")
    level = Param(0.0, "membrane after a spike")
    v = State("rest", "membrane")

    @staticmethod
    def rule(x, v, beta, gain, threshold, rest, level):
        v = rest + beta * (v - rest) + gain * x
        z = spike(v - threshold)
        return z, (1.0 - z) * v + z * level


class GainLI(Neuron):
    """Leaky integrator with an input gain and a resting level: v = rest + beta (v - rest) + gain x; the output is v.

    x [T, B, *features] -> v of the same shape.
    """

    beta = Param(0.9, "decay of the membrane per step", low=0.0, high=1.0)
    gain = Param(1.0, "membrane per input")
    rest = Param(0.0, "level to which the membrane decays, and at which it starts")
    v = State("rest", "membrane")

    @staticmethod
    def rule(x, v, beta, gain, rest):
        v = rest + beta * (v - rest) + gain * x
        return v, v


class GainCubaLIF(Neuron):
    """Current-based leaky integrate-and-fire with gains, a resting level and a reset level.

    i = alpha i + weight x;  v = rest + beta (v - rest) + gain i;  z = 1 where v >= threshold;  v = level where z = 1.

    x [T, B, *features] -> spikes of the same shape. alpha and beta in [0, 1] are decays per step.
    """

    alpha = Param(0.8, "decay of the current per step", low=0.0, high=1.0)
    beta = Param(0.9, "decay of the membrane per step", low=0.0, high=1.0)
    weight = Param(1.0, "current per input")
    gain = Param(1.0, "membrane per current")
    threshold = Param(1.0, "membrane at which a spike is fired")
    rest = Param(0.0, "level to which the membrane decays, and at which it starts")
    level = Param(0.0, "membrane after a spike")
    v = State("rest", "membrane")
    i = State(0.0, "synaptic current")

    @staticmethod
    def rule(x, v, i, alpha, beta, weight, gain, threshold, rest, level):
        i = alpha * i + weight * x
        v = rest + beta * (v - rest) + gain * i
        z = spike(v - threshold)
        return z, ((1.0 - z) * v + z * level, i)


class GainCubaLI(Neuron):
    """Current-based leaky integrator with gains and a resting level: `GainCubaLIF` without spikes; the output is v.

    x [T, B, *features] -> v of the same shape.
    """

    alpha = Param(0.8, "decay of the current per step", low=0.0, high=1.0)
    beta = Param(0.9, "decay of the membrane per step", low=0.0, high=1.0)
    weight = Param(1.0, "current per input")
    gain = Param(1.0, "membrane per current")
    rest = Param(0.0, "level to which the membrane decays, and at which it starts")
    v = State("rest", "membrane")
    i = State(0.0, "synaptic current")

    @staticmethod
    def rule(x, v, i, alpha, beta, weight, gain, rest):
        i = alpha * i + weight * x
        v = rest + beta * (v - rest) + gain * i
        return v, (v, i)


class Scale(Neuron):
    """Elementwise product with fixed numbers: y = x scale. x [T, B, *features] -> y of the same shape."""

    scale = Param(1.0, "factor of every feature")

    @staticmethod
    def rule(x, scale):
        return scale * x, ()
