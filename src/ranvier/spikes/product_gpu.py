"""Linear maps and convolutions of spikes on a GPU: torch computes them, but only the bits of the spikes are saved for
backward.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ranvier.backends.autograd import Function
from ranvier.spikes import bits_gpu


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return x weight^T + bias [*, N] for spikes x [*, K]."""
    return _Linear.apply(x, weight, bias)


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, where: tuple) -> Tensor:
    """Return the convolution of spikes x [N, C, H, W]; where: (stride, padding, dilation, groups), the first three as
    pairs.
    """
    return _Convolution.apply(x, weight, bias, where)


class _Linear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(bits_gpu.pack(x.reshape(-1, x.shape[-1])), weight)
        return functional.linear(x, weight, bias)

    @staticmethod
    def gradients(ctx: Any, saved: tuple[Tensor, ...], *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        (packed, weight), (inward, weighs, biases), g = saved, ctx.needs_input_grad, grads[0]
        if g is None:
            return None, None, None
        rows = g.reshape(-1, g.shape[-1])
        g_weight = bits_gpu.gradient(packed, rows, weight.shape[1]) if weighs else None
        return g @ weight if inward else None, g_weight, rows.sum(0) if biases else None


class _Convolution(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, where: tuple) -> Tensor:
        ctx.shape, ctx.where = x.shape, where
        ctx.save_for_backward(bits_gpu.pack(x.reshape(1, -1)), weight)
        return functional.conv2d(x, weight, bias, *where)

    @staticmethod
    def gradients(ctx: Any, saved: tuple[Tensor, ...], *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        (packed, weight), needs, g = saved, ctx.needs_input_grad[:3], grads[0]
        if g is None:
            return None, None, None, None
        x = bits_gpu.unpack(packed, ctx.shape.numel(), g.dtype).view(ctx.shape)
        stride, padding, dilation, groups = ctx.where
        found = torch.ops.aten.convolution_backward(
            g, x, weight, [len(weight)], stride, padding, dilation, False, [0, 0], groups, needs
        )
        return *(one if need else None for one, need in zip(found, needs, strict=True)), None
