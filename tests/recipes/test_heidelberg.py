"""The recipe for files of SHD, on small synthetic files."""

import numpy as np
import pytest
import torch
from torch import Generator

import ranvier as rv
from ranvier.recipes import HeidelbergDigits, override
from ranvier.recipes.heidelberg import NEURONS

h5py = pytest.importorskip("h5py")
SMALL = {"channels": 14, "steps": 12, "net.hidden": 9, "net.delay": 3}


def write(path, speakers, seed):
    """Each of 20 classes spikes in channels and at times of its own, once for each speaker."""
    random, labels = np.random.RandomState(seed), np.tile(np.arange(20), len(speakers))
    with h5py.File(path, "w") as file:
        for name, kind in (("times", np.float16), ("units", np.uint16)):
            file.create_dataset(f"spikes/{name}", (len(labels),), dtype=h5py.vlen_dtype(kind))
        for k, label in enumerate(labels):
            file["spikes/times"][k] = (0.4 * (label // 10) + 0.4 * random.rand(60)).astype(np.float16)
            file["spikes/units"][k] = (label % 10 * 70 + random.randint(0, 70, 60)).astype(np.uint16)
        file["labels"], file["extra/speaker"] = labels.astype(np.uint16), np.repeat(speakers, 20).astype(np.uint16)


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "shd_train.h5", [0, 1, 2, 3, 11], seed=0)
    write(tmp_path / "shd_test.h5", [4, 5], seed=1)
    return tmp_path


@pytest.mark.parametrize("kind", NEURONS)
def test_every_kind_of_net(kind):
    recipe = override(HeidelbergDigits(), SMALL | {"net.kind": kind})
    torch.manual_seed(0)
    net = recipe.build()
    assert sum(isinstance(m, rv.Recurrent) for m in net) == 2 * (kind == "recurrent")
    assert sum(isinstance(m, rv.DelayedLinear) for m in net) == 2 * (kind == "delays")
    assert sum(isinstance(m, rv.SEAdLIF) for m in net) == 2 * (kind == "adlif")
    x = (torch.rand(12, 5, 14) < 0.2).float()
    traces = net(recipe.encode(x, Generator()))
    assert traces.shape == (12, 5, 20)
    recipe.loss()(traces, torch.arange(5)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_training_recordings_are_shifted_along_the_channels():
    x = torch.zeros(12, 30, 14)
    x[3, :, 7] = 1
    moved = override(HeidelbergDigits(), {"shift": 2}).augment(x, Generator().manual_seed(0)).nonzero()
    assert len(moved) == 30 and set(moved[:, 0].tolist()) == {3} and set(moved[:, 2].tolist()) == {5, 6, 7, 8, 9}
    assert torch.equal(override(HeidelbergDigits(), {"shift": 0}).augment(x, Generator()), x)


def test_speakers_and_settings(folder):
    train, validation, test = override(HeidelbergDigits(), SMALL | {"held_out": 2}).splits(folder)
    assert [len(train), len(validation), len(test)] == [80, 20, 40] and train[:][0].shape == (12, 80, 14)
    for wrong in ({"encoding": "rate"}, {"data": "foo"}, {"shift": -1}, {"shift": 14, "channels": 14}):
        with pytest.raises(ValueError, match="heidelberg-digits: "):
            override(HeidelbergDigits(), wrong)
    with pytest.raises(ValueError, match=r"no net\.kind 'delay'; did you mean 'delays'"):
        override(HeidelbergDigits(), {"net.kind": "delay"}).build()


def test_it_learns_what_it_is_shown(folder, tmp_path):
    from rich.console import Console

    given = SMALL | {"epochs": 20, "batch": 10, "lr": 0.02, "net.hidden": 30, "shift": 0}
    out = tmp_path / "run"
    result = rv.train.run("heidelberg-digits", out, data=folder, console=Console(quiet=True), **given)
    assert result.samples == 40 and result.accuracy > 0.5
