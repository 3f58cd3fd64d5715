"""Sets that stay on disk, laid out as they are published, with few and small files."""

import os
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
import os, resource, sys, time
sys.modules["triton"] = None  # for GPUs only: a machine without one does not have it
from pathlib import Path
import torch
from torch import nn
from torch.utils.data import DataLoader
import ranvier as rv
from ranvier import data

def kilobytes(pid, *kinds):
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return sum(int(line.split()[1]) for line in lines if line.split(":")[0] in kinds)

now, peaks = [], []  # MB: this process, and what each worker has for itself
def look():
    now[:] = [kilobytes("self", "Rss") // 1024]
    for worker in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        now.append(kilobytes(worker, "Private_Clean", "Private_Dirty") // 1024)
    peaks.append(tuple(now))

torch.set_num_threads(1)
paths = sorted(Path(sys.argv[1]).iterdir())[: int(sys.argv[2])]
files = data.Files(data.read_dat, [(p,) for p in paths], torch.arange(len(paths)) % 2, data.ToFrames(8, shrink=2))
net = rv.Sequential(nn.Conv2d(2, 16, 5, stride=2), rv.LIF(), nn.Conv2d(16, 40, 7, padding=3), rv.LIF(), nn.Flatten(),
                    rv.Linear(40 * 23 * 28, 2), rv.LI())
optimiser, loss = torch.optim.SGD(net.parameters(), 0.01), rv.loss.mean_crossentropy()
loader, waited, steps = iter(DataLoader(files, 4, num_workers=2)), 0.0, 0
while True:
    before = time.perf_counter()
    if (batch := next(loader, None)) is None:
        break
    if steps:
        waited += time.perf_counter() - before
    else:
        begun = time.perf_counter()
    optimiser.zero_grad()
    loss(net(batch[0]), batch[1]).backward()
    optimiser.step()
    steps += 1
    if steps % 5 == 0:
        look()
took = time.perf_counter() - begun
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(f"{took:.1f} {waited / took:.4f} {peak} {max(sum(p) for p in peaks)} {sum(peaks[0])}")
"""


# glibc gives back what is free (docs/how-to/own-data.md)
FRUGAL = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "131072", "MALLOC_MMAP_THRESHOLD_": "131072"}


@pytest.mark.long
def test_a_large_set_is_streamed(tmp_path):
    """2 GB of files: what a run holds is what its first batches held, and training waits for none of it."""
    random = torch.Generator().manual_seed(0)
    many = 250_000
    for k in range(1000):
        place = torch.randint(0, 100 * 120, (many,), generator=random)
        events = torch.stack([torch.arange(many), place % 120 | (place // 120) << 14], 1)
        head = b"% Height 100\n% Width 120\n" + bytes([0x0C, 8])
        (tmp_path / f"{k:04d}.dat").write_bytes(head + events.int().numpy().tobytes())
    script, env = [sys.executable, "-c", STREAM, str(tmp_path)], os.environ | FRUGAL
    for count in ("24", "1000"):  # the kernels are compiled first, which takes some 60 MB
        done = subprocess.run([*script, count], capture_output=True, text=True, check=True, env=env)
    took, waited, trains, together, early = map(float, done.stdout.split())
    print(f"{took:.0f} s, waited {waited:.1%}; peak {trains:.0f} MB, with workers {together:.0f}, early {early:.0f}")
    assert waited < 0.1
    assert trains < 500 and together < 550 and together - early < 30
