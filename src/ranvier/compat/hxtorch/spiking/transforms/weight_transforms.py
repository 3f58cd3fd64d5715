"""Weights to hardware weights."""

from torch import Tensor

from ranvier.hardware.clamp import saturating


def linear_saturating(
    weight: Tensor, scale: float = 1.0, min_weight: float = -63.0, max_weight: float = 63.0
) -> Tensor:
    """scale * weight, clamped to [min_weight, max_weight]."""
    return saturating(weight, scale, min_weight, max_weight)
