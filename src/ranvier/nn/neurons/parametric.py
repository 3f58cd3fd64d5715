"""Leaky neurons with a resting level: variants with a fixed leak, a learned leak, a learned gain, or an analog
output.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor

from ranvier.nn.declare import Names, step_length
from ranvier.nn.neuron import Learn, Neuron, Option, Param, State, Time
from ranvier.nn.reset import Reset, detaching, resetting
from ranvier.ops import maximum, sigmoid, spike, tanh
from ranvier.surrogate import Surrogate


def charging() -> Any:
    """Return the option `decay_input`; the rule calls it as charge(x, v, leak, rest, decay_input)."""
    return Option(True, "whether the leak scales the input too")


def charge(x: Any, v: Any, leak: Any, rest: Any, decay_input: bool) -> Any:
    """Return the membrane after the leak and the input."""
    return v + leak * (x - (v - rest)) if decay_input else v - leak * (v - rest) + x


class RestLIF(Neuron):
    """Leaky integrate-and-fire around a resting level.

    v = v + leak (x - (v - rest)), or with decay_input=False v = v - leak (v - rest) + x;  z = 1 where v >= threshold;
    then the reset: "zero" sets v to rest, "subtract" subtracts threshold from it.

    x [T, B, *features] input per step; returns spikes z of the same shape. leak in [0, 1] is dt / tau.
    Many papers on deep spiking networks write LIF in this form. Fang et al., ICCV 2021, equation 2.

    >>> import torch, ranvier
    >>> ranvier.RestLIF(leak=0.5)(torch.full((4, 1, 1), 1.5)).flatten()
    tensor([0., 1., 0., 1.])
    """

    leak: Param = Param(0.5, "part of the distance to rest that is lost per step", low=0.0, high=1.0)
    tau: Time = Time("leak", "time constant of the membrane", form="part")
    dt: Option[float] = step_length()
    threshold: Param = Param(1.0, "membrane at which a spike is fired")
    rest: Param = Param(0.0, "level the membrane decays to, begins at and is reset to")
    v = State("rest", "membrane")
    reset: Option[Reset] = resetting("zero")
    detach_reset: Option[bool] = detaching()
    decay_input: Option[bool] = charging()
    learn: Learn[Literal["leak", "rest", "tau", "threshold"]] = Learn()

    @staticmethod
    def rule(x, v, leak, threshold, rest, reset, decay_input):
        v = charge(x, v, leak, rest, decay_input)
        z = spike(v - threshold)
        return z, rest + reset(v - rest, z, threshold)


class ParametricLIF(Neuron):
    """`RestLIF` whose time constant is learned.

    leak = sigmoid(rate) = dt / tau, so tau stays above dt for every `rate`.

    x [T, B, *features] -> spikes. tau: the initial time constant, above dt (a number, or a tensor
    broadcastable to the features). It is learned unless learn=(). Fang et al., Incorporating learnable membrane time
    constant to enhance learning of spiking neural networks, ICCV 2021.

    >>> import torch, ranvier
    >>> neuron = ranvier.ParametricLIF(tau=2.0)
    >>> neuron(torch.full((4, 1, 1), 1.5)).sum().backward()
    >>> neuron.rate.grad.shape
    torch.Size([1])
    """

    rate: Param = Param(0.0, "logit of 1 / tau")
    threshold: Param = Param(1.0, "membrane at which a spike is fired")
    rest: Param = Param(0.0, "level the membrane decays to, begins at and is reset to")
    v = State("rest", "membrane")
    reset: Option[Reset] = resetting("zero")
    detach_reset: Option[bool] = detaching()
    decay_input: Option[bool] = charging()
    tau: Time = Time("rate", "time constant of the membrane", form="logit of part")
    dt: Option[float] = step_length()
    learned, replaced = ("rate",), ("rate",)

    @staticmethod
    def rule(x, v, rate, threshold, rest, reset, decay_input):
        v = charge(x, v, sigmoid(rate), rest, decay_input)
        z = spike(v - threshold)
        return z, rest + reset(v - rest, z, threshold)

    def __init__(
        self,
        tau: float | Tensor = 2.0,
        *,
        dt: float = 1.0,
        threshold: float | Tensor = 1.0,
        rest: float | Tensor = 0.0,
        reset: Reset = "zero",
        detach_reset: bool = False,
        decay_input: bool = True,
        surrogate: Surrogate | None = None,
        learn: Names[Literal["rate", "rest", "tau", "threshold"]] = ("rate",),
        shape: Sequence[int] | int | None = None,
    ):
        super().__init__(
            tau=tau, dt=dt, threshold=threshold, rest=rest, reset=reset,
            detach_reset=detach_reset, decay_input=decay_input, surrogate=surrogate, learn=learn, shape=shape,
        )  # fmt: skip


class KLIF(Neuron):
    """`RestLIF` with a learned gain k and a rectified membrane.

    v = max(k (v + leak (x - (v - rest))), 0);  z = 1 where v >= threshold;  then the reset. With scale_reset=True the
    reset is applied to v / k, with threshold / k.

    x [T, B, *features] -> spikes. k is learned unless learn=(). Jiang & Zhang, KLIF: an optimized spiking neuron unit
    for tuning surrogate gradient slope and membrane potential, 2023.

    >>> import torch, ranvier
    >>> ranvier.KLIF(k=2.0)(torch.full((3, 1, 1), 0.8)).flatten().tolist()
    [0.0, 1.0, 0.0]
    """

    k: Param = Param(1.0, "gain of the membrane")
    leak: Param = Param(0.5, "part of the distance to rest that is lost per step", low=0.0, high=1.0)
    tau: Time = Time("leak", "time constant of the membrane", form="part")
    dt: Option[float] = step_length()
    threshold: Param = Param(1.0, "membrane at which a spike is fired")
    rest: Param = Param(0.0, "level the membrane decays to, begins at and is reset to")
    v = State("rest", "membrane")
    reset: Option[Reset] = resetting("zero")
    detach_reset: Option[bool] = detaching()
    decay_input: Option[bool] = charging()
    scale_reset: Option[bool] = Option(False, "reset v / k by threshold / k")
    learn: Learn[Literal["k", "leak", "rest", "tau", "threshold"]] = Learn()
    learned = ("k",)

    @staticmethod
    def rule(x, v, k, leak, threshold, rest, reset, decay_input, scale_reset):
        v = maximum(k * charge(x, v, leak, rest, decay_input), 0.0)
        z = spike(v - threshold)
        if scale_reset:
            return z, rest + reset(v / k - rest, z, threshold / k)
        return z, rest + reset(v - rest, z, threshold)


Activation = Literal["identity", "relu", "sigmoid", "tanh"]

ACTIVATIONS: dict[Activation, Any] = {
    "identity": lambda u: u,
    "relu": lambda u: maximum(u, 0.0),
    "sigmoid": sigmoid,
    "tanh": tanh,
}


def _activation(act: Activation, from_threshold: bool) -> Any:
    f = ACTIVATIONS[act]
    return (lambda v, threshold: f(v - threshold)) if from_threshold else (lambda v, threshold: f(v))


class AnalogLIF(Neuron):
    """Leaky integrate and analog fire: the output is an activation of the membrane; spikes only reset the membrane.

    v as in `RestLIF`;  y = act(v - threshold), or act(v) with from_threshold=False;  z = 1 where v >= threshold, then
    the reset.

    x [T, B, *features] -> y of the same shape. act: "relu", "sigmoid", "tanh" or "identity". Wu et al., LIAF-Net:
    leaky integrate and analog fire network, IEEE TNNLS 33, 2022.

    >>> import torch, ranvier
    >>> ranvier.AnalogLIF(leak=0.5)(torch.full((3, 1, 1), 1.5)).flatten()
    tensor([0.0000, 0.1250, 0.0000])
    """

    leak: Param = Param(0.5, "part of the distance to rest that is lost per step", low=0.0, high=1.0)
    tau: Time = Time("leak", "time constant of the membrane", form="part")
    dt: Option[float] = step_length()
    threshold: Param = Param(1.0, "membrane at which the reset happens")
    rest: Param = Param(0.0, "level the membrane decays to, begins at and is reset to")
    v = State("rest", "membrane")
    reset: Option[Reset] = resetting("zero")
    detach_reset: Option[bool] = detaching()
    decay_input: Option[bool] = charging()
    act: Option[Activation] = Option("relu", "the output's function", make=_activation, choices=tuple(ACTIVATIONS))
    from_threshold: Option[bool] = Option(True, "whether the activation is that of v - threshold, or of v")
    learn: Learn[Literal["leak", "rest", "tau", "threshold"]] = Learn()

    @staticmethod
    def rule(x, v, leak, threshold, rest, reset, decay_input, act):
        v = charge(x, v, leak, rest, decay_input)
        y = act(v, threshold)
        return y, rest + reset(v - rest, spike(v - threshold), threshold)


class ComplementaryLIF(Neuron):
    """Leaky integrate-and-fire with a complementary state m, through which gradients pass over long sequences.

    v = v - leak v + x;  z = 1 where v >= threshold;  m = m sigmoid(leak v) + z;  v = v - z (threshold + sigmoid(m)).

    x [T, B, *features] -> spikes. Huang et al., CLIF: complementary leaky integrate-and-fire neuron for spiking neural
    networks, ICML 2024.

    >>> import torch, ranvier
    >>> ranvier.ComplementaryLIF(leak=0.5)(torch.full((4, 1, 1), 1.0)).flatten()
    tensor([1., 0., 1., 0.])
    """

    leak: Param = Param(0.5, "part of the membrane that is lost per step", low=0.0, high=1.0)
    tau: Time = Time("leak", "time constant of the membrane", form="part")
    dt: Option[float] = step_length()
    threshold: Param = Param(1.0, "membrane at which a spike is fired")
    v = State(0.0, "membrane")
    m = State(0.0, "complementary state")
    learn: Learn[Literal["leak", "tau", "threshold"]] = Learn()

    @staticmethod
    def rule(x, v, m, leak, threshold):
        v = v - leak * v + x
        z = spike(v - threshold)
        m = m * sigmoid(leak * v) + z
        return z, (v - z * (threshold + sigmoid(m)), m)


def leak(tau: float) -> float:
    """Return 1 / tau for a tau in steps. It must be above 1, because a smaller tau would make the membrane
    oscillate.
    """
    if isinstance(tau, bool) or not isinstance(tau, (int, float)) or not (math.isfinite(tau) and tau > 1):
        raise ValueError(f"tau must be a number of steps above 1, got {tau!r}")
    return 1.0 / tau
