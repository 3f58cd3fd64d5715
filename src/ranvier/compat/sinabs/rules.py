"""Sinabs' order of a step: decay and input, spikes, reset, and then the lower limit of the membrane."""

from typing import Any

from ranvier.nn.neuron import Neuron, Option, Param, State
from ranvier.ops import floor, inject, maximum, minimum, spike, stop


def _subtract(v: Any, n: Any, amount: Any) -> Any:
    return v - n * amount


def _zero(v: Any, n: Any, amount: Any) -> Any:
    over = stop(minimum(n, 1.0))
    return (1.0 - over) * v + over * amount


RESETS = {"subtract": _subtract, "zero": _zero}


def _reset(reset: str) -> Any:
    return RESETS[reset]


def spikes(v: Any, threshold: Any, most: Any) -> Any:
    """The number of spikes: min(floor(v / threshold), most), and 0 where v < 0. The derivative is that of one spike."""
    count = minimum(floor(maximum(v, 0.0) / threshold), most)
    return inject(spike(v / threshold - 1.0), stop(count))


class SpikingRule(Neuron):
    """v = alpha v + gain x;  n = min(floor(v / threshold), most) spikes;  reset by `amount`;  v = max(v, low)."""

    alpha: Param = Param(1.0, "decay of the membrane per step")
    gain: Param = Param(1.0, "factor of the input")
    threshold: Param = Param(1.0, "membrane per spike", low=1e-9)
    amount: Param = Param(1.0, "what a spike subtracts, or the value to which it sets the membrane")
    low: Param = Param(-3.0e38, "lower limit of the membrane")
    most: Param = Param(3.0e38, "largest number of spikes in a step")
    v = State(0.0, "membrane")
    reset: Option[str] = Option("subtract", "what a spike does", make=_reset, choices=tuple(RESETS))

    @staticmethod
    def rule(x, v, alpha, gain, threshold, amount, low, most, reset):
        v = alpha * v + gain * x
        n = spikes(v, threshold, most)
        return n, maximum(reset(v, n, amount), low)


class SynapticRule(SpikingRule):
    """`SpikingRule` whose membrane is driven by a current: i = alpha_syn (i + x);  v = alpha v + gain i."""

    alpha_syn: Param = Param(0.5, "decay of the current per step")
    v = State(0.0, "membrane")
    i = State(0.0, "current")

    @staticmethod
    def rule(x, v, i, alpha, gain, threshold, amount, low, most, alpha_syn, reset):
        i = alpha_syn * (i + x)
        v = alpha * v + gain * i
        n = spikes(v, threshold, most)
        return n, (maximum(reset(v, n, amount), low), i)


class LeakRule(Neuron):
    """v = alpha v + gain x is the output;  then v = max(v, low)."""

    alpha: Param = Param(1.0, "decay of the membrane per step")
    gain: Param = Param(1.0, "factor of the input")
    low: Param = Param(-3.0e38, "lower limit of the membrane")
    v = State(0.0, "membrane")

    @staticmethod
    def rule(x, v, alpha, gain, low):
        v = alpha * v + gain * x
        return v, maximum(v, low)
