"""Sets that stay on disk, laid out as they are published, with few and small files."""

import subprocess
import sys

import pytest
import torch
from formats import aedat2, aedat3, atis, dat, drawn
from torch.utils.data import DataLoader

from ranvier import data

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture
def gestures(tmp_path):
    names = [[f"user{n:02d}_led.aedat" for n in people] for people in (range(1, 9), range(24, 26))]
    for part, listed in zip(("train", "test"), names, strict=True):
        (tmp_path / f"trials_to_{part}.txt").write_text("\n".join(listed) + "\n")
        for seed, name in enumerate(listed):
            (tmp_path / name).write_bytes(aedat3(drawn("aedat3", 300, seed)))
            rows = "".join(f"{k + 1},{k * 8_000},{k * 8_000 + 6_000}\n" for k in range(11))
            (tmp_path / f"{name[:-6]}_labels.csv").write_text("class,startTime_usec,endTime_usec\n" + rows)
    return tmp_path


def test_gestures_are_cut_out_and_split_by_person(gestures):
    parts = data.dvs_gesture(gestures)
    assert [len(part) for part in parts] == [44, 44, 22]
    people = [{path.name[:6] for path, *_ in part.items} for part in parts]
    assert people[1] == {"user05", "user06", "user07", "user08"} and not people[0] & people[1]
    assert parts.test.labels.bincount().tolist() == [2] * 11
    (x, labels), *_ = DataLoader(parts.train, 8, num_workers=1)
    assert x.shape == (16, 8, 2, 128, 128) and labels.tolist() == list(range(8))
    wanted = [e for e in drawn("aedat3", 300, 0) if 8_000 <= e[0] < 14_000]
    events = parts.train.read(*parts.train.items[1])
    assert events.times.tolist() == [t for t, *_ in wanted]
    long = data.dvs_gesture(gestures, data.ToFrames(dt=1e-3, shrink=4))
    x, labels, lengths = next(iter(DataLoader(long.test, 3)))
    assert x.shape[1:] == (3, 2, 32, 32) and lengths.max() == len(x) <= 6


def test_gestures_that_are_damaged(gestures):
    path = gestures / "user24_led_labels.csv"
    path.write_text("class,startTime_usec,endTime_usec\n1,0,100\n12,0,100\n")
    with pytest.raises(data.DamagedFile, match=r"user24_led_labels.csv, byte 42: wanted class \(1 to 11\)"):
        data.dvs_gesture(gestures)
    path.write_text("class,startTime_usec,endTime_usec\n1,0,100\n")
    raw = (gestures / "user01_led.aedat").read_bytes()
    (gestures / "user01_led.aedat").write_bytes(raw[:-5])
    with pytest.raises(data.DamagedFile, match=r"user01_led.aedat, byte .* cut short"):
        data.dvs_gesture(gestures)


def test_sets_of_one_folder_a_class(tmp_path):
    for seed, name in enumerate(CIFAR10):
        (tmp_path / name).mkdir()
        for k in range(10):
            (tmp_path / name / f"cifar10_{name}_{k}.aedat").write_bytes(aedat2(drawn("aedat2", 50, seed)))
    parts = data.cifar10_dvs(tmp_path, validation=0.3)
    assert [len(part) for part in parts] == [60, 30, 10] and parts.test.labels.tolist() == list(range(10))
    assert {path.stem[-1] for path, *_ in parts.test.items} == {"9"}
    x, label = parts.train[0]
    assert x.shape == (10, 2, 128, 128) and label == 0 and x.sum() > 40
    for name in ("anchor", "ant"):
        (tmp_path / "Caltech101" / name).mkdir(parents=True)
        for k in range(4):
            (tmp_path / "Caltech101" / name / f"image_{k:04d}.bin").write_bytes(atis(drawn("atis", 9, k)))
    parts = data.n_caltech101(tmp_path, data.ToFrames(3))
    assert [len(part) for part in parts] == [6, 0, 2] and parts.test[1][0].shape == (3, 2, 180, 240)
    for part in ("train", "test"):
        for name in ("background", "cars"):
            (tmp_path / f"n-cars_{part}" / name).mkdir(parents=True)
            (tmp_path / f"n-cars_{part}" / name / "obj_000001_td.dat").write_bytes(dat(drawn("dat", 9)))
    parts = data.n_cars(tmp_path, validation=0.0)
    assert [len(part) for part in parts] == [2, 0, 2] and parts.train[1][0].shape == (10, 2, 100, 120)
    assert parts.train.labels.tolist() == [0, 1]


def test_a_set_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RANVIER_DATA", raising=False)
    for load, hint in ((data.dvs_gesture, "research.ibm.com"), (data.cifar10_dvs, "figshare"), (data.n_cars, "n-cars"),
                       (data.n_caltech101, "garrickorchard")):  # fmt: skip
        with pytest.raises(FileNotFoundError, match=hint):
            load(tmp_path)
    with pytest.raises(ValueError, match="a label for each recording, got 1 and 0"):
        data.Files(data.read_dat, [("a",)], torch.empty(0))


STREAM = """
import resource, sys, time
import torch
from torch.utils.data import DataLoader
import ranvier as rv
from ranvier import data
from pathlib import Path
paths = sorted(Path(sys.argv[1]).iterdir())
files = data.Files(data.read_dat, [(p,) for p in paths], torch.arange(len(paths)) % 2, data.ToFrames(8, shrink=4))
net = rv.Sequential(torch.nn.Flatten(), rv.Linear(2 * 25 * 30, 64), rv.LIF(), rv.Linear(64, 2), rv.LI())
def peak():
    return max(resource.getrusage(w).ru_maxrss for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) // 1024
early = None
optimiser = torch.optim.SGD(net.parameters(), 0.01)
for k, (x, labels) in enumerate(DataLoader(files, 8, num_workers=2)):
    optimiser.zero_grad()
    rv.loss.mean_crossentropy()(net(x), labels).backward()
    optimiser.step()
    if k == 4:
        early = peak()
print(early, peak())
"""


@pytest.mark.long
def test_a_large_set_is_streamed(tmp_path):
    """400 MB of files: the memory of a run is that of its first batches."""
    random = torch.Generator().manual_seed(0)
    many = 250_000
    for k in range(200):
        place = torch.randint(0, 100 * 120, (many,), generator=random)
        events = torch.stack([torch.arange(many), place % 120 | (place // 120) << 14], 1)
        head = b"% Height 100\n% Width 120\n" + bytes([0x0C, 8])
        (tmp_path / f"{k:03d}.dat").write_bytes(head + events.int().numpy().tobytes())
    done = subprocess.run([sys.executable, "-c", STREAM, str(tmp_path)], capture_output=True, text=True, check=True)
    early, late = map(int, done.stdout.split())
    assert late - early < 50 and late < 700, (early, late)
