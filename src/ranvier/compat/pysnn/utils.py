"""PySNN's functions for shapes, spike trains and clamping."""

from typing import Any

import torch
from torch import Tensor

from ranvier.compat.rows import also


@also(h="h_in", w="w_in")
def conv2d_output_shape(
    h_in: int, w_in: int, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1
) -> tuple[int, int]:
    """Height and width after a convolution, as torch's Conv2d truncates them."""
    kernel, strides, pads, gaps = (
        a if isinstance(a, (tuple, list)) else (a, a) for a in (kernel_size, stride, padding, dilation)
    )
    axes = zip((h_in, w_in), kernel, strides, pads, gaps, strict=True)
    high, wide = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes)
    return high, wide


@also(x="spike_array")
def interspike_time(spike_array: Tensor) -> list[int]:
    """Steps between consecutive spikes of one train [T]."""
    return torch.nonzero(spike_array).flatten().diff().tolist()


@also(t="tensor")
def tensor_clamp(tensor: Tensor, min: Any, max: Any) -> Tensor:
    """Clamp to [min, max], which are tensors or numbers."""
    return torch.maximum(torch.minimum(tensor, torch.as_tensor(max)), torch.as_tensor(min))
