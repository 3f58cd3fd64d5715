"""Spikes in memory with one bit per step, and a function that shuffles whole epochs at once."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset

from ranvier.data.collate import Sample


def pack(spikes: Tensor, axis: int = 0) -> Tensor:
    """Pack eight steps into a byte, the first step in the highest bit: an axis of T steps becomes ceil(T / 8) bytes.

    spikes: any shape, nonzero means a spike -> uint8. The layout is that of `numpy.packbits`.

    >>> pack(torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]))
    tensor([129, 128], dtype=torch.uint8)
    """
    bits = (spikes != 0).movedim(axis, 0)
    bytes_ = torch.zeros(-(-len(bits) // 8), *bits.shape[1:], dtype=torch.uint8, device=spikes.device)
    for k in range(8):
        every = bits[k::8].to(torch.uint8)
        bytes_[: len(every)] |= every << (7 - k)
    return bytes_.movedim(0, axis)


def unpack(bytes_: Tensor, steps: int, axis: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Unpack the result of `pack`: uint8 with ceil(T / 8) bytes along `axis` -> zeros and ones, T steps along `axis`.

    >>> unpack(pack(torch.tensor([1.0, 0.0, 1.0])), steps=3)
    tensor([1., 0., 1.])
    """
    rows = bytes_.movedim(axis, 0)
    if len(rows) != -(-steps // 8):
        raise ValueError(f"unpack: {steps} steps need {-(-steps // 8)} bytes, but axis {axis} has {len(rows)}")
    spikes = torch.empty(steps, *rows.shape[1:], dtype=dtype, device=bytes_.device)
    for k in range(min(8, steps)):
        spikes[k::8] = (rows[: len(spikes[k::8])] >> (7 - k)) & 1
    return spikes.movedim(0, axis)


class Packed(Dataset):
    """A set of spike trains in memory, 32 times smaller than float32: `packed[indices]` is a batch.

    spikes `[N, T, *features]`, labels `[N]`. With a slice or indices `[B]`, `packed[which]` is a batch (x `[T, B,
    *features]` float32, labels `[B]`). With one number it is a `Sample` (x `[T, *features]`, its label), from which a
    torch `DataLoader` makes the same batches. `nbytes` is the memory of the spikes.

    >>> packed = Packed(torch.ones(100, 16, 3), torch.zeros(100, dtype=torch.int64))
    >>> packed[torch.tensor([0, 5])][0].shape, packed.nbytes
    (torch.Size([16, 2, 3]), 600)
    >>> x, labels = next(iter(torch.utils.data.DataLoader(packed, batch_size=4, shuffle=True)))
    >>> x.shape
    torch.Size([16, 4, 3])
    """

    def __init__(self, spikes: Tensor, labels: Tensor):
        if spikes.dim() < 3 or len(spikes) != len(labels):
            raise ValueError(
                f"Packed: wanted spikes [N, T, *features] and labels [N], "
                f"got {list(spikes.shape)} and {list(labels.shape)}"
            )
        self.steps, self.labels, self.bytes = spikes.shape[1], labels, pack(spikes, 1)

    @classmethod
    def of_bytes(cls, bytes_: Tensor, labels: Tensor, steps: int) -> "Packed":
        """Make a `Packed` from packed spikes: uint8 `[N, ceil(T / 8), *features]`."""
        if bytes_.shape[1] != -(-steps // 8):
            raise ValueError(f"Packed: {steps} steps need {-(-steps // 8)} bytes, but got {list(bytes_.shape)}")
        new = cls.__new__(cls)
        new.steps, new.labels, new.bytes = steps, labels, bytes_
        return new

    def part(self, which: Tensor | slice) -> "Packed":
        """Return the recordings with the indices `which` as a new `Packed`."""
        return Packed.of_bytes(self.bytes[which], self.labels[which], self.steps)

    @property
    def nbytes(self) -> int:
        return self.bytes.numel()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, which: int | Tensor | slice) -> tuple[Tensor, Tensor]:
        if isinstance(which, int) or (isinstance(which, Tensor) and not which.dim()):
            return Sample(unpack(self.bytes[which], self.steps), self.labels[which])
        return unpack(self.bytes[which].transpose(0, 1), self.steps), self.labels[which]


def shuffler(batch: int) -> Callable[..., tuple[Tensor, Tensor]]:
    """Return a function that shuffles whole epochs: (x `[N, *features]`, labels `[N]`, generator=None) -> both in a new
    random order and divided into batches, `[N // batch, batch, *features]` and `[N // batch, batch]`.

    The N % batch samples that are left over are different ones every time. Less than one whole batch raises a
    ValueError.

    >>> x, labels = shuffler(4)(torch.rand(10, 3), torch.arange(10))
    >>> x.shape, labels.shape
    (torch.Size([2, 4, 3]), torch.Size([2, 4]))
    """
    if not isinstance(batch, int) or batch < 1:
        raise ValueError(f"shuffler: batch must be a whole number >= 1, got {batch!r}")

    def shuffle(x: Tensor, labels: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        if len(x) != len(labels) or len(x) < batch:
            raise ValueError(
                f"shuffler: wanted x [N, ...] and labels [N] with N >= {batch}, "
                f"got {list(x.shape)} and {list(labels.shape)}"
            )
        where = generator.device if generator is not None else x.device
        chosen = torch.randperm(len(x), generator=generator, device=where)[: len(x) // batch * batch].to(x.device)
        return x[chosen].unflatten(0, (-1, batch)), labels[chosen].unflatten(0, (-1, batch))

    return shuffle
