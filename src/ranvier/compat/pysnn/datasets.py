"""PySNN's data sets: Boolean functions, and folders of event files. Lists of (file, label) replace its data frames."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ranvier.compat.pysnn.file_io import read_2d_spikes

Rows = list[tuple[str, int]]


class Boolean(Dataset):
    """The four pairs of bits, each bit repeated `repeats` times: (bits [1, 2 * repeats], label [1])."""

    labels: ClassVar[tuple[int, ...]] = ()

    def __init__(
        self, data_encoder: Any = None, data_transform: Any = None, lbl_transform: Any = None, repeats: int = 1
    ):
        self.data_encoder, self.data_transform, self.lbl_transform = data_encoder, data_transform, lbl_transform
        pairs = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        self.data = pairs.repeat_interleave(int(repeats), 1)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, idx: int) -> tuple[Any, Any]:
        if not self.labels:
            raise ValueError("Boolean has no labels; use XOR, AND or OR")
        sample, label = self.data[idx].unsqueeze(0), torch.tensor([self.labels[idx]])
        for change in (self.data_transform, self.data_encoder):
            sample = change(sample) if change else sample
        return sample, self.lbl_transform(label) if self.lbl_transform else label


class XOR(Boolean):
    """Exclusive or of two bits.

    >>> from ranvier.compat.pysnn.datasets import XOR
    >>> XOR(repeats=2)[1]
    (tensor([[1., 1., 0., 0.]]), tensor([1]))
    """

    labels = (0, 1, 1, 0)


class AND(Boolean):
    """And of two bits."""

    labels = (0, 0, 0, 1)


class OR(Boolean):
    """Or of two bits."""

    labels = (0, 1, 1, 1)


class DiscretizeFloat:
    """Round towards zero to integers."""

    def __call__(self, tensor: Tensor) -> Tensor:
        return tensor.int()


class BooleanNoise:
    """Add noise to bits: 0 -> a number in [0, low_thresh), 1 -> a number in [high_thresh, 1); the data set is not
    changed.
    """

    def __init__(self, low_thresh: float, high_thresh: float):
        self.low_thresh, self.high_thresh = low_thresh, high_thresh

    def __call__(self, x: Tensor) -> Tensor:
        drawn = torch.rand_like(x)
        return torch.where(x > 0, self.high_thresh + drawn * (1 - self.high_thresh), drawn * self.low_thresh)


class Intensity:
    """Multiply by `intensity`."""

    def __init__(self, intensity: float):
        self.intensity = intensity

    def __call__(self, x: Tensor) -> Tensor:
        return x * self.intensity


class NeuromorphicDataset(Dataset):
    """Each sample is one file of events, as a tensor [2, height, width, sample_length / sampling_time]; times in ms.

    data: (file, label) for each sample.
    """

    def __init__(
        self, data: Rows, sampling_time: float, sample_length: float, height: int, width: int,
        im_transform: Callable | None = None, lbl_transform: Callable | None = None,
    ):  # fmt: skip
        self.data, self.im_transform, self.lbl_transform = data, im_transform, lbl_transform
        self.sampling_time, self.sample_length, self.height, self.width = sampling_time, sample_length, height, width
        self.n_time_bins = int(sample_length / sampling_time + 1e-6)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, idx: int) -> tuple[Any, Any]:
        file, label = self.data[idx]
        empty = torch.zeros(2, self.height, self.width, self.n_time_bins)
        sample = read_2d_spikes(file).to_spike_tensor(empty, sampling_time=self.sampling_time)
        sample = self.im_transform(sample) if self.im_transform else sample
        return sample, self.lbl_transform(label) if self.lbl_transform else label


def _rows(root: str | Path) -> Rows:
    """Return (file, label) of the files in every folder of root. Labels number the folders in alphabetical order."""
    folders = sorted(p for p in Path(root).iterdir() if p.is_dir())
    return [(str(file), label) for label, folder in enumerate(folders) for file in sorted(folder.iterdir())]


def train_test(root_dir: str | Path, train_size: float = 0.8, seed: int = 42) -> tuple[Rows, Rows]:
    """Shuffle the files below root_dir, and split them in two lists: a share `train_size` of them, and the rest."""
    rows = _rows(root_dir)
    random.Random(seed).shuffle(rows)
    cut = int(len(rows) * train_size)
    return rows[:cut], rows[cut:]


def _pair(train: Rows, test: Rows, *how: Any) -> tuple[NeuromorphicDataset, NeuromorphicDataset]:
    return NeuromorphicDataset(train, *how), NeuromorphicDataset(test, *how)


def ncaltech_train_test(
    root: str | Path, sampling_time: float = 1, sample_length: float = 300, height: int = 200, width: int = 300,
    im_transform: Callable | None = None, lbl_transform: Callable | None = None,
) -> tuple[NeuromorphicDataset, NeuromorphicDataset]:  # fmt: skip
    """N-Caltech101 from a folder with one folder per class; 80 % of the files are the training set."""
    return _pair(*train_test(root), sampling_time, sample_length, height, width, im_transform, lbl_transform)


def nmnist_train_test(
    root: str | Path, sampling_time: float = 1, sample_length: float = 300, height: int = 34, width: int = 34,
    im_transform: Callable | None = None, lbl_transform: Callable | None = None,
) -> tuple[NeuromorphicDataset, NeuromorphicDataset]:  # fmt: skip
    """N-MNIST from the folders root/Train and root/Test."""
    parts = _rows(Path(root) / "Train"), _rows(Path(root) / "Test")
    return _pair(*parts, sampling_time, sample_length, height, width, im_transform, lbl_transform)


def ncars_train_test(
    root: str | Path, sampling_time: float = 1, sample_length: float = 100, height: int = 100, width: int = 120,
    im_transform: Callable | None = None, lbl_transform: Callable | None = None,
) -> tuple[NeuromorphicDataset, NeuromorphicDataset]:  # fmt: skip
    """N-Cars from the folders root/train and root/test."""
    parts = _rows(Path(root) / "train"), _rows(Path(root) / "test")
    return _pair(*parts, sampling_time, sample_length, height, width, im_transform, lbl_transform)
