"""Mini-batches from tensors, a torch Dataset or a DataLoader; every epoch can be drawn again.

The order of an epoch depends on (seed, epoch) alone, so a run that stopped within an epoch continues with the next
batch. With several processes, each gets its share of every batch.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

Batch = tuple[Tensor, ...]  # x, labels and, for recordings of different lengths, lengths


def mix(*parts: object) -> int:
    """Return a seed of 63 bits that depends on all parts; similar parts give unrelated seeds."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()) >> 1


class Batches:
    """Batches of x and labels, in a new order every epoch; without a seed, in the order of the data.

    set_epoch: sets the epoch that is drawn next. start: the number of batches that are left out once, to continue a
    run.
    rank, world: the number of this process, and the number of all processes. `share(index)`: the fraction of batch
    `index` that this process has, times `world`; a loss is multiplied by it, so that all samples count equally.
    """

    def __init__(self, batch: int, seed: int | None = None, rank: int = 0, world: int = 1):
        self.batch, self.seed, self.rank, self.world = batch, seed, rank, world
        self.epoch = self.start = 0
        self.sampler, self.batch_sampler = self, None  # Lightning looks for set_epoch there

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def share(self, index: int) -> float:
        return 1.0

    def __len__(self) -> int:
        raise NotImplementedError

    def __iter__(self) -> Iterator[Batch]:
        start, self.start = self.start, 0
        yield from self.drawn(start)

    def drawn(self, start: int) -> Iterator[Batch]:
        raise NotImplementedError


class _Indexed(Batches):
    """Batches of indexed samples: a batch has batch * world samples, and each process gets one of its parts."""

    def __init__(self, samples: int, *args: Any):
        super().__init__(*args)
        self.samples = samples
        if not samples:
            raise ValueError("there are no samples in a part of the data; check what its splits return")

    def __len__(self) -> int:
        return -(-self.samples // (self.batch * self.world))

    def share(self, index: int) -> float:
        whole = min(self.batch * self.world, self.samples - index * self.batch * self.world)
        return self._part(whole)[1] * self.world / whole

    def indices(self, start: int) -> Iterator[Tensor]:
        generator = Generator().manual_seed(mix(self.seed, "order", self.epoch))
        if self.seed is None:
            order = torch.arange(self.samples, device="cpu")
        else:
            order = torch.randperm(self.samples, generator=generator, device="cpu")
        for chosen in order.split(self.batch * self.world)[start:]:
            begin, count = self._part(len(chosen))
            # a process without samples of its own gets the first one, which does not count: its share is 0
            yield chosen[begin : begin + count] if count else chosen[:1]

    def _part(self, whole: int) -> tuple[int, int]:
        """Return the first index and the number of samples of this process's part of a batch of `whole` samples."""
        ends = [whole * k // self.world for k in range(self.world + 1)]
        return ends[self.rank], ends[self.rank + 1] - ends[self.rank]


class OfTensors(_Indexed):
    """Batches of tensors in memory, made by one indexing operation per batch."""

    def __init__(self, x: Tensor, labels: Tensor, time_first: bool, *args: Any):
        super().__init__(len(labels), *args)
        self.x, self.labels, self.time_first = x, labels, time_first

    def drawn(self, start: int) -> Iterator[Batch]:
        for chosen in self.indices(start):
            x = self.x[chosen]
            yield (x.transpose(0, 1) if self.time_first else x), self.labels[chosen]


class OfDataset(_Indexed):
    """Batches of a Dataset with a length, read by `workers` processes."""

    def __init__(self, dataset: Any, time_first: bool, workers: int, *args: Any):
        super().__init__(len(dataset), *args)
        self.dataset, self.workers = dataset, workers
        # default_collate knows how to make batches of the named tuples of ranvier.data
        plain = time_first and not hasattr(dataset[0], "_fields")
        self.collate = sequences if plain else default_collate

    def drawn(self, start: int) -> Iterator[Batch]:
        order = [chosen.tolist() for chosen in self.indices(start)]
        loader = DataLoader(self.dataset, batch_sampler=order, collate_fn=self.collate, num_workers=self.workers)
        yield from map(checked, loader)


class OfLoader(Batches):
    """Batches of a DataLoader, unchanged. With several processes, each gets every `world`-th batch."""

    def __init__(self, loader: Any, *args: Any):
        super().__init__(*args)
        self.loader = loader

    def __len__(self) -> int:
        count = len(self.loader) // self.world
        if not count:
            raise ValueError(f"a loader of {len(self.loader)} batches is too short for {self.world} processes")
        return count

    def drawn(self, start: int) -> Iterator[Batch]:
        with torch.random.fork_rng(devices=[], enabled=self.seed is not None):
            if self.seed is not None:
                torch.manual_seed(mix(self.seed, "order", self.epoch))  # a loader that shuffles draws its order here
            batches = iter(self.loader)
        whole = len(self) * self.world
        for index, batch in enumerate(batches):
            if index >= whole:
                return
            if index % self.world == self.rank and index // self.world >= start:
                yield checked(batch)


def batches(
    part: Any, batch: int, seed: int | None = None, *, time_first: bool = False, workers: int = 0, rank: int = 0,
    world: int = 1,
) -> Batches:  # fmt: skip
    """Return the batches of one part of a data set.

    part: an object with tensors `x` `[N, *features]` and `labels` `[N]`, or a pair of such tensors; a torch Dataset
    whose samples are (x, label); or a DataLoader, whose batches (x, labels) or (x, labels, lengths) are used as they
    are.
    time_first: a sample is a sequence `[T, *features]` and a batch becomes `[T, B, *features]`; sequences of different
    lengths in a Dataset are padded with zeros, and the third element of a batch is `lengths` `[B]`.

    >>> [tuple(x.shape) for x, _ in batches((torch.rand(5, 3), torch.arange(5)), 2)]
    [(2, 3), (2, 3), (1, 3)]
    """
    order = (batch, seed, rank, world)
    if isinstance(part, DataLoader):
        return OfLoader(part, *order)
    pair = part if isinstance(part, tuple) and not hasattr(part, "labels") else None
    x, labels = (
        pair if pair is not None and len(pair) == 2 else (getattr(part, "x", None), getattr(part, "labels", None))
    )
    if isinstance(x, Tensor) and isinstance(labels, Tensor):
        if len(x) != len(labels):
            raise ValueError(f"there are {len(x)} samples x and {len(labels)} labels; pass one label for each sample")
        return OfTensors(x, labels, time_first, *order)
    if pair is not None and any(hasattr(each, "__array__") and not isinstance(each, Tensor) for each in pair):
        raise TypeError("x and labels of a part of the data must be tensors: pass torch.as_tensor of your arrays")
    if isinstance(part, IterableDataset):
        raise TypeError("samples of an IterableDataset have no index; pass a DataLoader of it")
    if isinstance(part, Dataset) or (hasattr(part, "__getitem__") and hasattr(part, "__len__")):
        return OfDataset(part, time_first, workers, *order)
    raise TypeError(
        f"a part of the data must be tensors (x, labels), a torch Dataset or a DataLoader, got {type(part).__name__}"
    )


def sequences(samples: Sequence[tuple[Any, Any]]) -> Batch:
    """Return a batch of samples (x `[T, *features]`, label): x `[T, B, *features]` and labels `[B]`, and lengths `[B]`
    if the samples have different lengths.
    """
    xs = [torch.as_tensor(x) for x, _ in samples]
    labels = default_collate([label for _, label in samples])
    lengths = torch.tensor([len(x) for x in xs])
    padded = pad_sequence(xs)  # [T, B, *features]
    return (padded, labels) if bool((lengths == lengths[0]).all()) else (padded, labels, lengths)


def checked(batch: Any) -> Batch:
    """Return a batch of a loader; raise an error if it does not have the form of a batch."""
    if (
        not isinstance(batch, (tuple, list))
        or len(batch) not in (2, 3)
        or not all(isinstance(b, Tensor) for b in batch)
    ):
        got = [type(b).__name__ for b in batch] if isinstance(batch, (tuple, list)) else type(batch).__name__
        raise TypeError(f"a batch must be tensors (x, labels) or (x, labels, lengths), got {got}")
    return tuple(batch)
