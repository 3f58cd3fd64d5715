"""Layers with standardised weights, for use instead of batch norm if the batch is too small for statistics."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def standardised(weight: Tensor, gain: Tensor | None, eps: float) -> Tensor:
    """Return gain (W - mean) / sqrt(var fan_in + eps), with the mean and the (unbiased) variance over the inputs of
    each output.
    """
    axes = tuple(range(1, weight.dim()))
    var, mean = torch.var_mean(weight, dim=axes, keepdim=True)
    fan_in = math.prod(weight.shape[1:])
    weight = (weight - mean) / torch.sqrt(var * fan_in + eps)
    return weight if gain is None else weight * gain


class StandardisedLinear(nn.Linear):
    """Linear map with standardised weights: x [..., in_features] -> [..., out_features].

    W is centred and scaled per output, so that outputs have unit variance if inputs have unit variance. With gain=True,
    a factor per output is learned. Qiao et al., Micro-batch training with batch-channel normalization and weight
    standardization, 2019; Xiao et al., Online training through time for spiking neural networks, NeurIPS 2022.

    >>> import torch, ranvier
    >>> ranvier.StandardisedLinear(4, 3)(torch.rand(8, 2, 4)).shape
    torch.Size([8, 2, 3])
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, gain: bool = True, eps: float = 1e-4):
        super().__init__(in_features, out_features, bias=bias)
        self.gain = nn.Parameter(torch.ones(out_features, 1)) if gain else None
        self.eps = eps

    def forward(self, input: Tensor) -> Tensor:
        return functional.linear(input, standardised(self.weight, self.gain, self.eps), self.bias)


class StandardisedConv2d(nn.Conv2d):
    """Convolution with standardised weights as in `StandardisedLinear`: x [B, C, H, W], arguments as in torch's Conv2d.

    >>> import torch, ranvier
    >>> ranvier.Fold(ranvier.StandardisedConv2d(1, 4, 3))(torch.rand(8, 2, 1, 5, 5)).shape
    torch.Size([8, 2, 4, 3, 3])
    """

    def __init__(self, *arguments: Any, gain: bool = True, eps: float = 1e-4, **given: Any):
        super().__init__(*arguments, **given)
        self.gain = nn.Parameter(torch.ones(self.out_channels, 1, 1, 1)) if gain else None
        self.eps = eps

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, standardised(self.weight, self.gain, self.eps), self.bias)
