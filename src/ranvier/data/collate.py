"""Make batches from samples: time becomes axis 0, and recordings of different lengths are padded at their end."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import _utils


class Sample(NamedTuple):
    """One of many recordings of the same length: x `[T, *features]`, and its label. A `DataLoader` makes batches (x
    `[T, B, *features]`, labels `[B]`) of them without a `collate_fn`.
    """

    x: Tensor
    label: Tensor


class VariableSample(NamedTuple):
    """One of many recordings of different lengths: x `[T, *features]`, and its label. A `DataLoader` makes batches (x
    `[T, B, *features]`, labels `[B]`, lengths `[B]`) of them without a `collate_fn`, as `collate` does.
    """

    x: Tensor
    label: Tensor


def pad(recordings: Sequence[Tensor], value: float = 0.0) -> tuple[Tensor, Tensor]:
    """Stack recordings `[T_b, *features]`, padded at their end with `value`: x `[T, B, *features]`, where T is the
    longest length, and lengths `[B]` int64. Sparse recordings become dense.

    >>> x, lengths = pad([torch.ones(2, 3), torch.ones(4, 3)])
    >>> x.shape, lengths, x[:, 0, 0]
    (torch.Size([4, 2, 3]), tensor([2, 4]), tensor([1., 1., 0., 0.]))
    """
    if not len(recordings):
        raise ValueError("pad: there is no recording; give at least one [T, *features]")
    whole = [x.to_dense() if x.is_sparse else x for x in recordings]
    like = whole[0]
    for k, x in enumerate(whole):
        if not x.dim() or not len(x) or x.shape[1:] != like.shape[1:] or x.dtype != like.dtype:
            raise ValueError(
                f"pad: recording {k} is {list(x.shape)} {x.dtype}, the first is {list(like.shape)} {like.dtype}; "
                f"wanted [T, *features] with T >= 1, and the same features and type in all"
            )
    lengths = torch.tensor([len(x) for x in whole], device="cpu")
    out = like.new_full((int(lengths.max()), len(whole), *like.shape[1:]), value)
    for b, x in enumerate(whole):
        out[: len(x), b] = x
    return out, lengths


def collate(samples: Sequence[tuple[Any, Any]]) -> tuple[Tensor, Tensor, Tensor]:
    """Make a batch (x `[T, B, *features]`, labels `[B]`, lengths `[B]`), padded with zeros, from pairs (x `[T_b,
    *features]`, label).

    Use it as `DataLoader(..., collate_fn=collate)`. The x of a pair may be an array or a sparse tensor. Losses and
    metrics have an argument `lengths`.

    >>> x, labels, lengths = collate([(torch.ones(2, 3), 0), (torch.ones(4, 3), 1)])
    >>> x.shape, labels, lengths
    (torch.Size([4, 2, 3]), tensor([0, 1]), tensor([2, 4]))
    """
    x, lengths = pad([torch.as_tensor(x) for x, _ in samples])
    return x, _labels(samples), lengths


def _labels(samples: Sequence[tuple[Any, Any]]) -> Tensor:
    return torch.stack([torch.as_tensor(label) for _, label in samples])


def _stack(samples: Sequence[Any], **_: Any) -> tuple[Tensor, Tensor]:
    x, labels, lengths = collate(samples)
    if int(lengths.min()) != len(x):
        raise ValueError(
            f"the recordings of this batch have {int(lengths.min())} to {len(x)} steps; "
            "give VariableSample if their lengths differ"
        )
    return x, labels


# torch's default_collate looks up this table, so a DataLoader needs no collate_fn for these two classes.
_utils.collate.default_collate_fn_map.update({Sample: _stack, VariableSample: lambda samples, **_: collate(samples)})
