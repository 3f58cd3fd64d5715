"""SpikingJelly's functions that fold a batch norm in evaluation mode into the convolution before it."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def _fused(conv2d: nn.Conv2d, bn2d: nn.BatchNorm2d) -> tuple[nn.Parameter, nn.Parameter]:
    mean, variance = bn2d.running_mean, bn2d.running_var
    if mean is None or variance is None:
        raise ValueError("fuse_convbn2d: the norm has no running statistics; create it with track_running_stats=True")
    if conv2d.bias is not None:
        raise ValueError("fuse_convbn2d: the convolution before a norm must have no bias; create it with bias=False")
    return fuse_conv_bn_weights(conv2d.weight, None, mean, variance, bn2d.eps, bn2d.weight, bn2d.bias)


def fused_conv2d_weight_of_convbn2d(conv2d: nn.Conv2d, bn2d: nn.BatchNorm2d) -> Tensor:
    """The weight of one convolution that computes the same as convolution and norm in evaluation mode."""
    return _fused(conv2d, bn2d)[0].detach()


def fused_conv2d_bias_of_convbn2d(conv2d: nn.Conv2d, bn2d: nn.BatchNorm2d) -> Tensor:
    """The bias of one convolution that computes the same as convolution and norm in evaluation mode."""
    return _fused(conv2d, bn2d)[1].detach()


@torch.no_grad()
def scale_fused_conv2d_weight_of_convbn2d(
    conv2d: nn.Conv2d, bn2d: nn.BatchNorm2d, k: float | None = None, b: float | None = None
) -> None:
    """Change the convolution so that the fused weight becomes k * weight + b."""
    _fused(conv2d, bn2d)  # raises an error if the two cannot be fused
    if k is not None:
        conv2d.weight.mul_(k)
    if b is not None:
        gain = (bn2d.running_var + bn2d.eps).rsqrt()  # type: ignore[operator]
        gain = gain if bn2d.weight is None else gain * bn2d.weight
        conv2d.weight.add_(b / gain.reshape(-1, 1, 1, 1))


@torch.no_grad()
def scale_fused_conv2d_bias_of_convbn2d(
    conv2d: nn.Conv2d, bn2d: nn.BatchNorm2d, k: float | None = None, b: float | None = None
) -> None:
    """Change the norm so that the fused bias becomes k * bias + b."""
    _fused(conv2d, bn2d)  # raises an error if the two cannot be fused
    if k is not None:
        bn2d.bias.mul_(k)
        bn2d.running_mean.mul_(k)  # type: ignore[union-attr]
    if b is not None:
        bn2d.bias.add_(b)


def fuse_convbn2d(conv2d: nn.Conv2d, bn2d: nn.BatchNorm2d) -> nn.Conv2d:
    """Return one convolution that computes the same as convolution and norm in evaluation mode. Neither is changed."""
    fused = copy.deepcopy(conv2d)
    fused.weight, fused.bias = _fused(conv2d, bn2d)
    return fused
