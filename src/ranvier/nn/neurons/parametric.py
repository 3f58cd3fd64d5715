"""Membranes that are drawn to a resting level: with a given leak, a learned one, a learned gain, an analog output."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ranvier.nn.filter import logit_of_rate, value
from ranvier.nn.neuron import Neuron, Option, Param, State
from ranvier.nn.reset import resetting
from ranvier.ops import maximum, sigmoid, spike, tanh


def charging() -> Option:
    """The option `decay_input`: whether the leak scales the input too; the rule says charge(x, v, leak, rest)."""
    return Option(_choose, decay_input=True)


def _choose(decay_input: bool) -> Any:
    if decay_input:
        return lambda x, v, leak, rest: v + leak * (x - (v - rest))
    return lambda x, v, leak, rest: v - leak * (v - rest) + x


class RestLIF(Neuron):
    """Leaky integrate-and-fire around a resting level.

    v = v + leak (x - (v - rest)), or with decay_input=False v = v - leak (v - rest) + x;  z = 1 where v >= threshold;
    then the reset: "zero" puts v back to rest, "subtract" takes threshold from it.

    x [T, B, *features] input per step; gives z, spikes of the same shape. leak in [0, 1] is 1 / tau, tau in steps.
    This is the form in which many deep spiking networks are written. Fang et al., ICCV 2021, equation 2.

    >>> import torch, ranvier
    >>> ranvier.RestLIF(leak=0.5)(torch.full((4, 1, 1), 1.5)).flatten()
    tensor([0., 1., 0., 1.])
    """

    leak = Param(0.5, "part of the distance to rest that is lost per step", low=0.0, high=1.0)
    threshold = Param(1.0, "membrane at which a spike is fired")
    rest = Param(0.0, "level the membrane decays to, begins at and is reset to")
    v = State("rest", "membrane")
    reset = resetting("zero")
    charge = charging()

    @staticmethod
    def rule(x, v, leak, threshold, rest, reset, charge):
        v = charge(x, v, leak, rest)
        z = spike(v - threshold)
        return z, rest + reset(v - rest, z, threshold)


class ParametricLIF(Neuron):
    """`RestLIF` whose time constant is learned.

    leak = sigmoid(rate): tau = 1 / leak stays above 1 whatever `rate` becomes.

    x [T, B, *features] -> spikes. tau: the time constant at the beginning, in steps, above 1 (a number, or a tensor
    broadcastable to the features). It is learned unless learn=(). Fang et al., Incorporating learnable membrane time
    constant to enhance learning of spiking neural networks, ICCV 2021.

    >>> import torch, ranvier
    >>> neuron = ranvier.ParametricLIF(tau=2.0)
    >>> neuron(torch.full((4, 1, 1), 1.5)).sum().backward()
    >>> neuron.rate.grad.shape
    torch.Size([])
    """

    rate = Param(0.0, "logit of 1 / tau")
    threshold = Param(1.0, "membrane at which a spike is fired")
    rest = Param(0.0, "level the membrane decays to, begins at and is reset to")
    v = State("rest", "membrane")
    reset = resetting("zero")
    charge = charging()

    @staticmethod
    def rule(x, v, rate, threshold, rest, reset, charge):
        v = charge(x, v, sigmoid(rate), rest)
        z = spike(v - threshold)
        return z, rest + reset(v - rest, z, threshold)

    def __init__(self, tau: float | Tensor = 2.0, *, learn: Sequence[str] = ("rate",), **given: Any):
        super().__init__(rate=logit_of_rate("ParametricLIF: tau", tau), learn=learn, **given)

    @property
    def tau(self) -> Tensor:
        """The time constant in steps, as it stands."""
        return 1.0 + torch.exp(-value(self, "rate"))


class KLIF(Neuron):
    """`RestLIF` with a learned gain k and a rectified membrane.

    v = max(k (v + leak (x - (v - rest))), 0);  z = 1 where v >= threshold;  then the reset. With scale_reset=True
    the reset is that of v / k, with threshold / k.

    x [T, B, *features] -> spikes. k is learned unless learn=(). Jiang & Zhang, KLIF: an optimized spiking neuron unit
    for tuning surrogate gradient slope and membrane potential, 2023.

    >>> import torch, ranvier
    >>> ranvier.KLIF(k=2.0)(torch.full((3, 1, 1), 0.8)).flatten().tolist()
    [0.0, 1.0, 0.0]
    """

    k = Param(1.0, "gain of the membrane")
    leak = Param(0.5, "part of the distance to rest that is lost per step", low=0.0, high=1.0)
    threshold = Param(1.0, "membrane at which a spike is fired")
    rest = Param(0.0, "level the membrane decays to, begins at and is reset to")
    v = State("rest", "membrane")
    reset = resetting("zero")
    charge = charging()
    scaled = Option(lambda scale_reset: scale_reset, scale_reset=False)

    @staticmethod
    def rule(x, v, k, leak, threshold, rest, reset, charge, scaled):
        v = maximum(k * charge(x, v, leak, rest), 0.0)
        z = spike(v - threshold)
        if scaled:
            return z, rest + reset(v / k - rest, z, threshold / k)
        return z, rest + reset(v - rest, z, threshold)

    def __init__(self, *, learn: Sequence[str] = ("k",), **given: Any):
        super().__init__(learn=learn, **given)


ACTIVATIONS = {
    "identity": lambda u: u,
    "relu": lambda u: maximum(u, 0.0),
    "sigmoid": sigmoid,
    "tanh": tanh,
}


def _activation(act: str, from_threshold: bool) -> Any:
    if act not in ACTIVATIONS:
        raise ValueError(f"AnalogLIF: act must be one of {list(ACTIVATIONS)}, got {act!r}")
    f = ACTIVATIONS[act]
    return (lambda v, threshold: f(v - threshold)) if from_threshold else (lambda v, threshold: f(v))


class AnalogLIF(Neuron):
    """Leaky integrate and analog fire: gives an activation of its membrane; its spikes only reset it.

    v as in `RestLIF`;  y = act(v - threshold), or act(v) with from_threshold=False;  z = 1 where v >= threshold resets.

    x [T, B, *features] -> y of the same shape. act: "relu", "sigmoid", "tanh" or "identity". Wu et al., LIAF-Net:
    leaky integrate and analog fire network, IEEE TNNLS 33, 2022.

    >>> import torch, ranvier
    >>> ranvier.AnalogLIF(leak=0.5)(torch.full((3, 1, 1), 1.5)).flatten()
    tensor([0.0000, 0.1250, 0.0000])
    """

    leak = Param(0.5, "part of the distance to rest that is lost per step", low=0.0, high=1.0)
    threshold = Param(1.0, "membrane at which the reset comes")
    rest = Param(0.0, "level the membrane decays to, begins at and is reset to")
    v = State("rest", "membrane")
    reset = resetting("zero")
    charge = charging()
    act = Option(_activation, act="relu", from_threshold=True)

    @staticmethod
    def rule(x, v, leak, threshold, rest, reset, charge, act):
        v = charge(x, v, leak, rest)
        y = act(v, threshold)
        return y, rest + reset(v - rest, spike(v - threshold), threshold)


class ComplementaryLIF(Neuron):
    """Leaky integrate-and-fire with a complementary state, which keeps the gradient over long sequences.

    v = v - leak v + x;  z = 1 where v >= threshold;  m = m sigmoid(leak v) + z;  v = v - z (threshold + sigmoid(m)).

    x [T, B, *features] -> spikes. Huang et al., CLIF: complementary leaky integrate-and-fire neuron for spiking neural
    networks, ICML 2024.

    >>> import torch, ranvier
    >>> ranvier.ComplementaryLIF(leak=0.5)(torch.full((4, 1, 1), 1.0)).flatten()
    tensor([1., 0., 1., 0.])
    """

    leak = Param(0.5, "part of the membrane that is lost per step", low=0.0, high=1.0)
    threshold = Param(1.0, "membrane at which a spike is fired")
    v = State(0.0, "membrane")
    m = State(0.0, "complementary state")

    @staticmethod
    def rule(x, v, m, leak, threshold):
        v = v - leak * v + x
        z = spike(v - threshold)
        m = m * sigmoid(leak * v) + z
        return z, (v - z * (threshold + sigmoid(m)), m)


def leak(tau: float) -> float:
    """1 / tau of a tau in steps, which must be above 1 (a smaller one would make the membrane swing)."""
    if isinstance(tau, bool) or not isinstance(tau, (int, float)) or not (math.isfinite(tau) and tau > 1):
        raise ValueError(f"tau must be a number of steps above 1, got {tau!r}")
    return 1.0 / tau
