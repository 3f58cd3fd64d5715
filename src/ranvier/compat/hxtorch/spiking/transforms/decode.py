"""Decoders: traces [T, B, N] to scores [B, N]."""

from torch import Tensor, nn

from ranvier.hardware.record import decode


class MaxOverTime(nn.Module):
    """The largest value over time; equal values share the gradient."""

    def forward(self, input: Tensor) -> Tensor:
        return decode(input, "max")


class SumOverTime(nn.Module):
    """The sum over time."""

    def forward(self, input: Tensor) -> Tensor:
        return decode(input, "sum")


class MeanOverTime(nn.Module):
    """The mean over time."""

    def forward(self, input: Tensor) -> Tensor:
        return decode(input, "mean")
