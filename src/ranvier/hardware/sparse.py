"""Linear layers in which some connections are missing."""

import math

import torch
from torch import Tensor, nn


def masked_linear(x: Tensor, weight: Tensor, mask: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """Return x @ (weight * mask)^T + bias; x [..., in], weight and boolean mask [out, in]. Masked weights get no
    gradient, and the parameter itself is not changed.
    """
    if mask is None:
        return nn.functional.linear(x, weight, bias)
    if mask.shape != weight.shape:
        raise ValueError(f"masked_linear: mask is {tuple(mask.shape)} but weight is {tuple(weight.shape)} = [out, in]")
    return nn.functional.linear(x, weight * mask.to(weight.dtype), bias)


class MaskedLinear(nn.Module):
    """A linear map without bias in which only some connections exist.

    connections: boolean [out, in], dense or sparse. x [..., in] -> [..., out].

    >>> import torch, ranvier
    >>> layer = ranvier.hardware.MaskedLinear(torch.eye(3, dtype=torch.bool))
    >>> layer(torch.ones(2, 3)).shape
    torch.Size([2, 3])
    """

    mask: Tensor

    def __init__(self, connections: Tensor):
        super().__init__()
        dense = connections.to_dense() if connections.is_sparse else connections
        if dense.dim() != 2:
            raise ValueError(f"MaskedLinear: connections must be [out, in], got shape {tuple(connections.shape)}")
        self.register_buffer("mask", dense.bool())
        self.weight = nn.Parameter(torch.empty(dense.shape))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        return masked_linear(x, self.weight, self.mask)

    def extra_repr(self) -> str:
        out, into = self.mask.shape
        return f"{into}, {out}, connections={int(self.mask.sum())}"
