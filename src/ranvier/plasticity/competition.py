"""Neurons that compete: lateral inhibition and winner-take-all."""

import torch
from torch import Tensor, nn


class Lateral(nn.Module):
    """Every neuron inhibits all others: z [B, N] -> -strength (sum over the others of z).

    It is meant as the feedback of a recurrent neuron: a neuron that spikes at one step inhibits the others at the next
    step.

    >>> import torch, ranvier
    >>> from ranvier.plasticity import Lateral
    >>> net = ranvier.Recurrent(ranvier.LIF(), Lateral(10.0))
    >>> net(torch.tensor([[[1.1, 0.9]]]).expand(4, 1, 2)).sum(0)
    tensor([[4., 0.]])
    """

    def __init__(self, strength: float):
        super().__init__()
        if not strength >= 0:
            raise ValueError(f"Lateral: strength is how much a spike inhibits, >= 0, got {strength!r}")
        self.strength = strength

    def forward(self, z: Tensor) -> Tensor:
        return self.strength * (z - z.sum(-1, keepdim=True))

    def extra_repr(self) -> str:
        return f"strength={self.strength:g}"


class WinnerTakeAll(nn.Module):
    """The k largest of N values stay, all others become 0: x [..., N] -> the same shape. Of equal values, the first one
    wins.

    >>> import torch
    >>> from ranvier.plasticity import WinnerTakeAll
    >>> WinnerTakeAll()(torch.tensor([0.1, 0.5, 0.3]))
    tensor([0.0000, 0.5000, 0.0000])
    """

    def __init__(self, k: int = 1):
        super().__init__()
        if not isinstance(k, int) or k < 1:
            raise ValueError(f"WinnerTakeAll: k is how many win, a whole number >= 1, got {k!r}")
        self.k = k

    def forward(self, x: Tensor) -> Tensor:
        if self.k > x.shape[-1]:
            raise ValueError(f"WinnerTakeAll: {self.k} of {x.shape[-1]} cannot win")
        order = torch.argsort(x, dim=-1, descending=True, stable=True)[..., : self.k]
        return torch.zeros_like(x).scatter(-1, order, x.gather(-1, order))

    def extra_repr(self) -> str:
        return f"k={self.k}"
