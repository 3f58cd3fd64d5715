"""Run folders that were damaged, or made to do harm: read or refused in a sentence, and nothing in them is run."""

import os
import pickle
import resource
import shutil
import sys

import pytest
import torch
from rich.console import Console

import ranvier as rv
from ranvier.beside import beside
from ranvier.recipes.start import write_start
from ranvier.train.folder import Folder
from ranvier.train.running import go_on, prepare, read_config

sys.path.append(os.path.join(os.path.dirname(__file__), "..", "data"))
from test_camera import mutated

SILENT = Console(quiet=True)
SMALL = {"epochs": 2, "batch": 100, "net.hidden": 8}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of a recipe in a file, stopped in mid-epoch by its checkpoint."""
    place = tmp_path_factory.mktemp("run")
    path, kind = write_start("damaged_task", place)
    rv.train.run(f"{path}:{kind}", place / "run", console=SILENT, keep=3, **SMALL)
    yield Folder(place / "run")
    sys.modules.pop("damaged_task", None)


def shown(folder, other):
    result = go_on(folder.path)
    assert result.lines() and result._repr_html_()
    assert beside([folder.path, other.path]).rows


def settings(folder, other):
    plan, scale, _ = read_config(folder)
    assert beside([folder.path, other.path]).names
    if plan.batch <= 1000 and plan.net.hidden <= 1000 and plan.epochs <= 1000:  # else it asks for much, rightly
        prepare(plan, None, scale)


def another_epoch(folder, other):
    go_on(folder.path, epochs=3, console=SILENT)


USES = {
    "config.toml": settings, "metrics.csv": shown, "result.json": shown, "weights.safetensors": shown,
    "checkpoint.ckpt": another_epoch,
}  # fmt: skip


@pytest.mark.parametrize("many", [12, pytest.param(500, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", USES)
def test_a_damaged_file_of_a_run(run, tmp_path, name, many):
    raw, refused, before, folder = (run.path / name).read_bytes(), 0, 0, Folder(tmp_path / "run")
    shutil.copytree(run.path, folder.path)
    USES[name](folder, run)  # whole as it is, it is read
    shutil.rmtree(folder.path)
    for seed in range(many):
        shutil.copytree(run.path, folder.path)
        (folder.path / name).write_bytes(mutated(raw, seed))
        try:
            USES[name](folder, run)
        except (ValueError, OSError) as told:
            # a setting that is read and cannot work is told by its name, all else by its file
            assert name == "config.toml" or str(folder.path) in str(told), told
            refused += 1
        except Exception as other:
            raise AssertionError(f"seed {seed} of {name}") from other
        shutil.rmtree(folder.path)
        if seed == many // 5:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{name}: {refused} of {many} refused")
    assert refused > many / 4
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_the_checkpoint_of_another_net_is_told(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "run")
    folder = Folder(tmp_path / "run")
    folder.write_config({**folder.read_config(), "net": {"hidden": 9}})
    with pytest.raises(ValueError, match=r"checkpoint of another net: its 0.weight is \[8, 8\], this net has \[9, 8\]"):
        another_epoch(folder, run)


class Harm:
    """What runs when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (self.mark, "w")


def pickled(mark, run):
    return pickle.dumps(Harm(mark))


def saved(mark, run):
    whole = torch.load(run.checkpoint, weights_only=True)
    path = run.path.parent / "harm"
    torch.save({**whole, "callbacks": {"History": Harm(mark)}}, path)
    return path.read_bytes()


def of_old(mark, run):
    path = run.path.parent / "harm"
    torch.save({"state_dict": Harm(mark)}, path, _use_new_zipfile_serialization=False)
    return path.read_bytes()


def scripted(mark, run):
    path = run.path.parent / "harm"
    torch.jit.script(torch.nn.Linear(1, 1)).save(str(path))
    return path.read_bytes()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore:.*TorchScript:UserWarning")
@pytest.mark.parametrize("make", [pickled, saved, of_old, scripted])
@pytest.mark.parametrize("name", ["checkpoint.ckpt", "weights.safetensors"])
def test_a_file_made_to_do_harm_runs_nothing(run, tmp_path, name, make):
    shutil.copytree(run.path, tmp_path / "run")
    folder, mark = Folder(tmp_path / "run"), tmp_path / "touched"
    (folder.path / name).write_bytes(make(str(mark), run))
    with pytest.raises(ValueError, match="is damaged, or is no"):
        USES[name](folder, run)
    if name == "checkpoint.ckpt":
        with pytest.raises(ValueError, match="is damaged, or is no"):
            go_on(folder.path, epochs=3, console=SILENT)
    assert not mark.exists()


@pytest.mark.parametrize("where", ["recipe", "data"])
@pytest.mark.parametrize("form", ["path", "module", "link"])
def test_code_that_came_with_a_run_is_not_run(run, tmp_path, monkeypatch, where, form):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    shutil.copytree(run.path, tmp_path / "run")
    folder, mark = Folder(tmp_path / "run"), tmp_path / "touched"
    (folder.path / "harm.py").write_text(f"import pathlib; pathlib.Path({str(mark)!r}).touch()\n")
    (tmp_path / "harmless.py").symlink_to(folder.path / "harm.py")
    name = {"path": "run/harm.py:splits", "module": "run.harm:splits", "link": "harmless.py:splits"}[form]
    folder.write_config({**folder.read_config(), where: name})
    with pytest.raises(ValueError, match="lies inside the run's folder and is not run"):
        go_on(folder.path, epochs=3, console=SILENT)
    assert not mark.exists()
