"""Spyx's phasors, their conversion to spikes and back, and its resonate-and-fire neuron.

A phasor is a complex number of modulus 1, whose angle is the output of a neuron; one spike per cycle can encode it.
Frady & Sommer, Robust computation with rhythmic spike patterns, PNAS 116, 2019; Bybee, Frady & Sommer, Deep learning in
spiking phasor neural networks, arXiv:2204.00507, 2022.
"""

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.compat.spyx.axn import superspike
from ranvier.compat.spyx.keys import Key, generator
from ranvier.data import encode
from ranvier.nn.neurons.associative import AssociativeResonate


def real_to_phasor(x: Tensor, scale: float = math.pi) -> Tensor:
    """exp(i scale x): real x of any shape -> complex numbers of modulus 1. By default, x in [0, 1] covers the upper
    half of the unit circle.

    >>> real_to_phasor(torch.tensor([0.0, 0.5]))
    tensor([ 1.0000e+00+0.j, -4.3711e-08+1.j])
    """
    return torch.polar(torch.ones_like(x), scale * x)


def phasor_to_real(z: Tensor) -> Tensor:
    """The real part of z."""
    return z.real


def phase_of(z: Tensor) -> Tensor:
    """The angle of z, in (-pi, pi]."""
    return z.angle()


class PhasorLinear(nn.Module):
    """z W^T + b in complex numbers: z [*, in_features] complex -> [*, out_features] complex.

    Real and imaginary parts are separate real numbers, on a last axis of length 2 of `weight` and `bias`, so that every
    optimiser works. Weights are drawn from a normal distribution with variance 1 / (2 in_features); biases start at 0.

    >>> PhasorLinear(3, 2)(real_to_phasor(torch.rand(5, 3))).shape
    torch.Size([5, 2])
    """

    def __init__(self, in_features: int, out_features: int, use_bias: bool = True, *, rngs: Key = None):
        super().__init__()
        drawn = torch.randn(out_features, in_features, 2, generator=generator(rngs))
        self.weight = nn.Parameter(drawn * (2 * in_features) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(out_features, 2)) if use_bias else None

    def forward(self, z: Tensor) -> Tensor:
        if not z.is_complex():
            raise TypeError(f"PhasorLinear: input must be complex, got {z.dtype}; convert it with real_to_phasor(x)")
        y = z @ torch.view_as_complex(self.weight).t()
        return y if self.bias is None else y + torch.view_as_complex(self.bias)

    def extra_repr(self) -> str:
        out, into, _ = self.weight.shape
        return f"in_features={into}, out_features={out}, bias={self.bias is not None}"


class PhasorActivation(nn.Module):
    """Normalise to the unit circle: z / (|z| + eps), in the shape of z. The angle does not change, and the modulus
    becomes 1; 0 stays 0.

    >>> PhasorActivation()(torch.tensor([3.0 + 4.0j, 0.0j]))
    tensor([0.6000+0.8000j, 0.0000+0.0000j])
    """

    def __init__(self, eps: float = 1e-8):
        super().__init__()
        self.eps = eps

    def forward(self, z: Tensor) -> Tensor:
        return z / (z.abs() + self.eps)

    def extra_repr(self) -> str:
        return f"eps={self.eps:g}"


class PhasorReadout(nn.Module):
    """Real scores: the real part of a `PhasorLinear` without bias. z [*, in] complex -> [*, out] real.

    >>> PhasorReadout(3, 2)(real_to_phasor(torch.rand(5, 3))).dtype
    torch.float32
    """

    def __init__(self, in_features: int, out_features: int, *, rngs: Key = None):
        super().__init__()
        self.linear = PhasorLinear(in_features, out_features, use_bias=False, rngs=rngs)

    def forward(self, z: Tensor) -> Tensor:
        return self.linear(z).real


class PhasorMLP(nn.Module):
    """`depth` layers of phasors and a readout: x [*, in], real in [0, 1] or complex, -> scores [*, out].

    >>> PhasorMLP(4, 16, 3, depth=1)(torch.rand(5, 4)).shape
    torch.Size([5, 3])
    """

    def __init__(self, in_features: int, hidden_features: int, out_features: int, depth: int = 2, *, rngs: Key = None):
        super().__init__()
        if depth < 1:
            raise ValueError(f"PhasorMLP: depth must be a whole number >= 1, got {depth!r}")
        sizes = [in_features, *[hidden_features] * depth]
        key = generator(rngs)
        layers: list[Any] = []
        for into, out in pairwise(sizes):
            layers += [PhasorLinear(into, out, rngs=key), PhasorActivation()]
        self.hidden, self.readout = nn.Sequential(*layers), PhasorReadout(hidden_features, out_features, rngs=key)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.hidden(x if x.is_complex() else real_to_phasor(x)))


class SpikingPhasor(nn.Module):
    """A `PhasorLinear` whose input and output are spikes, [T, B, in_features] -> [T, B, out_features]. Each neuron
    spikes once per cycle of T steps.
    """

    def __init__(self, phasor_layer: nn.Module, period_T: int):
        super().__init__()
        if period_T < 1:
            raise ValueError(f"SpikingPhasor: period_T must be a whole number >= 1, got {period_T!r}")
        self.layer, self.activation, self.T = phasor_layer, PhasorActivation(), period_T

    def forward(self, spike_train: Tensor) -> Tensor:
        z = real_to_phasor(spikes_to_phase(spike_train), 1.0)
        return phase_to_spikes(phase_of(self.activation(self.layer(z))), self.T)


def phase_to_spikes(theta: Tensor, T: int) -> Tensor:
    """Angles in [-pi, pi] -> spikes [T, ...], one spike per angle."""
    return encode.phase(theta, T)


def spikes_to_phase(spike_train: Tensor, T: int | None = None) -> Tensor:
    """Spikes [steps, ...] -> angles in a cycle of T steps (by default, of all steps). The angle is 0 where there is no
    spike, as in Spyx's documentation (its code returns -pi).
    """
    angle = encode.phase_of(spike_train)
    if T is None or T == len(spike_train):
        return angle
    scaled = (angle + math.pi) * len(spike_train) / T - math.pi
    return torch.where(spike_train.sum(0) > 0, scaled, 0.0)


class ResonateFire(nn.Module):
    """z = exp(dt (-lambda + i omega)) z + x; s = S(Re z - threshold), where S is the step function. The state z is
    complex: `(x, z) -> (s, z)`.
    """

    def __init__(
        self, hidden_shape: Any, lambda_init: Any = None, omega_init: Any = None, threshold: float = 1, dt: float = 1,
        activation: Any = None, *, rngs: Key = None,
    ):  # fmt: skip
        super().__init__()
        self.hidden_shape = (hidden_shape,) if isinstance(hidden_shape, int) else tuple(hidden_shape)
        key = generator(rngs)

        def drawn(middle: float, deviation: float) -> Tensor:
            low, high = middle - 2 * deviation, middle + 2 * deviation
            return nn.init.trunc_normal_(torch.empty(self.hidden_shape), middle, deviation, low, high, generator=key)

        damping = nn.functional.softplus(drawn(0.5, 0.25)) if lambda_init is None else lambda_init
        omega = drawn(1.0, 0.5) if omega_init is None else omega_init
        slope = getattr(activation or superspike(), "surrogate", None)
        if slope is None:
            raise TypeError(
                "ResonateFire: activation must be one of axn, or axn.custom with a derivative of plain arithmetic"
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
        """Return the spikes of all steps for x [T, B, *shape], with the neurons at rest before the first step."""
        return self.core(x)
