"""The Hebbian product: the activity of the postsynaptic neuron times that of the presynaptic neuron.

Let y = f(w, x) be any map that is linear in its weight w. The sum of post x pre over steps, batch and places, in the
shape of the weight, equals the gradient of f with respect to w for the input `pre` and the output gradient `post`. So
one function computes it for matrices, convolutions, groups, strides and delays, at the speed of torch's own kernels.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ranvier.spikes import product

REDUCTIONS = ("mean", "sum", "none")


def hebb(synapse: nn.Module | None, pre: Tensor, post: Tensor, reduction: str = "mean") -> Tensor:
    """Return the sum over steps of post x pre, in the shape of the weight of `synapse`.

    synapse: None (a matrix [out, in]), `nn.Linear`, `nn.Conv1d/2d/3d`, or a layer of this package with a method
    `project(weight, x)`. pre [T, B, *in], post [T, B, *out]. reduction over the batch B: "mean" (the sum divided by
    B), "sum", or "none" (an axis B in front: one change per sample). Places that share a weight (convolutions) are
    always summed.

    >>> import torch
    >>> from ranvier.plasticity import hebb
    >>> hebb(None, torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[2.0, 3.0, 4.0]]]))
    tensor([[2., 0.],
            [3., 0.],
            [4., 0.]])
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {list(REDUCTIONS)}, got {reduction!r}")
    for name, x in (("pre", pre), ("post", post)):
        if x.dim() < 3:
            raise ValueError(f"{name} must be a sequence [T, B, *features], got shape {tuple(x.shape)}")
    if pre.shape[:2] != post.shape[:2]:
        raise ValueError(f"pre and post must agree in [T, B], got {tuple(pre.shape[:2])} and {tuple(post.shape[:2])}")
    product = _between(synapse)
    with torch.no_grad():
        if reduction == "none":
            each = zip(pre.split(1, 1), post.split(1, 1), strict=True)
            return torch.stack([product(x, y) for x, y in each])
        total = product(pre, post)
        return total / pre.shape[1] if reduction == "mean" else total


def projection(synapse: nn.Module | None) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the linear map of a synapse without its bias, as a function of (weight, x [T, B, *in])."""
    if synapse is None or isinstance(synapse, nn.Linear):
        return lambda weight, x: functional.linear(x, weight)
    if isinstance(synapse, tuple(_CONVOLUTIONS)):
        return _convolution(synapse)
    if hasattr(synapse, "project"):
        return synapse.project  # type: ignore[return-value]
    raise TypeError(
        f"no Hebbian product for {type(synapse).__name__}; give nn.Linear, nn.Conv1d/2d/3d, a layer with "
        f"project(weight, x), or None for a matrix"
    )


def _between(synapse: nn.Module | None) -> Callable[[Tensor, Tensor], Tensor]:
    if synapse is None or isinstance(synapse, nn.Linear):
        return _dense
    return partial(_gradient, projection(synapse), synapse.weight)  # type: ignore


def _dense(pre: Tensor, post: Tensor) -> Tensor:
    """Return [O, I] from pre [T, B, ..., I] and post [T, B, ..., O]."""
    dtype = torch.promote_types(pre.dtype, post.dtype)
    x, g = (a.detach().flatten(0, -2).to(dtype).contiguous() for a in (pre, post))
    if _few(x, g):
        return product.weight_gradient(x, g)
    return product.weight_gradient(g, x).mT if _few(g, x) else g.mT @ x


def _few(x: Tensor, g: Tensor) -> bool:
    """Whether x [M, K] has so few nonzero numbers that adding rows of g [M, N] is faster than a matrix product."""
    return product.few_of_gradient(product.looked_at(x)[1], x.shape[1], g.shape[1])


def _gradient(project: Callable, weight: Tensor, pre: Tensor, post: Tensor) -> Tensor:
    with torch.enable_grad():
        at = weight.detach().requires_grad_()
        y = project(at, pre.detach().to(weight.dtype))
        if y.shape != post.shape:
            raise ValueError(f"post is {tuple(post.shape)}, but the synapse gives {tuple(y.shape)} for this pre")
        return torch.autograd.grad(y, at, post.detach().to(weight.dtype))[0]


_CONVOLUTIONS = {nn.Conv1d: functional.conv1d, nn.Conv2d: functional.conv2d, nn.Conv3d: functional.conv3d}


def _convolution(layer: Any) -> Callable[[Tensor, Tensor], Tensor]:
    convolve = next(f for kind, f in _CONVOLUTIONS.items() if isinstance(layer, kind))
    if layer.padding_mode != "zeros":
        raise ValueError(f"hebb: padding_mode must be 'zeros', got {layer.padding_mode!r}")

    def project(weight: Tensor, x: Tensor) -> Tensor:
        y = convolve(x.flatten(0, 1), weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)
        return y.unflatten(0, x.shape[:2])

    return project
