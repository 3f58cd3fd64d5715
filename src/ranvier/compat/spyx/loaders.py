"""Spyx's loaders. They read a whole data set from files, pack eight steps into a byte, and divide it into batches.

An epoch is a `State(obs [batches, batch, ceil(T / 8), *shape] uint8, labels [batches, batch])`; an incomplete last
batch is left out. `ranvier.data.packed.unpack(obs, T, axis)` unpacks the steps, as `numpy.unpackbits` does. Unlike in
Spyx, nothing is downloaded: `download_dir` is the folder of the files (None: the default folders, see `ranvier.data`).
The validation part has the same share of every class.
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ranvier.compat.spyx.keys import Key, generator
from ranvier.data import encode, events, packed, sets

Folder = str | Path | None


class State(NamedTuple):
    """A batch, or all batches of an epoch."""

    obs: Any
    labels: Any


class _Loader:
    """Base class: the training, validation and test part of a data set, in batches."""

    def __init__(self, parts: Any, batch_size: int, obs_shape: tuple[int, ...], classes: int):
        self.parts = dict(zip(("train", "val", "test"), parts, strict=True))
        self.batch_size, self.obs_shape, self.act_shape = batch_size, obs_shape, (classes,)
        self.train_len, self.val_len, self.test_len = map(len, self.parts.values())

    def train_epoch(self, key: Key = None) -> State:
        """The training part, shuffled by this key, divided into batches."""
        part = self._full("train")
        return State(*packed.shuffler(self.batch_size)(part.bytes, part.labels, generator(key)))

    def val_epoch(self) -> State:
        """The validation part, not shuffled."""
        return self.prestage("val")

    def test_epoch(self) -> State:
        """The test part, not shuffled."""
        return self.prestage("test")

    def prestage(self, split: str = "train") -> State:
        """A part ("train", "val" or "test"), not shuffled, divided into batches."""
        part, size = self._full(split), self.batch_size
        whole = len(part) // size * size
        return State(*(a[:whole].unflatten(0, (-1, size)) for a in (part.bytes, part.labels)))

    def _full(self, split: str) -> packed.Packed:
        if split not in self.parts:
            raise ValueError(f"prestage: split must be one of {list(self.parts)}, got {split!r}")
        part = self.parts[split]
        if len(part) < self.batch_size:
            raise ValueError(f"the {split} part has {len(part)} samples, not one batch of {self.batch_size}")
        return part


class SHD_loader(_Loader):
    """Spiking Heidelberg Digits: obs of `channels` channels, one second in sample_T steps."""

    def __init__(
        self, batch_size: int = 256, sample_T: int = 128, channels: int = 128, val_size: float = 0.2,
        download_dir: Folder = None,
    ):  # fmt: skip
        parts = events.shd(download_dir, sample_T, channels, validation=val_size)
        super().__init__(parts, batch_size, (channels,), 20)


class NMNIST_loader(_Loader):
    """N-MNIST: obs [2, 34, 34] (polarity, rows, columns), the first movement of the camera in sample_T steps."""

    def __init__(
        self, batch_size: int = 32, sample_T: int = 40, data_subsample: float = 1, val_size: float = 0.3, key: int = 0,
        download_dir: Folder = None,
    ):  # fmt: skip
        parts = events.nmnist(download_dir, sample_T, val_size, data_subsample)
        super().__init__(parts, batch_size, (34, 34, 2), 10)


class MNIST_loader(_Loader):
    """MNIST: obs [1, 28, 28], where a pixel fires in each of sample_T steps with probability pixel * max_rate."""

    def __init__(
        self, batch_size: int = 32, sample_T: int = 64, max_rate: float = 0.75, val_size: float = 0.3,
        data_subsample: float = 1, key: int = 0, download_dir: Folder = None,
    ):  # fmt: skip
        given, draws = sets.mnist(download_dir), generator(key)
        x, labels = (torch.cat([a, b]) for a, b in zip(given.train, given.validation, strict=True))
        train, val = sets.stratify(labels, (1.0 - val_size, val_size), key)
        train, val = (part[: int(len(part) * data_subsample)] for part in (train, val))

        def drawn(x: Tensor, labels: Tensor) -> packed.Packed:
            rows = [packed.pack(encode.rate(some, sample_T, max_rate, draws)).transpose(0, 1) for some in x.split(256)]
            return packed.Packed.of_bytes(torch.cat(rows), labels, sample_T)

        parts = drawn(x[train], labels[train]), drawn(x[val], labels[val]), drawn(*given.test)
        super().__init__(parts, batch_size, (28, 28), 10)
