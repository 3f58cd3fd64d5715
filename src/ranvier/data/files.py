"""Sets of recordings that stay on disk: each recording is read when it is needed, also in the workers of a
DataLoader.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ranvier.data.aedat import packets, read_aedat2, read_aedat3
from ranvier.data.camera import DamagedFile, read_atis, read_dat
from ranvier.data.collate import Sample, VariableSample
from ranvier.data.frames import ToFrames
from ranvier.data.sets import find, stratify


class Datasets(NamedTuple):
    """The three parts of a set that stays on disk. Choose settings by the results on `validation`; report the results
    on `test`.
    """

    train: "Files"
    validation: "Files"
    test: "Files"


class Files(Dataset):
    """Recordings on disk: sample k is `to_x(read(*items[k]))` and its label.

    items: the arguments of `read` for each recording, such as (path,). labels `[N]`. to_x: a function from the result
    of `read` to x `[T, *features]`.
    variable: whether recordings differ in length; batches then include `lengths`. Only the current batches are in
    memory. A `Files` can be pickled if `read` and `to_x` can (functions of a module, `ToFrames`).

    >>> def read(seed): return torch.rand(5, 3, generator=torch.Generator().manual_seed(seed))
    >>> files = Files(read, [(0,), (1,), (2,)], torch.tensor([0, 1, 0]))
    >>> x, labels = next(iter(torch.utils.data.DataLoader(files, batch_size=3)))
    >>> x.shape, labels
    (torch.Size([5, 3, 3]), tensor([0, 1, 0]))
    """

    def __init__(
        self,
        read: Callable[..., Any],
        items: Sequence[tuple],
        labels: Tensor,
        to_x: Callable[[Any], Tensor] | None = None,
        variable: bool = False,
    ):
        if len(items) != len(labels):
            raise ValueError(f"Files: wanted a label for each recording, got {len(items)} and {len(labels)}")
        self.read, self.items, self.labels, self.to_x, self.variable = read, items, labels, to_x, variable

    def part(self, which: Tensor) -> "Files":
        """Return the recordings with the indices `which` as a new `Files`."""
        items = [self.items[int(k)] for k in which]
        return Files(self.read, items, self.labels[which], self.to_x, self.variable)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, k: int) -> Sample | VariableSample:
        read = self.read(*self.items[k])
        x = read if self.to_x is None else self.to_x(read)
        return (VariableSample if self.variable else Sample)(x, self.labels[k])


def dvs_gesture(folder: str | Path | None = None, to_x: ToFrames | None = None) -> Datasets:
    """DVS128 Gesture: 11 gestures of 29 people, recorded by an event camera; x `[T, B, 2, 128, 128]`.

    to_x: how events become steps; by default 16 steps with equally many events each. The test part has the people
    listed in `trials_to_test.txt` of the set; the validation part has the last four people of `trials_to_train.txt`.
    The files are searched for in the places listed in `fashion_mnist`, under the name `dvs-gesture`. Amir et al., CVPR
    2017.
    """
    first, last = find("dvs-gesture", ("trials_to_train.txt", "trials_to_test.txt"), folder)
    names = [[line.strip() for line in trials.read_text("latin-1").splitlines() if line.strip()]
             for trials in (first, last)]  # fmt: skip
    people = sorted({name.split("_")[0] for name in names[0]})[-4:]
    train = [name for name in names[0] if name.split("_")[0] not in people]
    held = [name for name in names[0] if name.split("_")[0] in people]
    return Datasets(*(_gestures(first.parent, part, to_x or ToFrames(16)) for part in (train, held, names[1])))


def _gestures(folder: Path, names: Sequence[str], to_x: ToFrames) -> Files:
    items, labels = [], []
    for name in names:
        path = folder / Path(name).name
        index = packets(path)
        for label, begin, end in _marked(path.with_name(f"{path.stem}_labels.csv")):
            items.append((path, begin, end, index))
            labels.append(label)
    return Files(read_aedat3, items, torch.tensor(labels, dtype=torch.int64), to_x, to_x.steps is None)


def _marked(path: Path) -> list[tuple[int, int, int]]:
    """Return the gestures of a recording: (class, counted from 0; begin and end in microseconds)."""
    rows, at = [], 0
    for k, line in enumerate(path.read_bytes().splitlines(keepends=True)):
        words = line.strip().split(b",")
        if k and line.strip():
            if len(words) != 3 or not all(word.isdigit() for word in words) or not 1 <= int(words[0]) <= 11:
                raise DamagedFile(path, at, f"wanted class (1 to 11), begin and end in microseconds, got {line!r}")
            rows.append((int(words[0]) - 1, int(words[1]), int(words[2])))
        at += len(line)
    return rows


def cifar10_dvs(folder: str | Path | None = None, to_x: ToFrames | None = None, validation: float = 0.1) -> Datasets:
    """CIFAR10-DVS: 10,000 moving images of 10 classes, recorded by an event camera; x `[T, B, 2, 128, 128]`.

    to_x: how events become steps; by default 10 steps with equally many events each. The set has no official split: the
    last tenth of each class is for testing, as is usual. The folders `airplane` to `truck` are searched for in the
    places listed in `fashion_mnist`, under the name `cifar10-dvs`. Li et al., Frontiers in Neuroscience 11, 2017.
    """
    folders = find("cifar10-dvs", CIFAR10, folder)
    return _classes(read_aedat2, [sorted(f.glob("*.aedat")) for f in folders], (), to_x or ToFrames(10), validation)


CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def n_caltech101(folder: str | Path | None = None, to_x: ToFrames | None = None, validation: float = 0.1) -> Datasets:
    """N-Caltech101: 8,709 images of 101 classes, recorded by a moving event camera; x `[T, B, 2, 180, 240]`.

    to_x: how events become steps; by default 10 steps with equally many events each. The set has no official split: the
    last tenth of each class is for testing. The folder `Caltech101` is searched for in the places listed in
    `fashion_mnist`, under the name `n-caltech101`. Orchard et al., Frontiers in Neuroscience 9, 2015.
    """
    (top,) = find("n-caltech101", ("Caltech101",), folder)
    classes = [sorted(f.glob("*.bin")) for f in sorted(top.iterdir()) if f.is_dir()]
    return _classes(read_atis, classes, ((180, 240),), to_x or ToFrames(10), validation)


def n_cars(folder: str | Path | None = None, to_x: ToFrames | None = None, validation: float = 0.1) -> Datasets:
    """N-CARS: 24,029 recordings of 100 ms, with a car or without; x `[T, B, 2, 100, 120]`, label 1 for a car.

    to_x: how events become steps; by default 10 steps of 10 ms each. The folders `n-cars_train` and `n-cars_test` are
    searched for in the places listed in `fashion_mnist`, under the name `n-cars`. Sironi et al., HATS, CVPR 2018.
    """
    first, last = find("n-cars", ("n-cars_train", "n-cars_test"), folder)
    to_x = to_x or ToFrames(10, dt=0.01)
    whole, test = (_listed(read_dat, [sorted((f / n).glob("*.dat")) for n in ("background", "cars")],
                           ((100, 120),), to_x) for f in (first, last))  # fmt: skip
    train, held = stratify(whole.labels, (1.0 - validation, validation))
    return Datasets(whole.part(train), whole.part(held), test)


def _listed(read: Callable, classes: Sequence[Sequence[Path]], more: tuple, to_x: ToFrames) -> Files:
    items = [(path, *more) for paths in classes for path in paths]
    labels = [label for label, paths in enumerate(classes) for _ in paths]
    if not items:
        raise ValueError("the folders contain no recording")
    return Files(read, items, torch.tensor(labels), to_x, to_x.steps is None)


def _classes(
    read: Callable, classes: Sequence[Sequence[Path]], more: tuple, to_x: ToFrames, validation: float
) -> Datasets:
    """Split a set: the last tenth of each class is for testing, the rest is divided into training and validation."""
    cut = [len(paths) - math.ceil(len(paths) / 10) for paths in classes]
    rest = _listed(read, [paths[:n] for paths, n in zip(classes, cut, strict=True)], more, to_x)
    test = _listed(read, [paths[n:] for paths, n in zip(classes, cut, strict=True)], more, to_x)
    train, held = stratify(rest.labels, (1.0 - validation, validation))
    return Datasets(rest.part(train), rest.part(held), test)
