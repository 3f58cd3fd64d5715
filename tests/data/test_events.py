"""Recordings, read from small files of the real formats."""

import numpy as np
import pytest
import torch

from ranvier import data
from ranvier.data import events

h5py = pytest.importorskip("h5py")


def write_shd(path, recordings, speakers=()):
    """recordings: [(times in seconds, units, label)], laid out as the files of SHD are."""
    with h5py.File(path, "w") as file:
        spikes = file.create_group("spikes")
        for k, (name, kind) in enumerate((("times", np.float16), ("units", np.uint16))):
            column = spikes.create_dataset(name, (len(recordings),), dtype=h5py.vlen_dtype(kind))
            for n, recording in enumerate(recordings):
                column[n] = np.asarray(recording[k], kind)
        file["labels"] = np.array([label for *_, label in recordings], np.uint16)
        if len(speakers):
            file["extra/speaker"] = np.asarray(speakers)


def spoken(count, seed=0):
    random = np.random.RandomState(seed)
    return [(np.sort(random.rand(30) * 1.2), random.randint(0, 700, 30), n % 20) for n in range(count)]


def write_nmnist(path, found):
    """found: [(x, y, polarity, microseconds)]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [[x, y, polarity << 7 | t >> 16, t >> 8 & 255, t & 255] for x, y, polarity, t in found]
    path.write_bytes(np.array(rows, np.uint8).tobytes())


@pytest.fixture
def heidelberg(tmp_path):
    write_shd(tmp_path / "shd_train.h5", spoken(40))
    write_shd(tmp_path / "shd_test.h5", spoken(20, seed=1))
    return tmp_path


@pytest.fixture
def neuromorphic(tmp_path):
    for part, count in (("Train", 4), ("Test", 2)):
        for digit in range(10):
            for k in range(count):
                found = [(digit, 33, 1, 2_600), (digit, 0, 0, 97_500 + k), (0, 0, 1, 150_000)]
                write_nmnist(tmp_path / part / str(digit) / f"{k:05d}.bin", found)
    return tmp_path


def test_shd(heidelberg):
    train, validation, test = data.shd(heidelberg, steps=50, channels=70)
    assert [len(part) for part in (train, validation, test)] == [40, 0, 20]  # two of a class: none to hold back
    x, labels = test[torch.tensor([0, 19])]
    assert x.shape == (50, 2, 70) and x.dtype == torch.float32 and labels.tolist() == [0, 19]
    times, units, _ = spoken(20, seed=1)[19]
    wanted = torch.zeros(50, 70)
    for t, u in zip(times.astype(np.float16).astype(np.float64), units, strict=True):
        if t < 1:
            wanted[int(t / (1 / 50)), u // 10] = 1
    assert torch.equal(x[:, 1], wanted)
    half = data.shd(heidelberg, validation=0.5)
    assert half.train.labels.bincount().tolist() == [1] * 20 == half.validation.labels.bincount().tolist()


def test_speakers_are_held_out(heidelberg):
    with pytest.raises(data.DamagedFile, match="wanted extra/speaker"):
        data.shd(heidelberg, held_out=[3])
    speakers = np.arange(40) % 7
    write_shd(heidelberg / "shd_train.h5", spoken(40), speakers)
    train, validation, test = data.shd(heidelberg, steps=10, channels=7, held_out=[3, 5])
    held = torch.from_numpy(np.isin(speakers, [3, 5]))
    labels = torch.arange(40) % 20
    assert torch.equal(validation.labels, labels[held]) and torch.equal(train.labels, labels[~held])
    whole = data.shd(heidelberg, steps=10, channels=7, validation=0.0).train
    assert torch.equal(validation[:][0], whole[held.nonzero().squeeze(1)][0]) and len(test) == 20
    assert torch.equal(
        data.shd(heidelberg, steps=10, channels=7, held_out=iter([3, 5])).validation.labels, labels[held]
    )
    for wrong in ([7], [3, 99], range(7)):
        with pytest.raises(ValueError, match=r"some of the training speakers \[0, 1, 2, 3, 4, 5, 6\], not all"):
            data.shd(heidelberg, held_out=wrong)
    for wrong in (3, [True], ["3"], [3.0]):
        with pytest.raises(TypeError, match=r"held_out: wanted the numbers of speakers, such as \(11,\), got"):
            data.shd(heidelberg, held_out=wrong)
    assert len(data.shd(heidelberg, steps=10, channels=7, held_out=np.array([3, 5])).validation) == int(held.sum())
    for wrong in (speakers[:9], np.zeros((40, 2), int), speakers / 2):
        write_shd(heidelberg / "shd_train.h5", spoken(40), wrong)
        with pytest.raises(data.DamagedFile, match="speaker"):
            data.shd(heidelberg, held_out=[3])
    write_shd(heidelberg / "shd_train.h5", spoken(40), np.full(40, 3))
    with pytest.raises(ValueError, match="one speaker only; use validation"):
        data.shd(heidelberg, held_out=[3])


def test_ssc_has_a_validation_file(tmp_path):
    for part, count in (("train", 8), ("valid", 5), ("test", 3)):
        write_shd(tmp_path / f"ssc_{part}.h5", spoken(count))
    assert [len(part) for part in data.ssc(tmp_path, steps=10, channels=7)] == [8, 5, 3]


def test_nmnist(neuromorphic):
    parts = data.nmnist(neuromorphic, steps=40, validation=0.25)
    assert [len(part) for part in parts] == [30, 10, 20]
    x, labels = parts.test[:]
    assert x.shape == (40, 20, 2, 34, 34) and labels.bincount().tolist() == [2] * 10
    seven = x[:, int((labels == 7).nonzero()[0])]
    assert seven.nonzero().tolist() == [[1, 1, 33, 7], [39, 0, 0, 7]]  # the third is of the second movement
    assert len(data.nmnist(neuromorphic, share=0.5, validation=0).train) == 20


def test_frames_leave_out_what_is_outside():
    times, places = np.array([-0.01, 0.0, 0.099, 0.1]), np.array([0, 1, 2, 0])
    assert events.frames(times, places, 10, 3, 0.01).nonzero()[0].tolist() == [0, 9]
    assert events.frames(np.array([]), np.array([], int), 2, 3, 0.01).sum() == 0


def test_wrong_files_are_told(tmp_path, heidelberg, monkeypatch):
    monkeypatch.delenv("RANVIER_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"(?s)shd_train\.h5, shd_test\.h5 .*zenkelab"):
        data.shd(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"(?s)Train, Test .*n-mnist"):
        data.nmnist(tmp_path / "empty")
    (heidelberg / "shd_test.h5").write_bytes(b"not hdf5")
    with pytest.raises(ValueError, match="not an HDF5 file"):
        data.shd(heidelberg)
    with h5py.File(heidelberg / "shd_test.h5", "w") as file:
        file["other"] = 1
    with pytest.raises(ValueError, match="wanted spikes/times"):
        data.shd(heidelberg)
    (tmp_path / "odd.bin").write_bytes(b"1234567")
    with pytest.raises(ValueError, match="byte 5: cut short: 2 bytes are left, an event has 5"):
        events.read_nmnist(tmp_path / "odd.bin", 0)
    (tmp_path / "far.bin").write_bytes(bytes([99, 0, 0, 0, 0]))
    with pytest.raises(ValueError, match="column 99, row 0"):
        events.read_nmnist(tmp_path / "far.bin", 0)
    for wrong in ({"steps": 0}, {"channels": 701}, {"duration": 0.0}, {"validation": 1.0}):
        with pytest.raises(ValueError):
            data.shd(heidelberg, **wrong)


@pytest.mark.parametrize("times", [[0.1, np.nan], [0.1, -1.0], [0.1, np.inf]])
def test_times_that_are_none_are_refused(tmp_path, times):
    write_shd(tmp_path / "shd.h5", [([0.1], [3], 0), (times, [3, 4], 1)])
    with pytest.raises(data.DamagedFile, match=r"recording 1 has a spike at (nan|-1.0|inf) s"):
        list(events.read_shd(tmp_path / "shd.h5"))


def test_units_and_columns_that_do_not_fit_are_refused(tmp_path):
    for recording, said in ((([0.1], [700], 0), "units 700 to 700"), (([0.1, 0.2], [1], 0), r"times \(2,\) and units")):
        write_shd(tmp_path / "shd.h5", [recording])
        with pytest.raises(data.DamagedFile, match=said):
            list(events.read_shd(tmp_path / "shd.h5"))


@pytest.mark.parametrize("many", [40, pytest.param(500, marks=pytest.mark.long)])
def test_mutated_shd_files(tmp_path, many):
    """Refused or read, never another error."""
    from test_camera import mutated

    path = tmp_path / "shd.h5"
    write_shd(path, spoken(6))
    raw, refused = path.read_bytes(), 0
    for seed in range(many):
        path.write_bytes(mutated(raw, seed))
        try:
            assert all((r.times >= 0).all() and (r.places < 700).all() for r in events.read_shd(path))
        except data.DamagedFile:
            refused += 1
    assert refused > 5
