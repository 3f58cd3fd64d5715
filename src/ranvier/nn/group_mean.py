"""A readout that takes the mean over groups of neurons."""

from torch import Tensor, nn


class GroupMean(nn.Module):
    """The mean of every `votes` consecutive neurons.

    x [..., C * votes] -> [..., C], with any leading axes. Fang et al., ICCV 2021, use it after the last layer.

    >>> import torch, ranvier
    >>> ranvier.GroupMean(2)(torch.tensor([[1.0, 0.0, 1.0, 1.0]]))
    tensor([[0.5000, 1.0000]])
    """

    def __init__(self, votes: int = 10):
        super().__init__()
        if isinstance(votes, bool) or not isinstance(votes, int) or votes < 1:
            raise ValueError(f"GroupMean: votes must be a whole number of at least 1, got {votes!r}")
        self.votes = votes

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 0 or x.shape[-1] % self.votes:
            raise ValueError(
                f"GroupMean: the last axis must be a multiple of votes={self.votes}, got shape {tuple(x.shape)}"
            )
        return x.unflatten(-1, (-1, self.votes)).mean(-1)

    def extra_repr(self) -> str:
        return f"votes={self.votes}"
