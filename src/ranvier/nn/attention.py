"""Attention to steps, channels and spatial positions of real-valued sequences: each gets a weight between 0 and 1."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ranvier.nn.length import Whole


class _Gate(nn.Module):
    """Compute a weight in [0, 1] for each of `planes` (steps or channels) from their means and maxima, [B, planes] each
    -> [B, planes].
    """

    def __init__(self, name: str, planes: int, reduction: int):
        super().__init__()
        if isinstance(reduction, bool) or not isinstance(reduction, int) or not 1 <= reduction <= planes:
            raise ValueError(f"{name} must lie between 1 and {planes}, got {reduction!r}")
        self.down = nn.Linear(planes, planes // reduction, bias=False)
        self.up = nn.Linear(planes // reduction, planes, bias=False)

    def forward(self, mean: Tensor, greatest: Tensor) -> Tensor:
        each = (self.up(functional.relu(self.down(m))) for m in (mean, greatest))
        return torch.sigmoid(next(each) + next(each))


class TemporalAttention(Whole):
    """Temporal-wise attention: every step is multiplied by a gate that depends on all steps.

    y[t] = x[t] sigmoid(M(mean) + M(max))[t]. mean and max [T] are taken over the features of each step; M is a network
    of two layers with T // reduction hidden units.

    x [T, B, *features] -> y of the same shape; T = steps. The layer needs the whole sequence, so it cannot be streamed.
    Yao et al., Temporal-wise attention spiking neural networks for event streams classification, ICCV 2021.

    >>> import torch, ranvier
    >>> ranvier.TemporalAttention(8, reduction=4)(torch.rand(8, 2, 3)).shape
    torch.Size([8, 2, 3])
    """

    def __init__(self, steps: int = 8, reduction: int = 4):
        super().__init__(steps)
        self.gate = _Gate("TemporalAttention: reduction", steps, reduction)

    def mix(self, x: Tensor) -> Tensor:
        each = x.flatten(2)
        score = self.gate(each.mean(2).t(), each.amax(2).t()).t()  # [T, B]
        return x * score.view(*score.shape, *(1,) * (x.dim() - 2))


class MultiDimensionalAttention(Whole):
    """Attention to steps, then to channels, then to spatial positions.

    x is multiplied by a gate for each step, then by a gate for each channel (both as in `TemporalAttention`), then by a
    gate for each position: the sigmoid of a convolution of the mean and the maximum over all steps and channels. The
    result is rectified.

    x [T, B, C, H, W] -> y of the same shape; T = steps, C = channels. reduction: two numbers, by which the numbers of
    steps and of channels are divided to get the hidden units of their gates.
    kernel: 3 or 7, the size of the convolution. axes: which of "temporal", "channel", "spatial" are used. Yao et al.,
    Attention spiking neural networks, IEEE TPAMI 2023.

    >>> import torch, ranvier
    >>> ranvier.MultiDimensionalAttention(4, 8)(torch.rand(4, 2, 8, 5, 5)).shape
    torch.Size([4, 2, 8, 5, 5])
    """

    def __init__(
        self,
        steps: int = 4,
        channels: int = 8,
        *,
        reduction: tuple[int, int] = (4, 4),
        kernel: int = 3,
        axes: tuple[str, ...] = ("temporal", "channel", "spatial"),
    ):
        super().__init__(steps)
        name = "MultiDimensionalAttention"
        if not axes or set(axes) - {"temporal", "channel", "spatial"}:
            raise ValueError(f'{name}: axes must name some of "temporal", "channel", "spatial", got {axes!r}')
        if kernel not in (3, 7):
            raise ValueError(f"{name}: kernel must be 3 or 7, got {kernel!r}")
        self.channels = channels
        self.temporal = _Gate(f"{name}: reduction of steps", steps, reduction[0]) if "temporal" in axes else None
        self.channel = _Gate(f"{name}: reduction of channels", channels, reduction[1]) if "channel" in axes else None
        self.spatial = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False) if "spatial" in axes else None

    def mix(self, x: Tensor) -> Tensor:
        if x.dim() != 5 or x.shape[2] != self.channels:
            raise ValueError(
                f"MultiDimensionalAttention: input must be [T, B, {self.channels}, H, W], got shape {tuple(x.shape)}"
            )
        y = x.movedim(0, 1)  # [B, T, C, H, W]
        if self.temporal is not None:
            y = y * self.temporal(y.mean((2, 3, 4)), y.amax((2, 3, 4)))[:, :, None, None, None]
        if self.channel is not None:
            y = y * self.channel(y.mean((1, 3, 4)), y.amax((1, 3, 4)))[:, None, :, None, None]
        if self.spatial is not None:
            planes = y.flatten(1, 2)  # [B, T C, H, W]
            seen = torch.stack([planes.mean(1), planes.amax(1)], 1)
            y = y * torch.sigmoid(self.spatial(seen)).unsqueeze(1)
        return functional.relu(y).movedim(1, 0)
