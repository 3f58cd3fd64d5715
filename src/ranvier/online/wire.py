"""The weights that drive a layer of neurons, in the form that traces need: a linear map or a convolution."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight
from torch.nn.parameter import UninitializedParameter

from ranvier.backends.traces import Layout
from ranvier.spikes.dense import multiply
from ranvier.spikes.product import few, share, weight_gradient


class Wire:
    """A linear layer or convolution before neurons: a [T, B, *features] -> x [T, B, *features']."""

    def __init__(self, module: Any):
        self.module, self.convolution = module, isinstance(module, nn.Conv2d)

    @classmethod
    def is_one(cls, module: nn.Module) -> bool:
        return isinstance(module, (nn.Linear, nn.Conv2d))

    def check(self, what: str) -> None:
        """Raise an error for convolutions that traces do not support."""
        if not self.convolution:
            return
        plain = self.module.groups == 1 and self.module.padding_mode == "zeros" and self.module.padding != "same"
        if not plain:
            raise ValueError(
                f'{what}: traces support only convolutions with groups=1, padding_mode="zeros" and padding as numbers, '
                f'got {self.module}; use gradient="sltt" or "bptt" for this layer'
            )

    def __call__(self, a: Tensor) -> Tensor:
        """Return the output of the map; its gradient flows to a, but not to the weights, whose gradient comes from
        traces.
        """
        module = self.module
        if any(isinstance(p, UninitializedParameter) for p in module.parameters()):
            with torch.no_grad():
                module(a[0])
        still = {k: v.detach() for k, v in module.named_parameters()}
        return torch.func.functional_call(module, still, (a.flatten(0, 1),)).unflatten(0, a.shape[:2])

    def layout(self, x: Tensor) -> Layout:
        """Return the order in which the neurons of x are stored."""
        if self.convolution:
            return Layout(x.shape[1], x.shape[2], x.shape[3:].numel())
        return Layout(x.shape[1:-1].numel(), x.shape[-1])

    def came(self, a: Tensor) -> Tensor:
        """Return the inputs that the weights of each neuron multiply: [T, R, K], for R rows of K inputs, see
        `Layout`.
        """
        if not self.convolution:
            return a.reshape(len(a), -1, a.shape[-1])
        m, padding = self.module, (0, 0) if self.module.padding == "valid" else self.module.padding
        patches = functional.unfold(a.flatten(0, 1), m.kernel_size, m.dilation, padding, m.stride)  # [T B, K, P]
        return patches.transpose(1, 2).reshape(len(a), -1, patches.shape[1])

    def product(self, g: Tensor, a: Tensor) -> Tensor:
        """Return the gradient of the weight from the inputs a and the output gradient g [T, B, *features']."""
        if not self.convolution:
            return product(g.flatten(0, -2), a.flatten(0, -2))
        m = self.module
        return conv2d_weight(
            a.flatten(0, 1), m.weight.shape, g.flatten(0, 1).contiguous(), m.stride, m.padding, m.dilation, m.groups
        )


def product(g: Tensor, x: Tensor) -> Tensor:
    """Return g^T x [N, K] for g [M, N] and x [M, K], event-driven if few numbers of x are not zero.

    g has just been computed and is still in cache, so the density up to which this is faster is that of the forward
    product.
    """
    columns, width = x.shape[1], g.shape[1]
    if g.dtype == x.dtype == torch.float32 and few(share(x, columns), columns, width):
        return weight_gradient(x.contiguous(), g.contiguous())
    out = g.new_empty(width, columns)
    multiply(g.t(), x.t(), None, out)
    return out
