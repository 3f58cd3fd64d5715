"""Forty wrong command lines: each is told in one sentence, ends with exit code 2, and leaves nothing behind."""

import pytest
import torch

from test_cli import main  # noqa: F401  # a fixture

FILES = {
    "notes.py": "x = 3\nclass Plain: pass\n",
    "broken.py": "def (:\n",
    "task.py": """
from dataclasses import dataclass
import torch
from torch import nn
from ranvier.recipes import Recipe

@dataclass(frozen=True)
class Wrong(Recipe):
    name = "wrong"
    data: str = "digits"
    width: int = 3
    def build(self):
        return nn.Linear(self.width, 10)

@dataclass(frozen=True)
class NoData(Recipe):
    name = "no-data"

@dataclass(frozen=True)
class NoNet(Recipe):
    name = "no-net"
    data: str = "digits"

def one(): return [1]
def words(): return ["a", "b"]
def uneven(): return ((torch.rand(4, 1, 8, 8), torch.zeros(3).long()),) * 2
def empty(): return ((torch.rand(0, 1, 8, 8), torch.zeros(0).long()),) * 2
""",
}
SMALL = "--set net.channels=2 --set net.hidden=8 --set steps=2"
LINES = {
    "trian digits": "No such command 'trian'",
    "train": "name a recipe to train (digits",
    "train digit": "did you mean 'digits'?",
    "train digits fashion": "unexpected extra argument",
    "train digits --epoch 3": "No such option: --epoch",
    "train digits --epochs x": "Input should be a valid integer",
    "train digits --epochs 0": "epochs must be at least 1",
    "train digits --epochs": "requires an argument",
    "train digits --batch -1": "batch must be at least 1",
    "train digits --batch 100000 --epochs 1": "1 updates in all are too few",
    "train digits --lr -0.1": "lr must be a number from 0",
    "train digits --lr nan": "lr must be a number from 0",
    "train digits --gradient exact": "gradient must be one of 'bptt'",
    "train yinyang --gradient exact": "exact",
    "train digits --set net.hiden=3": "did you mean 'net.hidden'?",
    "train digits --set net.hidden": "--set takes NAME=VALUE",
    "train digits --set net.hidden=-3": "the net does not work with these settings",
    "train digits --set net.hidden=many": "wants a whole number, got 'many'",
    "train digits --set net=3": "there is no field 'net'",
    "train digits --set net.beta=1.5": "beta",
    "train digits --set encoding=morse": "there is no encoding 'morse'",
    "train digits --set data=yinyang": "the net does not work with these settings",
    "train digits --set data=mnist --data /nowhere": "the data folder /nowhere does not exist",
    "train digits --data gone.py:splits": "there is no file",
    "train digits --data task.py:one": "must come in parts",
    "train digits --data task.py:words": "a batch must be tensors (x, labels)",
    "train digits --data task.py:uneven": "4 samples x and 3 labels",
    "train digits --data task.py:empty": "there are no samples",
    "train gone.py:Recipe": "there is no file gone.py",
    "train gone:Recipe": "No module named 'gone'",
    "train notes.py:Recipe": "has no 'Recipe'; it has",
    "train notes.py:Plain": "must be a subclass of ranvier.recipes.Recipe",
    "train broken.py:Recipe": "broken.py is no valid Python: invalid syntax, line 1",
    "train task.py:Wrong": "the net does not work with these settings",
    "train task.py:NoData": "has no data",
    "train task.py:NoNet": "has no build",
    f"train digits {SMALL} --accelerator cuda": "these settings do not work here",
    f"train digits {SMALL} --precision 7": "these settings do not work here",
    f"train digits {SMALL} --devices 0": "devices must be at least 1",
    f"train digits {SMALL} --nodes 2": "name it with --out RUN",
    f"train digits {SMALL} --strategy magic": "these settings do not work here",
    f"train digits {SMALL} --clip -2": "clip must be a number >= 0",
    f"train digits {SMALL} --logger paper": "logger must be one of",
    f"train digits {SMALL} --out notes.py": "is there already",
    "train --resume gone": "gone is no run",
    "train digits --resume gone": "--resume goes on with a run as it was begun",
    "eval": "Missing argument 'RUN|FILE.nir'",
    "eval gone": "gone is no run",
    "doctor gone": "there is no recipe 'gone'",
    "explain gone": "there is no recipe 'gone'",
    "init my-net": "letters, digits and _",
    "init notes": "notes.py is there already",
    "convert notes.py:x --data digits": "must be a torch.nn.Module",
    "convert notes:x": "Missing option '--data'",
}


@pytest.mark.parametrize("line", LINES)
def test_a_wrong_line(main, tmp_path, monkeypatch, line):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    status, output, error = main(*line.split())
    error = " ".join(error.replace("│", " ").split())  # what a line lacks is told in a frame
    assert status == 2 and ("error: " in error or "Error" in error) and "Traceback" not in error, error
    assert LINES[line] in error and output == "", error
    assert {p.name for p in tmp_path.iterdir()} - {"__pycache__"} == set(FILES)
