"""Several processes learn what one does with a batch as large as all of theirs."""

import os
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import ranvier as rv
from ranvier.train.folder import Folder

TASK = """
import os
import signal
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

import ranvier as rv
from ranvier.recipes import Recipe


def samples(count, seed, shape):
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (count,), generator=draw)
    rates = (0.1 + 0.3 * nn.functional.one_hot(labels, 4).repeat_interleave(4, 1)).view(-1, 1, *shape)
    return (torch.rand(count, 12, *shape, generator=draw) < rates).float(), labels


@dataclass(frozen=True)
class Recurrent(Recipe):
    name: ClassVar[str] = "recurrent"
    encoding: str = "none"
    epochs: int = 3
    lr: float = 5e-3
    shape: ClassVar = (16,)

    def splits(self, folder=None):
        return samples(200, 0, self.shape), samples(50, 1, self.shape), samples(100, 2, self.shape)

    def build(self):
        hidden = rv.Recurrent(rv.ALIF(learn=("beta",)), 24)
        return rv.Sequential(rv.Linear(16, 24), hidden, rv.Linear(24, 4), rv.LI(beta=0.95))


@dataclass(frozen=True)
class Conv(Recurrent):
    name: ClassVar[str] = "conv"
    shape: ClassVar = (1, 4, 4)

    def build(self):
        block = rv.Sequential(nn.Conv2d(1, 8, 3, padding=1), rv.LIF(), nn.MaxPool2d(2))
        return rv.Sequential(block, nn.Flatten(), rv.Linear(32, 4), rv.LI(beta=0.95))


@dataclass(frozen=True)
class Mortal(Recurrent):
    name: ClassVar[str] = "mortal"
    shown: ClassVar = []

    def augment(self, x, generator):
        self.shown.append(1)
        first_life = os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0"
        if first_life and os.environ["RANK"] == "1" and len(self.shown) == int(os.environ.get("DIES", -1)):
            os.kill(os.getpid(), signal.SIGKILL)  # in mid-epoch, and the other process waits for its gradient
        return x
"""
SHARED = ("--accelerator", "cpu", "--devices", 2, "--batch", 17)
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(Path(rv.__file__).parents[1]), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
}  # fmt: skip


def elastic():
    """A store of its own for each life: in the one that is shared, the addresses of the dead would be found."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"localhost:{free.getsockname()[1]}"
    rendezvous = ("--rdzv-backend=c10d", f"--rdzv-endpoint={place}", "--max-restarts=1")
    return "-m", "torch.distributed.run", "--nproc-per-node=2", *rendezvous, "-m", "ranvier"


def torchrun(*more):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={port}", *more, "-m", "ranvier"


LAUNCHERS = {
    "devices": lambda: ("-m", "ranvier"), "torchrun": torchrun, "elastic": elastic,
}  # fmt: skip


def command(launcher, kind, *arguments):
    start = LAUNCHERS[launcher]()
    return [sys.executable, *start, "train", f"task.py:{kind}", *map(str, arguments)]


def finish(command, cwd, **more):
    done = subprocess.run(command, cwd=cwd, env=ENVIRONMENT | more, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    (folder / "task.py").write_text(TASK)
    return folder


@pytest.fixture(scope="module")
def alone(place):
    """The figures of one process with twice the batch, a row an epoch."""

    @cache
    def rows(kind):
        finish(command("devices", kind, "--accelerator", "cpu", "--batch", 34, "--clip", 1, "--out", kind), place)
        return Folder(place / kind).read_metrics()

    return rows


LONG = pytest.mark.long
WAYS = [
    ("devices", "ddp", "Recurrent"), ("torchrun", "fsdp", "Conv"),
    *[pytest.param(*way, marks=LONG) for way in (
        ("devices", "ddp", "Conv"), ("devices", "fsdp", "Recurrent"), ("devices", "fsdp", "Conv"),
        ("torchrun", "ddp", "Recurrent"), ("torchrun", "ddp", "Conv"), ("torchrun", "fsdp", "Recurrent"),
    )],
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "strategy", "kind"), WAYS)
def test_two_processes_learn_what_one_does_with_twice_the_batch(place, alone, launcher, strategy, kind):
    out = f"{launcher}-{strategy}-{kind}"
    finish(command(launcher, kind, *SHARED, "--strategy", strategy, "--clip", 1, "--out", out), place)
    rows = zip(alone(kind), Folder(place / out).read_metrics(), strict=True)
    scores = ("train_loss", "validation_loss", "validation_accuracy")
    furthest = max(abs(row[name] - there[name]) for row, there in rows for name in scores)
    print(f"{out}: at most {furthest:.1e} apart")
    assert furthest <= 1e-4
    assert Folder(place / out).read_result()["samples"] == 100
    done = finish([sys.executable, "-m", "ranvier", "eval", out], place)
    assert f"({Folder(place / out).read_result()['correct']} of 100)" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", pytest.param("fsdp", marks=LONG)])
def test_one_of_two_is_killed_and_the_run_ends_as_if_nothing_had_been(place, strategy):
    shared = (*SHARED, "--strategy", strategy, "--keep", 1, "--out")
    finish(command("torchrun", "Mortal", *shared, f"whole-{strategy}"), place)
    done = finish(command("elastic", "Mortal", *shared, f"killed-{strategy}"), place, DIES="9")  # 6 updates an epoch
    assert "SIGKILL" in done.stderr or "exitcode  : -9" in done.stderr or "-9" in done.stderr
    whole, killed = (Folder(place / f"{name}-{strategy}") for name in ("whole", "killed"))
    assert whole.weights.read_bytes() == killed.weights.read_bytes()
    for row, there in zip(whole.read_metrics(), killed.read_metrics(), strict=True):
        assert {k: v for k, v in row.items() if k != "seconds"} == {k: v for k, v in there.items() if k != "seconds"}
