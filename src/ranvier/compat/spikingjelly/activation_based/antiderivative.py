"""Antiderivatives of the surrogate derivatives: the smooth functions that SpikingJelly computes with spiking=False.

Each takes u (a tensor, the distance to threshold) and the numbers of the surrogate of the same name.

    >>> import torch
    >>> from ranvier.compat.spikingjelly.activation_based import antiderivative
    >>> antiderivative.sigmoid(torch.tensor([0.0]), alpha=4.0)
    tensor([0.5000])
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def piecewise_quadratic(u: Tensor, alpha: float = 1.0) -> Tensor:
    """Two parabolas, which rise from 0 at u = -1 / alpha to 1 at u = 1 / alpha."""
    u = u.clamp(-1.0 / alpha, 1.0 / alpha)
    return 0.5 + alpha * u - 0.5 * alpha**2 * u.abs() * u


def piecewise_exp(u: Tensor, alpha: float = 1.0) -> Tensor:
    """exp(alpha u) / 2 for u < 0, and 1 - exp(-alpha u) / 2 for u >= 0."""
    half = 0.5 * torch.exp(-alpha * u.abs())
    return torch.where(u < 0, half, 1.0 - half)


def sigmoid(u: Tensor, alpha: float = 4.0) -> Tensor:
    """1 / (1 + exp(-alpha u))."""
    return torch.sigmoid(alpha * u)


def soft_sign(u: Tensor, alpha: float = 2.0) -> Tensor:
    """(1 + alpha u / (1 + |alpha u|)) / 2."""
    return 0.5 * (1.0 + alpha * u / (1.0 + (alpha * u).abs()))


def atan(u: Tensor, alpha: float = 2.0) -> Tensor:
    """1/2 + atan(pi alpha u / 2) / pi."""
    return 0.5 + torch.atan(math.pi / 2 * alpha * u) / math.pi


def nonzero_sign_log_abs(u: Tensor, alpha: float = 1.0) -> Tensor:
    """sign(u) log(1 + |alpha u|), where the sign of 0 is 1."""
    size = torch.log1p((alpha * u).abs())
    return torch.where(u < 0, -size, size)


def erf(u: Tensor, alpha: float = 2.0) -> Tensor:
    """(1 + erf(alpha u)) / 2."""
    return 0.5 * (1.0 + torch.erf(alpha * u))


def piecewise_leaky_relu(u: Tensor, width: float = 1.0, leak: float = 0.01) -> Tensor:
    """A ramp from 0 at u = -width to 1 at u = width, with slope `leak` outside."""
    inside = u.clamp(-width, width)
    return 0.5 + inside / (2.0 * width) + leak * (u - inside)


def fourier(u: Tensor, terms: int = 1, period: float = 8.0) -> Tensor:
    """1/2 + 2 / pi times the sum of sin((2 i - 1) 2 pi u / period) / (2 i - 1) over i = 1, ..., terms."""
    odd = torch.arange(1, 2 * terms, 2, dtype=u.dtype, device=u.device)
    return 0.5 + 2.0 / math.pi * (torch.sin(u.unsqueeze(-1) * odd * (2.0 * math.pi / period)) / odd).sum(-1)


def s2nn(u: Tensor, alpha: float = 4.0, beta: float = 1.0) -> Tensor:
    """sigmoid(alpha u) for u < 0, and 1/2 + beta log(1 + u) for u >= 0."""
    return torch.where(u < 0, torch.sigmoid(alpha * u), 0.5 + beta * torch.log1p(u.clamp_min(0.0)))


def q_pseudo_spike(u: Tensor, alpha: float = 2.0) -> Tensor:
    """p for u < 0, and 1 - p for u >= 0, with p = (1 + 2 |u| / (alpha - 1))^(1 - alpha) / 2."""
    half = 0.5 * (1.0 + 2.0 / (alpha - 1.0) * u.abs()) ** (1.0 - alpha)
    return torch.where(u < 0, half, 1.0 - half)


def leaky_relu(u: Tensor, below: float = 0.01, above: float = 1.0) -> Tensor:
    """below * u for u < 0, and above * u for u >= 0."""
    return torch.where(u < 0, below * u, above * u)


def log_tailed_relu(u: Tensor, alpha: float = 0.0) -> Tensor:
    """alpha u for u <= 0, u for 0 < u <= 1, and 1 + log(u) for u > 1."""
    return torch.where(u <= 0, alpha * u, torch.where(u <= 1, u, 1.0 + torch.log(u.clamp_min(1.0))))


def boxcar(u: Tensor, width: float = 2.0, height: float = 0.5) -> Tensor:
    """A ramp with slope `height` between u = -width / 2 and u = width / 2; its value at u = 0 is 1/2."""
    return 0.5 + height * u.clamp(-width / 2, width / 2)


def straight_through(u: Tensor) -> Tensor:
    """u itself."""
    return u


ANTIDERIVATIVES: dict[str, Callable[..., Tensor]] = {
    f.__name__: f
    for f in (
        piecewise_quadratic,
        piecewise_exp,
        sigmoid,
        soft_sign,
        atan,
        nonzero_sign_log_abs,
        erf,
        piecewise_leaky_relu,
        fourier,
        s2nn,
        q_pseudo_spike,
        leaky_relu,
        log_tailed_relu,
        boxcar,
        straight_through,
    )
}
