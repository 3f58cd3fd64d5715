"""Filters: what becomes of a spike on its way through a synapse. Each is a rule, so each is fused."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.nn.neuron import Neuron, Param, State
from ranvier.ops import sigmoid, softplus


class Lowpass(Neuron):
    """Low-pass filter with unit gain, in physical time.

    y = a y + (1 - a) x, with a = exp(-dt / tau).

    x [T, B, *features] -> y of the same shape. tau in seconds, above 0: a number, or a tensor broadcastable to the
    features; dt in seconds, above 0. level: y before the first step. learn: any of "tau", "level"; tau is trained as
    `smoothing` = logit(a), so that a stays between 0 and 1. shape: the features' shape, for a tau and level each.

    >>> import torch, ranvier
    >>> ranvier.Lowpass(tau=1.0, dt=0.6931472)(torch.ones(3, 1, 1)).flatten()
    tensor([0.5000, 0.7500, 0.8750])
    """

    smoothing = Param(0.0, "logit of a, the decay per step")
    level = Param(0.0, "y before the first step")
    y = State("level", "output")

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
        learn: Sequence[str] = (),
        shape: Sequence[int] | int | None = None,
    ):
        self.dt = positive("Lowpass: dt", dt)
        learn = _renamed("Lowpass", learn, {"tau": "smoothing", "level": "level"})
        super().__init__(smoothing=logit_of_decay("Lowpass: tau", tau, dt), level=level, learn=learn, shape=shape)

    @property
    def tau(self) -> Tensor:
        """The time constant in seconds, as it stands."""
        return -self.dt / torch.nn.functional.logsigmoid(value(self, "smoothing"))


class Alpha(Neuron):
    """Alpha filter with unit gain, in physical time: its answer to one spike rises and falls like t exp(-t / tau).

    Two low-pass filters one behind the other, exact for input that is constant within a step:
    y = x + a (y - x + (i - x) dt / tau);  i = x + a (i - x), with a = exp(-dt / tau).

    x [T, B, *features] -> y of the same shape. tau in seconds, above 0: a number, or a tensor broadcastable to the
    features; dt in seconds, above 0. learn="tau": it is trained as `smoothing` = logit(a). shape: the features' shape,
    for a tau each. Rall, Distinguishing theoretical synaptic potentials, J. Neurophysiology 30, 1967.

    >>> import torch, ranvier
    >>> ranvier.Alpha(tau=1.0, dt=1.0)(torch.ones(3, 1, 1)).flatten()
    tensor([0.2642, 0.5940, 0.8009])
    """

    smoothing = Param(0.0, "logit of a, the decay per step")
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
        learn: Sequence[str] = (),
        shape: Sequence[int] | int | None = None,
    ):
        self.dt = positive("Alpha: dt", dt)
        learn = _renamed("Alpha", learn, {"tau": "smoothing"})
        super().__init__(smoothing=logit_of_decay("Alpha: tau", tau, dt), learn=learn, shape=shape)

    @property
    def tau(self) -> Tensor:
        """The time constant in seconds, as it stands."""
        return -self.dt / torch.nn.functional.logsigmoid(value(self, "smoothing"))


class SynapseFilter(Neuron):
    """Synaptic current that decays only while no spike comes.

    i = i - (1 - x) i / tau + x, and i is the output.

    x [T, B, *features], spikes or graded in [0, 1] -> i of the same shape. tau in steps, above 1. learn="tau": it is
    trained as `rate` = logit(1 / tau), so that tau stays above 1.
    Fang et al., Incorporating learnable membrane time constant, ICCV 2021, use it as synapse.

    >>> import torch, ranvier
    >>> ranvier.SynapseFilter(tau=2.0)(torch.tensor([1.0, 0.0, 0.0]).reshape(3, 1, 1)).flatten()
    tensor([1.0000, 0.5000, 0.2500])
    """

    rate = Param(-math.log(99.0), "logit of 1 / tau")
    i = State(0.0, "synaptic current")

    @staticmethod
    def rule(x, i, rate):
        i = i - (1.0 - x) * (i * sigmoid(rate)) + x
        return i, i

    def __init__(
        self,
        tau: float | Tensor = 100.0,
        *,
        learn: Sequence[str] = (),
        shape: Sequence[int] | int | None = None,
    ):
        learn = _renamed("SynapseFilter", learn, {"tau": "rate"})
        super().__init__(rate=logit_of_rate("SynapseFilter: tau", tau), learn=learn, shape=shape)

    @property
    def tau(self) -> Tensor:
        """The time constant in steps, as it stands."""
        return 1.0 + torch.exp(-value(self, "rate"))


class DoubleExponential(Neuron):
    """A synapse that rises and decays: the difference of two exponentials, whose peak after one spike is 1.

    d = a_d d + x;  r = a_r r + x;  y = gain (d - r), with a = exp(-dt / tau).

    x [T, B, *features] -> y of the same shape. 0 < tau_rise < tau_decay and dt, all in seconds. learn: any of
    "tau_rise", "tau_decay", "gain". Roth & van Rossum, Modeling synapses, 2009.

    >>> import torch, ranvier
    >>> x = torch.zeros(400, 1, 1)
    >>> x[0] = 1.0
    >>> round(ranvier.DoubleExponential(2e-3, 10e-3, dt=1e-4)(x).max().item(), 3)
    1.0
    """

    rising = Param(0.0, "logit of the decay per step of the rise")
    decaying = Param(0.0, "logit of the decay per step of the decay")
    gain = Param(1.0, "height of the difference")
    r = State(0.0, "what is still missing of the rise")
    d = State(0.0, "what has not yet decayed")

    @staticmethod
    def rule(x, r, d, rising, decaying, gain):
        r = sigmoid(rising) * r + x
        d = sigmoid(decaying) * d + x
        return gain * (d - r), (r, d)

    def __init__(
        self,
        tau_rise: float = 2e-3,
        tau_decay: float = 10e-3,
        dt: float = 1e-3,
        *,
        learn: Sequence[str] = (),
        shape: Sequence[int] | int | None = None,
    ):
        name = "DoubleExponential"
        rise, decay = positive(f"{name}: tau_rise", tau_rise), positive(f"{name}: tau_decay", tau_decay)
        if not rise < decay:
            raise ValueError(f"{name}: tau_rise must be below tau_decay, got {tau_rise!r} and {tau_decay!r}")
        peak = rise * decay / (decay - rise) * math.log(decay / rise)  # seconds after the spike
        super().__init__(
            rising=logit_of_decay(f"{name}: tau_rise", rise, positive(f"{name}: dt", dt)),
            decaying=logit_of_decay(f"{name}: tau_decay", decay, dt),
            gain=1.0 / (math.exp(-peak / decay) - math.exp(-peak / rise)),
            learn=_renamed(name, learn, {"tau_rise": "rising", "tau_decay": "decaying", "gain": "gain"}),
            shape=shape,
        )


def value(layer: nn.Module, name: str) -> Tensor:
    """A parameter of a layer as the tensor it is (a neuron's class says Param)."""
    return getattr(layer, name)


def positive(name: str, value: Any) -> float:
    """A plain number above 0, or an error that names it."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive number, got {value!r}")
    return float(value)


def logit_of_decay(name: str, tau: float | Tensor, dt: float) -> Tensor:
    """logit(exp(-dt / tau)): a parameter that may take any value while the decay stays between 0 and 1."""
    d = dt / _above(name, tau, 0.0)
    return _like(tau, -d - torch.log(-torch.expm1(-d)))


def logit_of_rate(name: str, tau: float | Tensor) -> Tensor:
    """logit(1 / tau) of a tau in steps, which must be above 1."""
    return _like(tau, -torch.log(_above(name, tau, 1.0) - 1.0))


def _above(name: str, value: float | Tensor, low: float) -> Tensor:
    """The value as a tensor in double precision, checked."""
    t = torch.as_tensor(value, dtype=torch.float64)
    if not bool(((t > low) & torch.isfinite(t)).all()):
        raise ValueError(f"{name} must be finite and above {low:g}, got {value!r}")
    return t


def _like(value: float | Tensor, computed: Tensor) -> Tensor:
    """What was computed of a value in double precision, in the dtype that value has as a parameter."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return computed.to(value.dtype)
    return computed.to(torch.get_default_dtype())


def _renamed(name: str, learn: Sequence[str], names: dict[str, str]) -> tuple[str, ...]:
    learn = (learn,) if isinstance(learn, str) else tuple(learn)
    if unknown := set(learn) - names.keys():
        raise ValueError(f"{name}: learn names {sorted(unknown)}, but what can be learned is {list(names)}")
    return tuple(names[k] for k in learn)
