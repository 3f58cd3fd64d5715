"""Spyx's phasors, phases as spikes, and its resonate-and-fire neuron."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch import nn as torch_nn

from ranvier.compat.spyx.axn import superspike
from ranvier.compat.spyx.keys import Key, generator
from ranvier.data import encode
from ranvier.nn import phasor
from ranvier.nn.neurons.associative import AssociativeResonate
from ranvier.nn.phasor import PhasorActivation as PhasorActivation


def real_to_phasor(x: Tensor, scale: float = math.pi) -> Tensor:
    """exp(i scale x)."""
    return phasor.to_phasor(x, scale)


def phasor_to_real(z: Tensor) -> Tensor:
    """The real part."""
    return z.real


def phase_of(z: Tensor) -> Tensor:
    """The angle, in (-pi, pi]."""
    return z.angle()


class PhasorLinear(phasor.PhasorLinear):
    """`ranvier.nn.phasor.PhasorLinear` with Spyx's arguments."""

    def __init__(self, in_features: int, out_features: int, use_bias: bool = True, *, rngs: Key = None):
        with _seeded(rngs):
            super().__init__(in_features, out_features, use_bias)


class PhasorReadout(phasor.PhasorReadout):
    """`ranvier.nn.phasor.PhasorReadout` with Spyx's arguments."""

    def __init__(self, in_features: int, out_features: int, *, rngs: Key = None):
        with _seeded(rngs):
            super().__init__(in_features, out_features)


class PhasorMLP(phasor.PhasorMLP):
    """`ranvier.nn.phasor.PhasorMLP` with Spyx's arguments."""

    def __init__(self, in_features: int, hidden_features: int, out_features: int, depth: int = 2, *, rngs: Key = None):
        with _seeded(rngs):
            super().__init__(in_features, hidden_features, out_features, depth)


class SpikingPhasor(torch_nn.Module):
    """A `PhasorLinear` between spikes: [T, B, in_features] -> [T, B, out_features], one spike a cycle of T steps."""

    def __init__(self, phasor_layer: torch_nn.Module, period_T: int):
        super().__init__()
        if period_T < 1:
            raise ValueError(f"SpikingPhasor: period_T must be a whole number >= 1, got {period_T!r}")
        self.layer, self.activation, self.T = phasor_layer, PhasorActivation(), period_T

    def forward(self, spike_train: Tensor) -> Tensor:
        z = phasor.to_phasor(spikes_to_phase(spike_train), 1.0)
        return phase_to_spikes(phase_of(self.activation(self.layer(z))), self.T)


@contextmanager
def _seeded(rngs: Key) -> Iterator[None]:
    """What is drawn within comes from this key, if there is one."""
    if rngs is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        key = generator(rngs)
        assert key is not None
        torch.manual_seed(int(torch.randint(2**62, (), generator=key)))
        yield


def phase_to_spikes(theta: Tensor, T: int) -> Tensor:
    """Angles in [-pi, pi] -> one spike each, [T, ...]."""
    return encode.phase(theta, T)


def spikes_to_phase(spikes: Tensor) -> Tensor:
    """[T, ...] -> angles; 0 where nothing fired, as Spyx's text promises (its code gives -pi)."""
    return encode.phase_of(spikes)


class ResonateFire(torch_nn.Module):
    """z' = exp(dt (-lambda + i omega)) z + x; s = S(Re z' - threshold). The state is complex: `(x, z) -> (s, z)`."""

    def __init__(
        self, hidden_shape: Any, lambda_init: Any = None, omega_init: Any = None, threshold: float = 1, dt: float = 1,
        activation: Any = None, *, rngs: Key = None,
    ):  # fmt: skip
        super().__init__()
        self.hidden_shape = (hidden_shape,) if isinstance(hidden_shape, int) else tuple(hidden_shape)
        key = generator(rngs)

        def drawn(middle: float, deviation: float) -> Tensor:
            low, high = middle - 2 * deviation, middle + 2 * deviation
            return torch_nn.init.trunc_normal_(
                torch.empty(self.hidden_shape), middle, deviation, low, high, generator=key
            )

        damping = torch_nn.functional.softplus(drawn(0.5, 0.25)) if lambda_init is None else lambda_init
        omega = drawn(1.0, 0.5) if omega_init is None else omega_init
        slope = getattr(activation or superspike(), "surrogate", None)
        if slope is None:
            raise TypeError(
                "ResonateFire: activation must be one of axn's, or axn.custom with a slope of plain arithmetic"
            )
        self.core = AssociativeResonate(
            damping=damping, omega=omega, threshold=threshold, dt=dt, surrogate=slope, learn=("damping", "omega")
        )

    def initial_state(self, batch_size: int) -> Tensor:
        return torch.zeros(batch_size, *self.hidden_shape, dtype=torch.complex64)

    def forward(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        s, z = self.scan(x.unsqueeze(0), z)
        return s[0], z

    def scan(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        s, after = self.core.scan(x, {"re": z.real, "im": z.imag})
        return s, torch.complex(after["re"], after["im"])

    def parallel(self, x: Tensor) -> Tensor:
        """Spikes of x [T, B, *shape] from rest."""
        return self.core(x)
