"""Neurons whose output has more than two values: ternary spikes, and whole numbers of spikes."""

from typing import Any, Literal

from ranvier.nn.declare import step_length
from ranvier.nn.length import count
from ranvier.nn.neuron import Learn, Neuron, Option, Param, State, Time
from ranvier.nn.neurons.parametric import charge, charging
from ranvier.nn.reset import Reset, detaching, made, resetting
from ranvier.ops import clamp, inject, round, spike


def _reset(reset: Reset, detach_reset: bool) -> Any:
    """Return the function that resets the membrane after a spike of either sign."""
    after = made(reset, detach_reset)
    return lambda v, up, down, threshold: after(v, up - down if reset == "subtract" else up + down, threshold)


class TernaryLIF(Neuron):
    """Leaky integrate-and-fire with spikes of both signs.

    v as in `RestLIF`;  z = 1 where v >= threshold, -1 where v <= -threshold, else 0;  then the reset: "subtract"
    subtracts z threshold from v, "zero" sets v to rest after a spike of either sign.

    x [T, B, *features] -> z of the same shape, in {-1, 0, 1}. leak=0 with decay_input=False is the ternary
    integrate-and-fire neuron. Guo et al., Ternary spike: learning ternary spikes for spiking neural networks, 2024.

    >>> import torch, ranvier
    >>> x = torch.tensor([0.6, 0.6, -0.9, -0.9]).reshape(4, 1, 1)
    >>> ranvier.TernaryLIF(leak=0.0, decay_input=False)(x).flatten()
    tensor([ 0.,  1.,  0., -1.])
    """

    leak: Param = Param(0.5, "part of the distance to rest that is lost per step", low=0.0, high=1.0)
    tau: Time = Time("leak", "time constant of the membrane", form="part")
    dt: Option[float] = step_length()
    threshold: Param = Param(1.0, "distance at which a spike is fired", low=1e-6)
    rest: Param = Param(0.0, "level the membrane decays to, begins at and is reset to")
    v = State("rest", "membrane")
    reset: Option[Reset] = Option(
        "subtract", "what a spike does to the membrane", make=_reset, choices=("subtract", "zero", "none")
    )
    detach_reset: Option[bool] = detaching()
    decay_input: Option[bool] = charging()
    learn: Learn[Literal["leak", "rest", "tau", "threshold"]] = Learn()

    @staticmethod
    def rule(x, v, leak, threshold, rest, reset, decay_input):
        v = charge(x, v, leak, rest, decay_input)
        up, down = spike(v - threshold), spike(-v - threshold)
        return up - down, rest + reset(v - rest, up, down, threshold)


class IntegerLIF(Neuron):
    """Leaky integrate-and-fire that emits a whole number of spikes per step.

    v = v - leak v + x;  n = round(v / threshold), clamped to [0, levels];  v = v - n threshold.

    x [T, B, *features] -> n of the same shape, in {0, ..., levels}. The gradient of n is 1 / threshold while
    0 <= v / threshold <= levels, else 0. With detach_reset=True no gradient passes through the reset. Luo et al.,
    Integer-valued training and spike-driven inference spiking neural network, ECCV 2024.

    >>> import torch, ranvier
    >>> ranvier.IntegerLIF()(torch.tensor([0.4, 2.6, 9.0]).reshape(3, 1, 1)).flatten()
    tensor([0., 3., 4.])
    """

    leak: Param = Param(0.75, "part of the membrane that is lost per step", low=0.0, high=1.0)
    tau: Time = Time("leak", "time constant of the membrane", form="part")
    dt: Option[float] = step_length()
    threshold: Param = Param(1.0, "value of the membrane that one spike stands for", low=1e-6)
    v = State(0.0, "membrane")
    reset: Option[Reset] = resetting("subtract")
    detach_reset: Option[bool] = detaching()
    levels: Option[int] = Option(4, "the largest number of spikes in a step", check=count)
    learn: Learn[Literal["leak", "tau", "threshold"]] = Learn()

    @staticmethod
    def rule(x, v, leak, threshold, reset, levels):
        v = v - leak * v + x
        u = clamp(v / threshold, 0.0, levels)
        n = inject(u, round(u))
        return n, reset(v, n, threshold)
