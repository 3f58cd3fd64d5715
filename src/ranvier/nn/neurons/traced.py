"""Neurons for local learning. They have a trace of their own spikes and a refractory period, and some have an adaptive
threshold.

The membrane relaxes to `rest`. For `refractory` steps after a spike it does not change. `trace` rises with every spike;
STDP uses it (`ranvier.record(net, x, "trace")`). A step computes, in this order: membrane, spike (with the threshold of
the previous step), trace, threshold, reset.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from ranvier.nn.declare import step_length
from ranvier.nn.neuron import Learn, Neuron, Option, Param, State, Time
from ranvier.ops import spike, where

Update = Literal["linear", "exponential"]

# The update of a value u with an input `drive` and a decay b per step. "linear": the input is added. "exponential": the
# value approaches the input, by the forward Euler step of tau u' = drive - u with b = 1 - dt / tau.
RELAX: dict[Update, Callable[[Any, Any, Any], Any]] = {
    "linear": lambda u, drive, b: u * b + drive,
    "exponential": lambda u, drive, b: u + (1.0 - b) * (drive - u),
}


def relaxing(kind: Update = "linear") -> Any:
    """Return the option `update` of a neuron: its rule calls `relax(value, drive, decay)`.

    "linear": value decay + drive; "exponential": value + (1 - decay) (drive - value), where decay is 1 - dt / tau.
    """
    return Option(kind, "how values are updated", make=lambda update: RELAX[update], choices=tuple(RELAX))


def fires(v: Any, threshold: Any, wait: Any) -> Any:
    """Return the spike of a neuron with a refractory period: there is no spike while `wait` > 0."""
    return spike(v - threshold) * where(wait > 0.0, 0.0, 1.0)


def waits(z: Any, wait: Any, refractory: Any) -> Any:
    """Return the number of refractory steps left after this step: `refractory` after a spike, otherwise one less than
    before.
    """
    return where(z > 0.0, refractory, where(wait > 0.0, wait - 1.0, wait))


class Traced(Neuron):
    """Base of neurons with a trace and a refractory period. Spikes may be given as bool."""

    alpha: Param = Param(1.0, "gain of the input")
    rest: Param = Param(0.0, "membrane at rest, at the beginning and after a spike")
    threshold: Param = Param(1.0, "membrane at which a spike is fired (>=)")
    refractory: Param = Param(0.0, "number of refractory steps after a spike", low=0.0, learnable=False)
    rho: Param = Param(0.9, "decay of the trace per step", low=-1.0, high=1.0)
    tau_trace: Time = Time("rho", "time constant of the trace")
    dt: Option[float] = step_length()
    gain: Param = Param(1.0, "what a spike adds to the trace")
    v = State("rest", "membrane")
    trace = State(0.0, "trace of the spikes")
    wait = State(0.0, "refractory steps left")
    learn: Learn[Literal["alpha", "gain", "rest", "rho", "tau_trace", "threshold"]] = Learn()

    def __init__(self, **given: Any):
        super().__init__(**given)
        if not self.refractory.is_meta and bool((self.refractory != self.refractory.round()).any()):
            raise ValueError(
                f"{type(self).__name__}: refractory counts whole steps, got {given['refractory']!r}; "
                f"for a time in seconds write round(time / dt)"
            )

    def bounds(self, name: str) -> tuple[Any, Any]:
        """Return the bounds of a parameter during learning. With the exponential update, a decay stays below 1: at 1
        the input would have no effect.
        """
        low, high = super().bounds(name)
        return (low, 0.999) if high == 1.0 and self.settings["update"] == "exponential" else (low, high)

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        return super().run(floating(x), state, names)


def floating(x: Any) -> Any:
    """Return bool spikes as float32; other tensors unchanged."""
    if isinstance(x, (tuple, list)):
        return tuple(floating(one) for one in x)
    return x.float() if isinstance(x, Tensor) and x.dtype == torch.bool else x


class TracedIF(Traced):
    """Integrate-and-fire with a trace and a refractory period.

    v = v + alpha x unless refractory;  z = 1 where v >= threshold and not refractory;
    trace = relax(trace, gain z, rho), see `relaxing`;  a spike sets v to rest, and `refractory` steps follow.

    x [T, B, *features], float or bool; returns spikes z of the same shape. States: v, trace, wait. rho in [-1, 1] is
    the decay of the trace per step. `update`: "linear" or "exponential", see `relaxing`; other values raise a
    ValueError.

    >>> import torch, ranvier
    >>> ranvier.TracedIF(refractory=3)(torch.ones(9, 1, 1)).flatten()
    tensor([1., 0., 0., 0., 1., 0., 0., 0., 1.])
    """

    update: Option[Update] = relaxing()

    @staticmethod
    def rule(x, v, trace, wait, alpha, rest, threshold, refractory, rho, gain, update):
        v = where(wait > 0.0, v, v + alpha * x)
        z = fires(v, threshold, wait)
        return z, (where(z > 0.0, rest, v), update(trace, gain * z, rho), waits(z, wait, refractory))


class TracedLIF(Traced):
    """Leaky integrate-and-fire with a resting level, a trace and a refractory period.

    u = v - rest;  v = rest + relax(u, alpha x, beta) unless refractory;  z = 1 where v >= threshold and not refractory;
    trace = relax(trace, gain z, rho), see `relaxing`;  a spike sets v to rest, and `refractory` steps follow.

    x [T, B, *features], float or bool; returns spikes z of the same shape. States: v, trace, wait. beta and rho in [-1,
    1] are decays per step; with `update="exponential"` (forward Euler) they are 1 - dt / tau.
    Gerstner & Kistler, Spiking Neuron Models, 2002; Morrison et al., Biol. Cybern. 98, 2008 (traces).

    >>> import torch, ranvier
    >>> neuron = ranvier.TracedLIF(beta=0.75, rho=0.5)
    >>> ranvier.record(neuron, torch.full((6, 1, 1), 0.6), "trace")[""].flatten()
    tensor([0.0000, 1.0000, 0.5000, 1.2500, 0.6250, 1.3125])
    """

    beta: Param = Param(0.9, "decay of the membrane per step", low=-1.0, high=1.0)
    tau: Time = Time("beta", "time constant of the membrane")
    update: Option[Update] = relaxing()
    learn: Learn[Literal["alpha", "beta", "gain", "rest", "rho", "tau", "tau_trace", "threshold"]] = Learn()

    @staticmethod
    def rule(x, v, trace, wait, alpha, rest, threshold, refractory, rho, gain, beta, update):
        v = where(wait > 0.0, v, rest + update(v - rest, alpha * x, beta))
        z = fires(v, threshold, wait)
        return z, (where(z > 0.0, rest, v), update(trace, gain * z, rho), waits(z, wait, refractory))


class TracedALIF(Traced):
    """`TracedLIF` whose threshold rises with its own spikes and relaxes to `threshold`.

    theta = threshold + relax(theta - threshold, kappa z, eta); the spike z of this step is computed with the theta
    before it.

    With eta near 1 this is the homeostatic threshold of Diehl & Cook, Front. Comput. Neurosci. 9:99, 2015.

    >>> import torch, ranvier
    >>> ranvier.TracedALIF(kappa=1.0, eta=1.0)(torch.full((6, 1, 1), 1.5)).flatten()
    tensor([1., 0., 1., 0., 0., 1.])
    """

    beta: Param = Param(0.9, "decay of the membrane per step", low=-1.0, high=1.0)
    tau: Time = Time("beta", "time constant of the membrane")
    kappa: Param = Param(0.2, "what a spike adds to the threshold")
    eta: Param = Param(0.97, "decay of the threshold's rise per step", low=-1.0, high=1.0)
    tau_a: Time = Time("eta", "time constant of the threshold's rise")
    theta = State("threshold", "threshold now")
    update: Option[Update] = relaxing()
    learn: Learn[
        Literal["alpha", "beta", "eta", "gain", "kappa", "rest", "rho", "tau", "tau_a", "tau_trace", "threshold"]
    ] = Learn()

    @staticmethod
    def rule(x, v, trace, wait, theta, alpha, rest, threshold, refractory, rho, gain, beta, kappa, eta, update):
        v = where(wait > 0.0, v, rest + update(v - rest, alpha * x, beta))
        z = fires(v, theta, wait)
        after = where(z > 0.0, rest, v), update(trace, gain * z, rho), waits(z, wait, refractory)
        return z, (*after, threshold + update(theta - threshold, kappa * z, eta))


class Fede(Traced):
    """Leaky integrate-and-fire whose input is reduced by presynaptic traces, after Paredes-Valles et al.

    v = rest + relax(v - rest, alpha (x - p), beta) with the exponential update, unless refractory; all else as in
    `TracedLIF`.

    Two inputs of one shape [T, B, *features]: x, the weighted spikes, and p, the presynaptic traces, each summed over
    the synapses of a neuron. beta and rho are 1 - dt / tau. Paredes-Valles, Scheper & de Croon, IEEE TPAMI 42, 2020.

    >>> import torch, ranvier
    >>> x = torch.full((4, 1, 1), 2.0)
    >>> ranvier.Fede(beta=0.5)((x, torch.zeros_like(x))).flatten(), ranvier.Fede(beta=0.5)((x, x)).flatten()
    (tensor([1., 1., 1., 1.]), tensor([0., 0., 0., 0.]))
    """

    beta: Param = Param(0.9, "decay of the membrane per step: 1 - dt / tau", low=-1.0, high=1.0)
    update: Option[Update] = relaxing("exponential")
    learn: Learn[Literal["alpha", "beta", "gain", "rest", "rho", "tau_trace", "threshold"]] = Learn()

    @staticmethod
    def rule(x, p, v, trace, wait, alpha, rest, threshold, refractory, rho, gain, beta, update):
        v = where(wait > 0.0, v, rest + update(v - rest, alpha * (x - p), beta))
        z = fires(v, threshold, wait)
        return z, (where(z > 0.0, rest, v), update(trace, gain * z, rho), waits(z, wait, refractory))
