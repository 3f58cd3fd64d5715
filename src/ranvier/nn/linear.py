"""A linear layer that is quick on spikes."""

from typing import Any

import torch
from torch import Tensor, nn

from ranvier.backends import choose
from ranvier.spikes import product


class Linear(nn.Linear):
    """torch's linear layer, whose cost follows the spikes: y = x W^T + b.

    Drop-in for `torch.nn.Linear` (same arguments, same state_dict). x [*, in_features] -> [*, out_features]. On CPU and
    in float32 it measures the share of inputs that are not zero: below about a quarter only the columns of W that
    spiked are added up, and of spikes only the bits are kept for backward; above it the product is torch's. Forward and
    backward decide for themselves. Results differ from torch's only by the order of sums.

    >>> import torch, ranvier
    >>> ranvier.Linear(700, 256)(torch.zeros(100, 64, 700)).shape
    torch.Size([100, 64, 256])
    """

    def forward(self, input: Tensor) -> Any:
        plain = torch.is_autocast_enabled(input.device.type) or choose.transformed()
        if plain or input.shape[-1:] != (self.in_features,):
            return super().forward(input)  # which refuses a wrong width
        if not torch.compiler.is_compiling() and self.weight.dtype == input.dtype:
            bits = product.bits_of(input)
            if bits is not None:
                return product.spike_linear(input, bits, self.weight, self.bias)
        return product.linear(input, self.weight, self.bias)

    def explain(self, x: Tensor) -> str:
        """Which way the product of inputs like x goes."""
        return product.explain(x)
