"""Neurons that say more than one bit: ternary spikes, and whole numbers."""

from ranvier.nn.neuron import Neuron, Option, Param, State
from ranvier.nn.neurons.parametric import charging
from ranvier.nn.reset import resetting
from ranvier.ops import clamp, inject, round, spike


class TernaryLIF(Neuron):
    """Leaky integrate-and-fire with spikes of both signs.

    v as in `RestLIF`;  z = 1 where v >= threshold, -1 where v <= -threshold, else 0;  then the reset: "subtract" takes
    z threshold from v, "zero" puts v to rest after a spike of either sign.

    x [T, B, *features] -> z of the same shape, in {-1, 0, 1}. leak=0 with decay_input=False is the ternary
    integrate-and-fire neuron. Guo et al., Ternary spike: learning ternary spikes for spiking neural networks, 2024.

    >>> import torch, ranvier
    >>> x = torch.tensor([0.6, 0.6, -0.9, -0.9]).reshape(4, 1, 1)
    >>> ranvier.TernaryLIF(leak=0.0, decay_input=False)(x).flatten()
    tensor([ 0.,  1.,  0., -1.])
    """

    leak = Param(0.5, "part of the distance to rest that is lost per step", low=0.0, high=1.0)
    threshold = Param(1.0, "distance at which a spike is fired", low=1e-6)
    rest = Param(0.0, "level the membrane decays to, begins at and is reset to")
    v = State("rest", "membrane")
    reset = resetting("subtract")
    signed = Option(lambda reset: reset == "subtract", reset="subtract")
    charge = charging()

    @staticmethod
    def rule(x, v, leak, threshold, rest, reset, signed, charge):
        v = charge(x, v, leak, rest)
        up, down = spike(v - threshold), spike(-v - threshold)
        z = up - down
        return z, rest + reset(v - rest, z if signed else up + down, threshold)


def _levels(levels: int) -> int:
    if isinstance(levels, bool) or not isinstance(levels, int) or levels < 1:
        raise ValueError(f"IntegerLIF: levels must be a whole number of at least 1, got {levels!r}")
    return levels


class IntegerLIF(Neuron):
    """Leaky integrate-and-fire that gives a whole number of spikes per step.

    v = v - leak v + x;  n = round(v / threshold), held between 0 and levels;  v = v - n threshold.

    x [T, B, *features] -> n of the same shape, in {0, ..., levels}. The gradient of n is 1 / threshold while
    0 <= v / threshold <= levels, else 0. detach_reset=True lets none through the reset. Luo et al., Integer-valued
    training and spike-driven inference spiking neural network, ECCV 2024.

    >>> import torch, ranvier
    >>> ranvier.IntegerLIF()(torch.tensor([0.4, 2.6, 9.0]).reshape(3, 1, 1)).flatten()
    tensor([0., 3., 4.])
    """

    leak = Param(0.75, "part of the membrane that is lost per step", low=0.0, high=1.0)
    threshold = Param(1.0, "what one spike stands for", low=1e-6)
    v = State(0.0, "membrane")
    reset = resetting("subtract")
    levels = Option(_levels, levels=4)

    @staticmethod
    def rule(x, v, leak, threshold, reset, levels):
        v = v - leak * v + x
        u = clamp(v / threshold, 0.0, levels)
        n = inject(u, round(u))
        return n, reset(v, n, threshold)
