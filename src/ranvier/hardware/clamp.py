"""How the synapses of a chip change a weight: saturation, and rounding to whole numbers."""

import torch
from torch import Tensor

LARGEST = 63  # the largest weight of six bits


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:  # type: ignore[override]
        return x.round()

    @staticmethod
    def backward(ctx, *grads: Tensor) -> Tensor:
        return grads[0]


def quantise(weight: Tensor, step: float) -> Tensor:
    """Return the nearest multiple of `step` > 0, halves to even; the gradient passes unchanged.

    >>> import torch, ranvier
    >>> ranvier.hardware.quantise(torch.tensor([0.2, 0.3, -0.8]), 0.5)
    tensor([ 0.0000,  0.5000, -1.0000])
    """
    if not step > 0:
        raise ValueError(f"quantise: step must be above 0, got {step!r}")
    return _Round.apply(weight / step) * step  # type: ignore[return-value]


def saturating(weight: Tensor, scale: float = 1.0, low: float = -LARGEST, high: float = LARGEST) -> Tensor:
    """Return scale * weight, clamped to [low, high]; the gradient is zero where it is clamped.

    >>> import torch, ranvier
    >>> ranvier.hardware.saturating(torch.tensor([-2.0, 0.5]), scale=64.0)
    tensor([-63.,  32.])
    """
    if not low < high:
        raise ValueError(f"saturating: low must be below high, got {low!r} and {high!r}")
    return torch.clamp(scale * weight, low, high)


def exponential(weight: Tensor, cap: float = 1.5, start: float = 61.0, quantised: bool = False) -> Tensor:
    """Return weights that approach the limit of the chip smoothly: small weights are unchanged, and larger weights
    approach +-cap.

    With k = 1 / (1 - start / 63), the result is w if |w| <= cap start / 63, and otherwise
    sign(w) cap (1 - exp(-k (|w| / cap - start / 63)) / k).
    Value and slope are continuous. start: in (0, 63), where 63 stands for cap. quantised: round to multiples of
    cap / 63.

    >>> import torch, ranvier
    >>> ranvier.hardware.exponential(torch.tensor([1.0, 3.0]))
    tensor([1.0000, 1.5000])
    """
    if not 0 < start < LARGEST:
        raise ValueError(f"exponential: start must lie between 0 and {LARGEST}, got {start!r}")
    if not cap > 0:
        raise ValueError(f"exponential: cap must be above 0, got {cap!r}")
    k = 1.0 / (1.0 - start / LARGEST)
    past = weight.abs() / cap - start / LARGEST
    # below the knee the exponential is not used; if it overflowed there, its gradient would be 0 * inf
    rolled = weight.sign() * cap * (1.0 - torch.exp(-k * past.clamp(min=0.0)) / k)
    clamped = torch.where(past <= 0, weight, rolled)
    return quantise(clamped, cap / LARGEST) if quantised else clamped


def six_bits(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Split a signed weight in chip units into two unsigned six-bit weights: (excitatory, inhibitory), whole numbers in
    [0, 63].

    Halves are rounded away from zero; larger values saturate.

    >>> import torch, ranvier
    >>> ranvier.hardware.six_bits(torch.tensor([-1.5, 0.4, 99.0]))
    (tensor([ 0.,  0., 63.]), tensor([2., 0., 0.]))
    """
    return tuple((side.clamp(0.0, LARGEST) + 0.5).floor() for side in (weight, -weight))  # type: ignore[return-value]
