"""Adaptive neurons with two coupled states, whose membrane oscillates below threshold."""

import math
from typing import Any, Literal, Self

import torch
from torch import Generator, Tensor

from ranvier.nn.neuron import Learn, Neuron, Option, Param, State
from ranvier.nn.reset import Reset, detaching, resetting
from ranvier.ops import exp, spike


def drawn(features: int, low: float, high: float, generator: Generator | None = None) -> Tensor:
    """Draw one random number for each of `features` neurons, uniformly distributed between low and high."""
    return low + (high - low) * torch.rand(features, generator=generator)


def decays(features: int, low: float, high: float, generator: Generator | None = None) -> Tensor:
    """Draw a decay per step for each neuron; their time constants are uniformly distributed between low and high, in
    steps.
    """
    return torch.exp(-1.0 / drawn(features, low, high, generator))


# The ranges of the published parameters, which also hold during learning: time constants of 5 to 25 steps for alpha, of
# 60 to 300 steps for beta.
RANGES = {
    "alpha": (math.exp(-1 / 5), math.exp(-1 / 25)), "beta": (math.exp(-1 / 60), math.exp(-1 / 300)),
    "a": (1e-3, 1.0), "b": (1e-3, 2.0),
}  # fmt: skip


class SEAdLIF(Neuron):
    """Adaptive leaky integrate-and-fire, integrated by the symplectic Euler method: the adaptation uses the membrane of
    this step, not of the last one. So the oscillation is as stable as that of the differential equations.

    u = alpha u + (1 - alpha)(x - w);  z = 1 where u >= threshold;  u = 0 where z = 1;
    w = beta w + (1 - beta) q (a u + b z).

    x [T, B, *features] -> spikes of the same shape. alpha and beta in [0, 1] are decays per step; q scales a and b, so
    that all learned parameters have about the same size. Baronig, Ferrand, Sabathiel & Legenstein, Advancing
    spatio-temporal processing through adaptation in spiking neural networks, Nature Communications 16, 2025;
    `published` draws its parameters as in the paper.

    >>> import torch, ranvier
    >>> x = torch.full((6, 1, 1), 20.0)
    >>> ranvier.SEAdLIF(alpha=0.9, beta=0.9)(x).flatten()
    tensor([1., 0., 1., 0., 0., 0.])
    """

    alpha: Param = Param(math.exp(-1 / 15), "decay of the membrane per step", low=0.0, high=1.0)
    beta: Param = Param(math.exp(-1 / 180), "decay of the adaptation per step", low=0.0, high=1.0)
    a: Param = Param(0.5, "adaptation to the membrane", low=0.0)
    b: Param = Param(1.0, "adaptation to a spike", low=0.0)
    threshold: Param = Param(1.0, "membrane at which a spike is fired")
    q: Param = Param(120.0, "scale of a and b")
    u = State(0.0, "membrane")
    w = State(0.0, "adaptation")
    reset: Option[Reset] = resetting("zero")
    detach_reset: Option[bool] = detaching()
    learn: Learn[Literal["a", "alpha", "b", "beta", "q", "threshold"]] = Learn()

    @staticmethod
    def rule(x, u, w, alpha, beta, a, b, threshold, q, reset):
        u = alpha * u + (1.0 - alpha) * (x - w)
        z = spike(u - threshold)
        u = reset(u, z, threshold)
        return z, (u, beta * w + (1.0 - beta) * (q * (a * u + b * z)))

    def bounds(self, name: str) -> tuple[Any, Any]:
        """Return the bounds of a parameter during learning. A learned decay stays below 1 (at 1 the input would have no
        effect), and a learned adaptation above 0. Parameters of `published` stay in the ranges from which they were
        drawn.
        """
        low, high = super().bounds(name)
        inside = {
            "alpha": (low, 0.999),
            "beta": (low, 0.999),
            "a": (1e-3, high),
            "b": (1e-3, high),
        } | self.__dict__.get("_ranges", {})
        return inside.get(name, (low, high))

    @classmethod
    def published(cls, features: int, generator: Generator | None = None, **given) -> Self:
        """Return a layer of neurons with the parameters of the paper. Each neuron has its own, which are random and
        learned: time constants of 5 to 25 steps (membrane) and 60 to 300 steps (adaptation), a from 0 to 1, b from 0 to
        2. No gradient flows through the reset. The parameters stay in these ranges during learning, because outside of
        them membrane and adaptation together can be unstable.

        >>> import ranvier
        >>> sorted(name for name, _ in ranvier.SEAdLIF.published(8).named_parameters())
        ['a', 'alpha', 'b', 'beta']
        """
        own = {
            "alpha": decays(features, 5, 25, generator), "beta": decays(features, 60, 300, generator),
            "a": drawn(features, 0, 1, generator), "b": drawn(features, 0, 2, generator),
        }  # fmt: skip
        neuron = cls(**{"learn": tuple(own), "shape": features, "detach_reset": True, **own, **given})
        neuron.__dict__["_ranges"] = {name: RANGES[name] for name in own if name not in given}
        return neuron


class SiLIF(Neuron):
    """Adaptive leaky integrate-and-fire with the parameters of a state-space model: decay rates are given by their
    logarithm, and each neuron has its own time step, which is learned.

    alpha = exp(-exp(log_rate + log_dt)), beta = exp(-exp(log_slow + log_dt));
    u = alpha u + (1 - alpha)(x - w);  z = 1 where u >= threshold;  w = beta w + a u + b z;  u = u - threshold z.

    x [T, B, *features] -> spikes of the same shape. Rates are in 1 / s, the step is in seconds; decays always stay
    between 0 and 1. Fabre, Dudchenko, Bouhadjar & Neftci, SiLIF, arXiv:2506.06374, 2025; `published` draws its
    parameters as in the paper.

    >>> import torch, ranvier
    >>> ranvier.SiLIF(a=0.0)(torch.full((6, 1, 1), 3.0)).flatten()
    tensor([0., 0., 1., 0., 0., 1.])
    """

    log_rate: Param = Param(math.log(50.0), "logarithm of the membrane's rate of decay in 1 / s")
    log_slow: Param = Param(math.log(5.0), "logarithm of the adaptation's rate of decay in 1 / s")
    log_dt: Param = Param(math.log(0.004), "logarithm of the time step in s")
    a: Param = Param(0.5, "adaptation to the membrane", low=0.0, high=1.0)
    b: Param = Param(1.0, "adaptation to a spike", low=0.0, high=2.0)
    threshold: Param = Param(1.0, "membrane at which a spike is fired")
    u = State(0.0, "membrane")
    w = State(0.0, "adaptation")
    learn: Learn[Literal["a", "b", "log_dt", "log_rate", "log_slow", "threshold"]] = Learn()

    @staticmethod
    def rule(x, u, w, log_rate, log_slow, log_dt, a, b, threshold):
        alpha, beta = exp(-exp(log_rate + log_dt)), exp(-exp(log_slow + log_dt))
        u = alpha * u + (1.0 - alpha) * (x - w)
        z = spike(u - threshold)
        return z, (u - threshold * z, beta * w + a * u + b * z)

    @classmethod
    def published(cls, features: int, generator: Generator | None = None, **given) -> Self:
        """Return a layer of neurons with the parameters of the paper. Each neuron has its own, which are random and
        learned: rates of 10 to 250 / s (membrane) and 2.5 to 10 / s (adaptation), stored as logarithms; a from 0 to 1;
        b from 0 to 2. The time step starts at 4 ms.

        >>> import ranvier
        >>> len(list(ranvier.SiLIF.published(8).parameters()))
        5
        """
        own = {
            "log_rate": drawn(features, math.log(10), math.log(250), generator),
            "log_slow": drawn(features, math.log(2.5), math.log(10), generator),
            "log_dt": torch.full((features,), math.log(0.004)),
            "a": drawn(features, 0, 1, generator), "b": drawn(features, 0, 2, generator),
        }  # fmt: skip
        return cls(**{"learn": tuple(own), "shape": features, **own, **given})
