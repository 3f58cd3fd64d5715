"""Layers of phasors: complex numbers of size 1, whose angle is what a neuron says, and one spike a cycle can carry it.

Frady & Sommer, Robust computation with rhythmic spike patterns, PNAS 116, 2019; Bybee, Frady & Sommer, Deep learning in
spiking phasor neural networks, arXiv:2204.00507, 2022.
"""

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn


def to_phasor(x: Tensor, scale: float = math.pi) -> Tensor:
    """exp(i scale x): real x of any shape -> complex, of size 1. x in [0, 1] fills the upper half circle.

    >>> to_phasor(torch.tensor([0.0, 0.5]))
    tensor([ 1.0000e+00+0.j, -4.3711e-08+1.j])
    """
    return torch.polar(torch.ones_like(x), scale * x)


class PhasorLinear(nn.Module):
    """z W^T + b in complex numbers: z [*, in_features] complex -> [*, out_features] complex.

    Real and imaginary parts are real parameters of their own (`weight`, `bias` with a last axis of 2), so that every
    optimiser does the right thing; they begin normal with variance 1 / (2 in_features), biases at 0.

    >>> PhasorLinear(3, 2)(to_phasor(torch.rand(5, 3))).shape
    torch.Size([5, 2])
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features, 2) * (2 * in_features) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(out_features, 2)) if bias else None

    def forward(self, z: Tensor) -> Tensor:
        if not z.is_complex():
            raise TypeError(f"PhasorLinear: input must be complex, got {z.dtype}; phasor.to_phasor(x) makes it so")
        y = z @ torch.view_as_complex(self.weight).t()
        return y if self.bias is None else y + torch.view_as_complex(self.bias)

    def extra_repr(self) -> str:
        out, into, _ = self.weight.shape
        return f"in_features={into}, out_features={out}, bias={self.bias is not None}"


class PhasorActivation(nn.Module):
    """Back onto the circle: z / (|z| + eps), of the shape of z; the angle stays, the size becomes 1 (0 stays 0).

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
    """Real scores of phasors: the real part of a `PhasorLinear` without bias. z [*, in] complex -> [*, out].

    >>> PhasorReadout(3, 2)(to_phasor(torch.rand(5, 3))).dtype
    torch.float32
    """

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        self.linear = PhasorLinear(in_features, out_features, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        return self.linear(z).real


class PhasorMLP(nn.Module):
    """`depth` layers of phasors and a readout: x [*, in], real in [0, 1] or complex, -> scores [*, out].

    >>> PhasorMLP(4, 16, 3, depth=1)(torch.rand(5, 4)).shape
    torch.Size([5, 3])
    """

    def __init__(self, in_features: int, hidden_features: int, out_features: int, depth: int = 2):
        super().__init__()
        if depth < 1:
            raise ValueError(f"PhasorMLP: depth must be a whole number >= 1, got {depth!r}")
        sizes = [in_features, *[hidden_features] * depth]
        layers: list[Any] = []
        for into, out in pairwise(sizes):
            layers += [PhasorLinear(into, out), PhasorActivation()]
        self.hidden, self.readout = nn.Sequential(*layers), PhasorReadout(hidden_features, out_features)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.hidden(x if x.is_complex() else to_phasor(x)))
