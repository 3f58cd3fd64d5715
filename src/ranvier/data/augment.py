"""Random augmentation of training data. The given tensors are never modified."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor


def shift(
    x: Tensor,
    max_shift: int,
    axes: Sequence[int] = (-1,),
    generator: Generator | None = None,
    sample_axis: int | None = None,
    wrap: bool = False,
) -> Tensor:
    """Shift x along each of `axes` by a random whole number, uniform in -max_shift..max_shift.

    With `sample_axis` (the batch axis) every sample has its own shift, otherwise all have the same. With `wrap=True`,
    values that leave at one end return at the other end; otherwise they are lost, and zeros fill the gap. x may have
    any shape; the result has the same shape.

    >>> x = torch.arange(1.0, 5.0).view(1, 4)
    >>> shift(x, 1, generator=torch.Generator().manual_seed(0))
    tensor([[0., 1., 2., 3.]])
    """
    if not isinstance(max_shift, int) or max_shift < 0:
        raise ValueError(f"shift: max_shift must be a whole number >= 0, got {max_shift!r}")
    if sample_axis is not None and any(axis % x.dim() == sample_axis % x.dim() for axis in axes):
        raise ValueError(f"shift: axes {tuple(axes)} include the sample axis {sample_axis} of x {tuple(x.shape)}")
    many = 1 if sample_axis is None else x.shape[sample_axis]
    for axis in axes:
        by = torch.randint(-max_shift, max_shift + 1, (many,), generator=generator, device=x.device)
        x = _moved(x, by, axis, sample_axis, wrap)
    return x


def _moved(x: Tensor, by: Tensor, axis: int, sample_axis: int | None, wrap: bool) -> Tensor:
    size, shape = x.shape[axis], [1] * x.dim()
    shape[axis] = size
    source = torch.arange(size, device=x.device).view(shape)  # the index whose value each place gets
    each = [1] * x.dim()
    if sample_axis is not None:
        each[sample_axis] = len(by)
    source = source - by.view(each)
    moved = torch.take_along_dim(x, source.remainder(size).expand(_wide(source, x, axis)), axis)
    return moved if wrap else torch.where((source >= 0) & (source < size), moved, torch.zeros_like(moved))


def _wide(source: Tensor, x: Tensor, axis: int) -> list[int]:
    """Return the shape of x, but with the size of source on `axis`."""
    return [source.shape[k] if k == axis % x.dim() else n for k, n in enumerate(x.shape)]


def jitter_time(spikes: Tensor, deviation: float, generator: Generator | None = None) -> Tensor:
    """Shift every spike by a random number of steps from a rounded normal distribution; spikes that leave the sequence
    are lost.

    spikes `[T, B, *features]` in {0, 1} -> the same shape; if several spikes move to the same step, they become one.
    `deviation` >= 0: standard deviation in steps.

    >>> z = torch.zeros(5, 1, 1)
    >>> z[2] = 1.0
    >>> jitter_time(z, 0.0).flatten()
    tensor([0., 0., 1., 0., 0.])
    """
    if not 0.0 <= deviation < float("inf"):
        raise ValueError(f"jitter_time: deviation is a number of steps >= 0, got {deviation}")
    where = spikes.nonzero()
    draws = torch.randn(len(where), generator=generator, dtype=torch.float32, device=spikes.device)
    steps = where[:, 0] + torch.round(draws * deviation).long()
    stays = (steps >= 0) & (steps < len(spikes))
    moved = torch.zeros_like(spikes)
    moved[(steps[stays], *where[stays, 1:].unbind(1))] = 1.0
    return moved


def drop_events(spikes: Tensor, share: float, generator: Generator | None = None) -> Tensor:
    """Drop every spike independently with probability `share` in [0, 1]. Any shape; the result has the same shape.

    >>> drop_events(torch.ones(2, 1, 2), 1.0).sum()
    tensor(0.)
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"drop_events: share must lie in [0, 1], got {share}")
    keep = torch.rand(spikes.shape, generator=generator, dtype=torch.float32, device=spikes.device) >= share
    return spikes * keep
