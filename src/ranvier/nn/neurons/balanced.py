"""Balanced resonate-and-fire neurons: they oscillate, and stay stable while they learn."""

from typing import Any, Literal, Self

from torch import Generator

from ranvier.nn.neuron import Learn, Neuron, Option, Param, State
from ranvier.nn.neurons.adlif import drawn
from ranvier.ops import maximum, spike, sqrt


class _Balanced(Neuron):
    """Base of both neurons: it checks their parameters, and draws them as published."""

    def _check_step(self) -> None:
        omega, dt = self.omega.detach(), self.settings["dt"]
        if not omega.is_meta and bool((omega * dt >= 1.0).any()):
            raise ValueError(
                f"{type(self).__name__}: omega dt must be below 1, got omega up to {omega.max().item():g} and "
                f"dt {dt:g}; take a smaller dt"
            )

    def bounds(self, name: str) -> tuple[Any, Any]:
        """Return the bounds of a parameter during learning: omega stays so small that a step of dt is stable."""
        low, high = super().bounds(name)
        return low, (0.999 / self.settings["dt"] if name == "omega" else high)

    @classmethod
    def published(cls, features: int, generator: Generator | None = None, **given: Any) -> Self:
        """Return a layer with the parameters of the paper for sequential MNIST. Each neuron has its own frequency and
        damping, which are random and learned: omega from 15 to 50 rad / s, damping from 0.1 to 1 / s, with dt = 0.01 s.

        >>> import ranvier
        >>> [name for name, _ in ranvier.BRF.published(8).named_parameters()]
        ['omega', 'damping']
        """
        own = {"omega": drawn(features, 15, 50, generator), "damping": drawn(features, 0.1, 1, generator)}
        return cls(**{"learn": tuple(own), "shape": features, **own, **given})


class BRF(_Balanced):
    """Balanced resonate-and-fire: its oscillation never grows without input, for all parameters. There is no reset;
    instead, each spike increases the threshold and the damping by q, which then decays.

    b = (sqrt(1 - (omega dt)^2) - 1) / dt - damping - q;
    (u, v) = (u + dt (b u - omega v + x), v + dt (omega u + b v));  z = 1 where u >= threshold + q;  q = gamma q + z.

    x [T, B, *features] -> spikes of the same shape. omega in rad / s with omega dt < 1, damping in 1 / s, dt in
    seconds, gamma a decay per step. Higuchi, Kairat, Bohte & Otte, Balanced resonate-and-fire neurons, ICML 2024;
    `published` draws its parameters as in the paper.

    >>> import torch, ranvier
    >>> x = torch.zeros(9, 1, 1)
    >>> x[0] = 120.0
    >>> ranvier.BRF(omega=90.0)(x).flatten()
    tensor([1., 0., 0., 0., 0., 0., 0., 0., 0.])
    """

    omega: Param = Param(10.0, "angular frequency in rad / s", low=0.0)
    damping: Param = Param(1.0, "damping of the oscillation in 1 / s", low=0.0)
    gamma: Param = Param(0.9, "decay of the refractory state per step", low=0.0, high=1.0)
    threshold: Param = Param(1.0, "value of u at which a spike is fired, for q = 0")
    dt: Option[float] = Option(0.01, "length of a step in seconds", number=True)
    u = State(0.0, "current-like part")
    v = State(0.0, "voltage-like part")
    q = State(0.0, "refractory state")
    learn: Learn[Literal["damping", "gamma", "omega", "threshold"]] = Learn()

    @staticmethod
    def rule(x, u, v, q, omega, damping, gamma, threshold, dt):
        turn = omega * dt
        edge = (sqrt(maximum(1.0 - turn * turn, 1e-6)) - 1.0) / dt  # the smallest stable damping
        b = edge - damping - q
        u, v = u + dt * (b * u - omega * v + x), v + dt * (omega * u + b * v)
        z = spike(u - threshold - q)
        return z, (u, v, gamma * q + z)


class BHRF(_Balanced):
    """Balanced harmonic resonate-and-fire: like `BRF`, but with the equation of a damped oscillator.

    b = omega^2 dt / 2 + damping + q;  v = v + dt u;  u = u + dt (x - 2 b u - omega^2 v);  z = 1 where
    u >= threshold + q;  q = gamma q + z.

    x [T, B, *features] -> spikes of the same shape; units and source as for `BRF`.

    >>> import torch, ranvier
    >>> x = torch.zeros(5, 1, 1)
    >>> x[0] = 120.0
    >>> ranvier.BHRF(omega=10.0)(x).flatten()
    tensor([1., 0., 0., 0., 0.])
    """

    omega: Param = Param(10.0, "angular frequency in rad / s", low=0.0)
    damping: Param = Param(1.0, "damping of the oscillation in 1 / s", low=0.0)
    gamma: Param = Param(0.9, "decay of the refractory state per step", low=0.0, high=1.0)
    threshold: Param = Param(1.0, "value of u at which a spike is fired, for q = 0")
    dt: Option[float] = Option(0.01, "length of a step in seconds", number=True)
    u = State(0.0, "speed")
    v = State(0.0, "place")
    q = State(0.0, "refractory state")
    learn: Learn[Literal["damping", "gamma", "omega", "threshold"]] = Learn()

    @staticmethod
    def rule(x, u, v, q, omega, damping, gamma, threshold, dt):
        square = omega * omega
        b = 0.5 * dt * square + damping + q
        v = v + dt * u
        u = u + dt * (x - 2.0 * b * u - square * v)
        z = spike(u - threshold - q)
        return z, (u, v, gamma * q + z)
