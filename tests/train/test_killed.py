"""kill -9 at any moment, a full disk, a folder that cannot be written: what was kept is whole, and the run goes on."""

import ctypes
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import ranvier as rv
from ranvier.train.folder import Folder

SMALL = ("--set", "net.channels=2", "--set", "net.hidden=16", "--set", "steps=3", "--batch", "64")
TRAIN = ("train", "digits", "--epochs", "12", "--keep", "3", *SMALL, "--out", "run")  # 20 updates an epoch
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(rv.__file__).parents[1])}


def begin(*arguments, cwd, **more):
    command = [sys.executable, "-m", "ranvier", *arguments]
    return subprocess.Popen(
        command, cwd=cwd, env=ENVIRONMENT, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **more
    )


def ranvier(*arguments, cwd, **more):
    """The command's exit status and what it wrote on stderr."""
    process = begin(*arguments, cwd=cwd, **more)
    _, error = process.communicate(timeout=280)
    return process.returncode, error


def until_it_trains(process, folder):
    while not folder.config.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nothing stopped, and how long it took from its first file to its end."""
    place = tmp_path_factory.mktemp("whole")
    process, folder = begin(*TRAIN, cwd=place), Folder(place / "run")
    until_it_trains(process, folder)
    begun = time.monotonic()
    assert process.communicate() == (None, "") and process.returncode == 0
    return folder, time.monotonic() - begun


def killed(cwd, moment):
    """The folder of a run that was killed so many seconds after its first file; None if it had ended by then."""
    process, folder = begin(*TRAIN, cwd=cwd), Folder(cwd / "run")
    until_it_trains(process, folder)
    time.sleep(moment)
    process.kill()
    process.communicate()
    return None if folder.finished else folder


@pytest.mark.parametrize("times", [pytest.param(1, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.long)])
def test_killed_at_random_moments_it_ends_with_the_same_weights(whole, tmp_path, times):
    undisturbed, latest = whole
    draw, count, middle = random.Random(times), 0, 0
    while count < times:
        place = tmp_path / f"{count}-{draw.random()}"
        place.mkdir()
        moment = draw.uniform(0.0, latest)
        if (folder := killed(place, moment)) is None:
            latest = moment  # the undisturbed run took longer: it compiled what these find
            continue
        count += 1
        if folder.checkpoint.exists():
            middle += bool(torch.load(folder.checkpoint, weights_only=True)["place"]["next"])
        assert ranvier("train", "--resume", "run", cwd=place) == (0, "")
        assert folder.weights.read_bytes() == undisturbed.weights.read_bytes()
        for row, other in zip(folder.read_metrics(), undisturbed.read_metrics(), strict=True):
            assert row | {"seconds": 0} == other | {"seconds": 0}
    print(f"{count} kills, {middle} of them left a checkpoint of mid-epoch")
    assert middle or times < 20


def tree(folder):
    return {path.name: path.read_bytes() for path in folder.path.iterdir()}


def keeps_what_it_had(folder, before, error):
    """After a write that failed: one sentence, the last whole checkpoint, and no part of another."""
    assert error.startswith("error: ") and "cannot be written" in error and "Traceback" not in error, error
    assert not [name for name in tree(folder) if name.endswith(".part")]
    assert torch.load(folder.checkpoint, weights_only=True)["global_step"] >= before


@pytest.mark.slow
def test_a_full_disk_keeps_the_last_checkpoint(tmp_path):
    """Another file grows until the disk is full; then there is no room for the next checkpoint beside the last."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", disk], capture_output=True).returncode:
        pytest.skip("only root may mount a small disk; the test of a limit stands for it")
    process = begin(*TRAIN, cwd=disk)
    try:
        folder = Folder(disk / "run")
        until_it_trains(process, folder)
        while not folder.checkpoint.exists():
            time.sleep(0.005)
        with (disk / "other").open("wb", buffering=0) as other:
            with pytest.raises(OSError, match="No space left"):
                while True:
                    other.write(bytes(512))
        _, error = process.communicate(timeout=280)
        assert process.returncode == 2 and "No space left on device" in error
        keeps_what_it_had(folder, 3, error)
        (disk / "other").unlink()
        subprocess.run(["mount", "-o", "remount,size=2m", disk], check=True)  # there is room again
        assert ranvier("train", "--resume", "run", cwd=disk) == (0, "") and folder.finished
    finally:
        process.kill()
        subprocess.run(["umount", disk], check=True)


def no_file_longer(kilobytes):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1000,) * 2)


@pytest.mark.slow
def test_a_write_that_is_refused_keeps_the_last_checkpoint(whole, tmp_path):
    """A limit to the size of a file, above its config and below its checkpoint, as a quota sets one."""
    status, error = ranvier(*TRAIN, cwd=tmp_path, preexec_fn=no_file_longer(5))
    assert status == 2 and "checkpoint.ckpt cannot be written: File too large" in error
    assert {p.name for p in (tmp_path / "run").iterdir()} == {"config.toml"}
    assert ranvier("train", "--resume", "run", cwd=tmp_path) == (0, "")
    folder = Folder(tmp_path / "run")
    assert folder.weights.read_bytes() == whole[0].weights.read_bytes()
    kept = folder.checkpoint.read_bytes()
    longer = ("train", "--resume", "run", "--epochs", "13")
    status, error = ranvier(*longer, cwd=tmp_path, preexec_fn=no_file_longer(20))
    assert status == 2 and "File too large; the one before it is kept" in error
    keeps_what_it_had(folder, 240, error)
    assert folder.checkpoint.read_bytes() == kept
    assert ranvier(*longer, cwd=tmp_path) == (0, "") and len(folder.read_metrics()) == 13


def as_anyone():
    """Root may write anywhere; without this power it heeds a folder's mode as everyone does."""
    ctypes.CDLL(None).prctl(24, 1)  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE: of what is begun from here


@pytest.mark.slow
def test_a_folder_that_cannot_be_written(whole, tmp_path):
    tmp_path.chmod(0o555)
    try:
        status, error = ranvier(*TRAIN, cwd=tmp_path, preexec_fn=as_anyone)
    finally:
        tmp_path.chmod(0o755)
    assert (
        status == 2 and error == "error: the run's folder run cannot be made: Permission denied; choose another --out\n"
    )
    assert not list(tmp_path.iterdir())
    process, folder = begin(*TRAIN, cwd=tmp_path, preexec_fn=as_anyone), Folder(tmp_path / "run")
    until_it_trains(process, folder)
    while not folder.checkpoint.exists():
        time.sleep(0.005)
    folder.path.chmod(0o555)  # in the middle of the run
    try:
        _, error = process.communicate(timeout=280)
        assert process.returncode == 2 and "Permission denied; the one before it is kept" in error
    finally:
        folder.path.chmod(0o755)
    keeps_what_it_had(folder, 3, error)
    assert ranvier("train", "--resume", "run", cwd=tmp_path) == (0, "")
    assert folder.weights.read_bytes() == whole[0].weights.read_bytes()
