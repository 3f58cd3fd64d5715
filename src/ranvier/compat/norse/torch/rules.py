"""Norse's neurons as rules: forward Euler with a step of dt seconds.

In the equations, S is the step function: S(u) = 1 where u > 0, else 0.
"""

from typing import Any

from ranvier.compat.norse.torch.parameters import reset_value
from ranvier.nn.neuron import Neuron, Option, Param, State
from ranvier.ops import exp, spike, stop


def _to(z: Any, v: Any, v_reset: Any) -> Any:
    return (1.0 - z) * v + z * v_reset


def _cutting() -> Any:
    """Return the option `cut`: no gradient through the effect of a spike on the state, as in recurrent layers."""
    return Option(False, "no gradient through the reset", make=lambda cut: stop if cut else lambda z: z)


class LIFRule(Neuron):
    """i = i + x;  v = v + dt tau_mem_inv (v_leak - v + i);  z = S(v - v_th);  then v = v_reset after a spike, and i
    decays: i = i - dt tau_syn_inv i.
    """

    tau_syn_inv, tau_mem_inv, v_leak, v_th, v_reset = Param(200.0), Param(100.0), Param(0.0), Param(1.0), Param(0.0)
    dt = Param(1e-3)
    v, i = State("v_leak"), State(0.0)
    cut: Option[bool] = _cutting()

    @staticmethod
    def rule(x, v, i, tau_syn_inv, tau_mem_inv, v_leak, v_th, v_reset, dt, cut):
        i = i + x
        v = v + dt * tau_mem_inv * ((v_leak - v) + i)
        z = spike(v - v_th, strict=True)
        return z, (_to(cut(z), v, v_reset), i - dt * tau_syn_inv * i)


class LIRule(Neuron):
    """`LIFRule` without spikes; the output is v."""

    tau_syn_inv, tau_mem_inv, v_leak, dt = Param(200.0), Param(100.0), Param(0.0), Param(1e-3)
    v, i = State("v_leak"), State(0.0)

    @staticmethod
    def rule(x, v, i, tau_syn_inv, tau_mem_inv, v_leak, dt):
        i = i + x
        v = v + dt * tau_mem_inv * ((v_leak - v) + i)
        return v, (v, i - dt * tau_syn_inv * i)


class LSNNRule(Neuron):
    """A neuron with threshold b, which starts at v_th, decays to v_th, and rises by beta with each spike. The input x
    is added to the current i at the end of the step.
    """

    tau_syn_inv, tau_mem_inv, tau_adapt_inv = Param(200.0), Param(100.0), Param(1.0 / 800)
    v_leak, v_th, v_reset, beta, dt = Param(0.0), Param(1.0), Param(0.0), Param(1.8), Param(1e-3)
    v, i, b = State("v_leak"), State(0.0), State("v_th")
    cut: Option[bool] = _cutting()

    @staticmethod
    def rule(x, v, i, b, tau_syn_inv, tau_mem_inv, tau_adapt_inv, v_leak, v_th, v_reset, beta, dt, cut):
        v = v + dt * tau_mem_inv * ((v_leak - v) + i)
        b = b + dt * tau_adapt_inv * (v_th - b)
        z = spike(v - b, strict=True)
        return z, (_to(cut(z), v, v_reset), i - dt * tau_syn_inv * i + x, b + cut(z) * beta)


class LIFAdExRule(Neuron):
    """`LIFRule` with an exponential rise of the membrane, and an adaptation a that is subtracted from the current."""

    adaptation_current, adaptation_spike, delta_T, tau_ada_inv = Param(4.0), Param(0.02), Param(0.5), Param(2.0)
    tau_syn_inv, tau_mem_inv, v_leak, v_th, v_reset = Param(200.0), Param(100.0), Param(0.0), Param(1.0), Param(0.0)
    dt = Param(1e-3)
    v, i, a = State("v_leak"), State(0.0), State(0.0)

    @staticmethod
    def rule(
        x, v, i, a, adaptation_current, adaptation_spike, delta_T, tau_ada_inv, tau_syn_inv, tau_mem_inv, v_leak, v_th,
        v_reset, dt,
    ):  # fmt: skip
        i = i + x
        decayed = v + dt * tau_mem_inv * ((v_leak - v) + delta_T * exp((v - v_th) / delta_T) + i - a)
        a = a + dt * tau_ada_inv * (adaptation_current * (v - v_leak) - a)
        z = spike(decayed - v_th, strict=True)
        return z, (_to(z, decayed, v_reset), i - dt * tau_syn_inv * i, a + z * adaptation_spike)


class IAFRule(Neuron):
    """v = v + x;  z = S(v - v_th);  then v = v_reset after a spike."""

    v_th, v_reset = Param(1.0), Param(0.0)
    v = State("v_reset")

    @staticmethod
    def rule(x, v, v_th, v_reset):
        v = v + x
        z = spike(v - v_th, strict=True)
        return z, _to(z, v, v_reset)


class LIFBoxRule(Neuron):
    """`LIFRule` without a synaptic current: the input x takes the place of i."""

    tau_mem_inv, v_leak, v_th, v_reset, dt = Param(100.0), Param(0.0), Param(1.0), Param(0.0), Param(1e-3)
    v = State("v_leak")
    reset_method: Option[Any] = Option(reset_value, "the membrane after a spike")

    @staticmethod
    def rule(x, v, tau_mem_inv, v_leak, v_th, v_reset, dt, reset_method):
        v = v + dt * tau_mem_inv * ((v_leak - v) + x)
        z = spike(v - v_th, strict=True)
        return z, reset_method(z, v, v_th, v_reset)


class LIBoxRule(Neuron):
    """`LIFBoxRule` without spikes; the output is v."""

    tau_mem_inv, v_leak, dt = Param(100.0), Param(0.0), Param(1e-3)
    v = State("v_leak")

    @staticmethod
    def rule(x, v, tau_mem_inv, v_leak, dt):
        v = v + dt * tau_mem_inv * ((v_leak - v) + x)
        return v, v
