"""Dropout that a chip can implement: neurons are switched off for a whole run."""

import torch
from torch import Tensor

from ranvier.nn.temporal import Temporal, check_sequence


class BatchDropout(Temporal):
    """In training, each neuron is off with probability p for the whole batch and sequence; the others are not rescaled.

    x [T, B, *features] of spikes -> the same shape; p in [0, 1). In evaluation all spikes pass. The mask is part of the
    state, so chunks of one sequence share it.

    >>> import torch, ranvier
    >>> ranvier.hardware.BatchDropout(0.5).eval()(torch.ones(2, 1, 3)).sum()
    tensor(6.)
    """

    relays = True

    def __init__(self, p: float = 0.5):
        super().__init__()
        if not 0.0 <= p < 1.0:
            raise ValueError(f"BatchDropout: p must be in [0, 1), got {p!r}")
        self.p = p

    def run(self, x, state=None, names=()):  # type: ignore[override]
        check_sequence(self, x)
        if state is None:
            shape = x.shape[2:]
            mask = (
                torch.rand(shape, dtype=torch.float32, device=x.device) > self.p
                if self.training
                else x.new_ones(shape, dtype=torch.bool)
            )
            state = {"mask": mask.expand(x.shape[1:])}
        y = dropped(x, state["mask"])
        return y, state, dict.fromkeys(names, y)

    def extra_repr(self) -> str:
        return f"p={self.p:g}"


def dropped(x: Tensor, mask: Tensor) -> Tensor:
    """Return x * mask for a boolean mask that broadcasts to x; the result is not rescaled."""
    return x * mask.to(x.dtype)
