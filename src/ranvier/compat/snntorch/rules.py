"""snnTorch's neurons as rules. The order of a step: reset by the spike of the last step, then input, then spike.

A neuron spikes if its membrane is above threshold. In the equations, S is the step function: S(u) = 1 where u > 0, else
0. The reset by the last spike is detached from the graph, as in snnTorch; an immediate reset by the spike of this step
is not. The rules clamp decays to [0, 1].
"""

from typing import Any, NamedTuple

from ranvier.nn.neuron import Neuron, Option, Param, State
from ranvier.ops import clamp, maximum, spike, stop


class Reset(NamedTuple):
    """The two resets of a step. before(mem, beta, x, r, threshold): the new membrane, reset by the last spike r.
    after(mem, z, r, threshold): the membrane after an immediate reset by the spike z of this step.
    """

    before: Any
    after: Any


def _subtract(mem: Any, beta: Any, x: Any, r: Any, threshold: Any) -> Any:
    return beta * mem + x - r * threshold


def _none(mem: Any, beta: Any, x: Any, r: Any, threshold: Any) -> Any:
    return beta * mem + x


def _zero(mem: Any, beta: Any, x: Any, r: Any, threshold: Any) -> Any:
    return beta * ((1.0 - r) * mem) + x


def _erase(mem: Any, beta: Any, x: Any, r: Any, threshold: Any) -> Any:
    """Reset to 0, which also erases the input of the step after a spike."""
    return (1.0 - r) * (beta * mem + x)


BEFORE = {"subtract": _subtract, "zero": _zero, "none": _none}
# The immediate reset of reset_delay=False: the reset by the spike z of this step, minus the reset r that was already
# done for the last spike.
AFTER = {
    "subtract": lambda mem, z, r, threshold: mem - (z - r) * threshold,
    "zero": lambda mem, z, r, threshold: mem * (1.0 - z),
    "none": lambda mem, z, r, threshold: mem,
}


def _mechanism(name: str, reset: str) -> str:
    if reset not in BEFORE:
        raise ValueError(f"reset_mechanism must be one of {list(BEFORE)}, got {reset!r}")
    return reset


def _reset(reset: str, delay: bool, erase: bool) -> Reset:
    before = _erase if erase and reset == "zero" else BEFORE[reset]
    return Reset(before, AFTER["none"] if delay else AFTER[reset])


def resetting() -> Any:
    """Return the option `reset`, which also needs the options `delay` and `erase`."""
    return Option("subtract", "what a spike does to the membrane", make=_reset, check=_mechanism)


def delaying() -> Any:
    return Option(True, "the reset comes in the step after the spike")


def erasing(erase: bool) -> Any:
    return Option(erase, 'the reset "zero" also erases the input of its step')


class LeakyRule(Neuron):
    """r = S(mem - threshold) of the last step;  mem = beta mem + x, minus the reset;  z = graded S(mem - threshold)."""

    beta, threshold, graded = Param(0.9), Param(1.0), Param(1.0)
    mem = State(0.0)
    reset: Option[str] = resetting()
    delay: Option[bool] = delaying()
    erase: Option[bool] = erasing(False)

    @staticmethod
    def rule(x, mem, beta, threshold, graded, reset):
        r = stop(spike(mem - threshold, strict=True))
        mem = reset.before(mem, clamp(beta, 0.0, 1.0), x, r, threshold)
        z = spike(mem - threshold, strict=True)
        return graded * z, reset.after(mem, z, r, threshold)


class LapicqueRule(Neuron):
    """`LeakyRule` with mem = (1 - dt / (R C)) mem + (dt / C) x. The reset "zero" also erases the input of its step."""

    R, C, dt, threshold, graded = Param(1.0), Param(10.0), Param(1.0), Param(1.0), Param(1.0)
    mem = State(0.0)
    reset: Option[str] = resetting()
    delay: Option[bool] = delaying()
    erase: Option[bool] = erasing(True)

    @staticmethod
    def rule(x, mem, R, C, dt, threshold, graded, reset):
        r = stop(spike(mem - threshold, strict=True))
        mem = reset.before(mem, 1.0 - dt / (R * C), x * R * (dt / (R * C)), r, threshold)
        z = spike(mem - threshold, strict=True)
        return graded * z, reset.after(mem, z, r, threshold)


class SynapticRule(Neuron):
    """`LeakyRule` whose membrane is driven by a current, syn = alpha syn + x. The reset "zero" also erases what the
    current adds to the membrane in that step.
    """

    alpha, beta, threshold, graded = Param(0.8), Param(0.9), Param(1.0), Param(1.0)
    syn, mem = State(0.0), State(0.0)
    reset: Option[str] = resetting()
    delay: Option[bool] = delaying()
    erase: Option[bool] = erasing(True)

    @staticmethod
    def rule(x, syn, mem, alpha, beta, threshold, graded, reset):
        r = stop(spike(mem - threshold, strict=True))
        syn = clamp(alpha, 0.0, 1.0) * syn + x
        mem = reset.before(mem, clamp(beta, 0.0, 1.0), syn, r, threshold)
        z = spike(mem - threshold, strict=True)
        return graded * z, (syn, reset.after(mem, z, r, threshold))


class AlphaRule(Neuron):
    """Two currents of opposite sign, mem = tau (syn_exc + syn_inh). With `erase`, a spike sets all states to 0."""

    alpha, beta, tau, threshold, graded = Param(0.9), Param(0.8), Param(1.9), Param(1.0), Param(1.0)
    syn_exc, syn_inh, mem = State(0.0), State(0.0), State(0.0)
    erase: Option[bool] = erasing(True)

    @staticmethod
    def rule(x, syn_exc, syn_inh, mem, alpha, beta, tau, threshold, graded, erase):
        kept = 1.0 - stop(spike(mem - threshold, strict=True)) if erase else 1.0
        syn_exc = kept * (clamp(alpha, 0.0, 1.0) * syn_exc + x)
        syn_inh = kept * (clamp(beta, 0.0, 1.0) * syn_inh - x)
        mem = tau * (syn_exc + syn_inh)
        return graded * spike(mem - threshold, strict=True), (syn_exc, syn_inh, mem)


class RectifiedRule(Neuron):
    """A rectified membrane h without reset: h = max(x + beta h, 0);  z = graded S(h - threshold)."""

    beta, threshold, graded = Param(0.9), Param(1.0), Param(1.0)
    h = State(0.0)

    @staticmethod
    def rule(x, h, beta, threshold, graded):
        h = maximum(x + beta * h, 0.0)
        return graded * spike(h - threshold, strict=True), h
