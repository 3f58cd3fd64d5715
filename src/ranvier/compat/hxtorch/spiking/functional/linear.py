"""Linear maps with the limits of hardware weights, dropout of neurons, and injected input spikes."""

from typing import Any

from torch import Tensor
from torch.nn.functional import linear as _linear

from ranvier.hardware.clamp import LARGEST, exponential, quantise
from ranvier.hardware.dropout import dropped
from ranvier.hardware.sparse import masked_linear
from ranvier.ops import inject


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input [..., in] @ weight [out, in]^T + bias."""
    return _linear(input, weight, bias)


def linear_sparse(
    input: Tensor, weight: Tensor, connections: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """`linear` through the connections [out, in] that are True; the others get no gradient, and the weight itself is
    not changed.
    """
    return masked_linear(input, weight, connections, bias)


def linear_exponential_clamp(
    inputs: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    cap: float = 1.5,
    start_weight: float = 61.0,
    quantize: bool = False,
) -> Tensor:
    """`linear` with limited weights: above the share start_weight / 63 of cap, they approach +-cap exponentially.

    See `ranvier.hardware.exponential`.
    """
    return _linear(inputs, exponential(weight, cap, start_weight, quantize), bias)


class WeightRounding:
    """`WeightRounding.apply(cap, weight)`: the nearest multiple of cap / 63; the gradient passes unchanged."""

    @staticmethod
    def apply(cap: float, weight: Tensor) -> Tensor:
        return quantise(weight, cap / LARGEST)


def batch_dropout(input: Tensor, mask: Tensor) -> Tensor:
    """input [T, B, N] times mask [N], without rescaling."""
    return dropped(input, mask)


def input_neuron(input: Tensor, hw_data: Any = None) -> Tensor:
    """Return the input. If spikes were recorded on hardware, return their values with the gradient of the input, cut to
    the shorter of the two.
    """
    spikes = getattr(hw_data, "spikes", hw_data)
    if spikes is None:
        return input
    steps = min(len(input), len(spikes))
    return inject(input[:steps], spikes[:steps])
