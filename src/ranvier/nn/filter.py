"""Filters, such as synapses. They are rules without spikes, and run as fast as neurons."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ranvier.nn.arguments import positive
from ranvier.nn.declare import FORMS, Names, step_length
from ranvier.nn.neuron import Neuron, Option, Param, State, Time
from ranvier.ops import sigmoid, softplus


class Lowpass(Neuron):
    """Low-pass filter with unit gain, in physical time.

    y = a y + (1 - a) x, with a = exp(-dt / tau).

    x [T, B, *features] -> y of the same shape. tau in seconds, above 0: a number, or a tensor broadcastable to the
    features; dt in seconds, above 0. level: y before the first step. learn: any of "tau", "level". tau is trained as
    `smoothing` = logit(a), so that a stays between 0 and 1. shape: the shape of the features, for one tau and one level
    per feature.

    >>> import torch, ranvier
    >>> ranvier.Lowpass(tau=1.0, dt=0.6931472)(torch.ones(3, 1, 1)).flatten()
    tensor([0.5000, 0.7500, 0.8750])
    """

    smoothing: Param = Param(0.0, "logit of a, the decay per step")
    level: Param = Param(0.0, "y before the first step")
    tau: Time = Time("smoothing", "time constant of the filter", form="logit of decay")
    dt: Option[float] = step_length(1e-3)
    y = State("level", "output")
    replaced = ("smoothing",)

    @staticmethod
    def rule(x, y, smoothing, level):
        a = sigmoid(smoothing)
        y = x + a * (y - x)
        return y, y

    def __init__(
        self,
        tau: float | Tensor = 20e-3,
        dt: float = 1e-3,
        *,
        level: float | Tensor = 0.0,
        learn: Names[Literal["level", "smoothing", "tau"]] = (),
        shape: Sequence[int] | int | None = None,
    ):
        super().__init__(tau=tau, dt=dt, level=level, learn=learn, shape=shape)


class Alpha(Neuron):
    """Alpha filter with unit gain, in physical time: its response to one spike has the form t exp(-t / tau).

    It is two low-pass filters in series, exact if the input is constant within a step:
    y = x + a (y - x + (i - x) dt / tau);  i = x + a (i - x), with a = exp(-dt / tau).

    x [T, B, *features] -> y of the same shape. tau in seconds, above 0: a number, or a tensor broadcastable to the
    features; dt in seconds, above 0. With learn="tau", tau is trained as `smoothing` = logit(a). shape: the shape of
    the features, for one tau per feature. Rall, Distinguishing theoretical synaptic potentials, J. Neurophysiology 30,
    1967.

    >>> import torch, ranvier
    >>> ranvier.Alpha(tau=1.0, dt=1.0)(torch.ones(3, 1, 1)).flatten()
    tensor([0.2642, 0.5940, 0.8009])
    """

    smoothing: Param = Param(0.0, "logit of a, the decay per step")
    tau: Time = Time("smoothing", "time constant of the filter", form="logit of decay")
    dt: Option[float] = step_length(1e-3)
    replaced = ("smoothing",)
    i = State(0.0, "output of the first low-pass filter")
    y = State(0.0, "output")

    @staticmethod
    def rule(x, i, y, smoothing):
        a = sigmoid(smoothing)
        y = x + a * (y - x + softplus(-smoothing) * (i - x))  # softplus(-logit(a)) = -log(a) = dt / tau
        return y, (x + a * (i - x), y)

    def __init__(
        self,
        tau: float | Tensor = 20e-3,
        dt: float = 1e-3,
        *,
        learn: Names[Literal["smoothing", "tau"]] = (),
        shape: Sequence[int] | int | None = None,
    ):
        super().__init__(tau=tau, dt=dt, learn=learn, shape=shape)


class SynapseFilter(Neuron):
    """Synaptic current that decays only in steps without a spike.

    i = i - (1 - x) i dt / tau + x;  the output is i.

    x [T, B, *features], spikes or graded values in [0, 1] -> i of the same shape. tau must be above dt, and is in steps
    if dt is not given. With learn="tau", it is trained as `rate` = logit(dt / tau), so that tau stays above dt. Fang et
    al., Incorporating learnable membrane time constant, ICCV 2021, use this filter as synapse.

    >>> import torch, ranvier
    >>> ranvier.SynapseFilter(tau=2.0)(torch.tensor([1.0, 0.0, 0.0]).reshape(3, 1, 1)).flatten()
    tensor([1.0000, 0.5000, 0.2500])
    """

    rate: Param = Param(-math.log(99.0), "logit of dt / tau")
    tau: Time = Time("rate", "time constant of the current", form="logit of part")
    dt: Option[float] = step_length()
    replaced = ("rate",)
    i = State(0.0, "synaptic current")

    @staticmethod
    def rule(x, i, rate):
        i = i - (1.0 - x) * (i * sigmoid(rate)) + x
        return i, i

    def __init__(
        self,
        tau: float | Tensor = 100.0,
        dt: float = 1.0,
        *,
        learn: Names[Literal["rate", "tau"]] = (),
        shape: Sequence[int] | int | None = None,
    ):
        super().__init__(tau=tau, dt=dt, learn=learn, shape=shape)


APART = 1e-3  # smallest difference between the logits of the two decays, so that rounding cannot make them equal


class DoubleExponential(Neuron):
    """A synapse that rises and decays: the difference of two exponentials, whose peak after one spike is 1.

    d = a_d d + x;  r = a_r r + x;  y = gain (d - r), with a_d = exp(-dt / tau_decay) and a_r = exp(-dt / tau_rise).

    x [T, B, *features] -> y of the same shape. 0 < tau_rise < tau_decay and dt, all in seconds. learn: any of
    "tau_rise", "tau_decay", "gain". Roth & van Rossum, Modeling synapses, 2009.

    >>> import torch, ranvier
    >>> x = torch.zeros(400, 1, 1)
    >>> x[0] = 1.0
    >>> round(ranvier.DoubleExponential(2e-3, 10e-3, dt=1e-4)(x).max().item(), 3)
    1.0
    """

    rising: Param = Param(0.0, "logit of the decay per step of the rising part")
    decaying: Param = Param(0.0, "logit of the decay per step of the decaying part")
    tau_rise: Time = Time("rising", "time constant of the rise", form="logit of decay")
    tau_decay: Time = Time("decaying", "time constant of the decay", form="logit of decay")
    dt: Option[float] = step_length(1e-3)
    gain: Param = Param(1.0, "factor of the difference")
    replaced = "rising", "decaying", "gain"
    r = State(0.0, "rising part, which is subtracted from the decaying part")
    d = State(0.0, "decaying part")

    @staticmethod
    def rule(x, r, d, rising, decaying, gain):
        r = sigmoid(rising) * r + x
        d = sigmoid(decaying) * d + x
        return gain * (d - r), (r, d)

    def bounds(self, name: str) -> tuple[Any, Any]:
        """Return the bounds of a parameter during learning: the time constant of the rise stays below that of the
        decay.
        """
        low, high = super().bounds(name)
        if name == "rising":
            return low, self.decaying.detach() - APART
        return (self.rising.detach() + APART, high) if name == "decaying" else (low, high)

    def __init__(
        self,
        tau_rise: float = 2e-3,
        tau_decay: float = 10e-3,
        dt: float = 1e-3,
        *,
        learn: Names[Literal["decaying", "gain", "rising", "tau_decay", "tau_rise"]] = (),
        shape: Sequence[int] | int | None = None,
    ):
        name = "DoubleExponential"
        rise, decay = positive(f"{name}: tau_rise", tau_rise), positive(f"{name}: tau_decay", tau_decay)
        if not rise < decay:
            raise ValueError(f"{name}: tau_rise must be below tau_decay, got {tau_rise!r} and {tau_decay!r}")
        peak = rise * decay / (decay - rise) * math.log(decay / rise)  # seconds after the spike
        super().__init__(
            tau_rise=rise,
            tau_decay=decay,
            dt=dt,
            gain=1.0 / (math.exp(-peak / decay) - math.exp(-peak / rise)),
            learn=learn,
            shape=shape,
        )


def logit_of_decay(tau: float, dt: float) -> float:
    """Return logit(exp(-dt / tau))."""
    return FORMS["logit of decay"][0](torch.tensor(tau, dtype=torch.float64), dt).item()
