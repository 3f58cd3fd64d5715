"""Forty wrong command lines: each is told in one sentence, ends with exit code 2, and leaves nothing behind."""

import sys

import pytest
import torch

from ranvier import cli

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
    "trian digits": "no such command 'trian'; did you mean 'train'?",
    "train": "name a recipe to train (digits",
    "train digit": "did you mean 'digits'?",
    "train digits fashion": "got unexpected extra argument(s) (fashion); see `ranvier train --help`",
    "train digits --epoch 3": "no such option: --epoch (Possible options: --epochs, --keep)",
    "train digits --epochs x": "--epochs wants a whole number, got 'x'",
    "train digits --epochs 0": "epochs must be at least 1",
    "train digits --epochs": "requires an argument",
    "train digits --batch -1": "batch must be at least 1",
    "train digits --batch 100000 --epochs 1": "a run of 1 update is too short",
    "train digits --lr -0.1": "lr must be a finite number >= 0",
    "train digits --lr nan": "lr must be a finite number >= 0",
    "train digits --gradient exact": "gradient must be one of 'bptt'",
    "train yinyang --gradient exact": "exact",
    "train digits --set net.hiden=3": "did you mean 'net.hidden'?",
    "train digits --set net.hidden": "--set takes NAME=VALUE",
    "train digits --set net.hidden=-3": "the net does not work with net.hidden=-3: ",
    "train digits --set net.hidden=many": "wants a whole number, got 'many'",
    "train digits --set net=3": "there is no field 'net'",
    "train digits --set net.beta=1.5": "the net does not work with net.beta=1.5: LIF: beta must lie between 0 and 1",
    "train digits --set encoding=morse": "there is no encoding 'morse'",
    "train digits --set data=yinyang": "the net does not work with data=yinyang: layer 0 (Conv2d): Conv2d(1, ",
    "train digits --set data=mnist --data /nowhere": "the data folder /nowhere does not exist",
    "train digits --data gone.py:splits": "there is no file",
    "train digits --data task.py:one": "must come in parts",
    "train digits --data task.py:words": "a batch must be tensors (x, labels)",
    "train digits --data task.py:uneven": "4 samples x and 3 labels",
    "train digits --data task.py:empty": "there are no samples",
    "train gone.py:Recipe": "there is no file gone.py",
    "train gone:Recipe": "there is no module 'gone' in gone:Recipe; for a file write gone.py:Recipe",
    "train notes.py:Recipe": "has no 'Recipe'; it has",
    "train notes.py:Plain": "must be a subclass of ranvier.recipes.Recipe",
    "train broken.py:Recipe": "broken.py is not valid Python: invalid syntax, line 1",
    "train task.py:Wrong": "Linear(in_features=3, out_features=10, bias=True) got an input of [10, 1, 1, 8, 8]: ",
    "train notes.py": "name the recipe in the file too: notes.py:Class",
    "train digits --data notes.py": "must be a folder, or file.py:name for splits of your own, got notes.py",
    "train digits --seed 99999999999999999999": "seed must be a whole number of at most 63 bits",
    "train digits --set net.hidden=0": "net.hidden=0: 5.weight, 5.bias, 7.weight would have no elements",
    "train digits --set net.channels=0": "does not work with net.channels=0: layer 0 (Conv2d): Conv2d(1, 0, ",
    "train task.py:NoData": "has no data",
    "train task.py:NoNet": "error: no-net: NoNet has no build(self)",
    f"train digits {SMALL} --accelerator cuda": "there is no accelerator 'cuda' on this machine",
    f"train digits {SMALL} --precision 7": "precision must be one of 32-true, 16-mixed",
    f"train digits {SMALL} --devices 0": "devices must be at least 1",
    f"train digits {SMALL} --nodes 2": "name it with --out RUN",
    f"train digits {SMALL} --strategy magic": "strategy must be ddp or fsdp",
    f"train digits {SMALL} --clip -2": "clip must be a number >= 0",
    f"train digits {SMALL} --logger paper": "logger must be one of",
    f"train digits {SMALL} --out notes.py": "exists already",
    "train --resume gone": "gone is no run",
    "train digits --resume gone": "--resume continues a run with its own settings",
    "eval": "missing argument 'RUN|NAME|FILE.nir'; see `ranvier eval --help`",
    "eval gone": "there is no run gone, and no such trained network: there are digits",
    "doctor gone": "there is no recipe 'gone'",
    "explain gone": "there is no recipe 'gone'",
    "init my-net": "letters, digits and _",
    "init notes": "notes.py exists already",
    "convert notes.py:x --data digits": "must be a torch.nn.Module",
    "convert notes:x": "missing option '--data'; see `ranvier convert --help`",
}


@pytest.mark.parametrize("line", LINES)
def test_a_wrong_line(tmp_path, monkeypatch, capsys, line):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["ranvier", *line.split()])
    for name, value in cli.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    output, error = capsys.readouterr()
    assert (stop.value.code, output) == (2, "") and error.startswith("error: ") and error.count("\n") == 1, error
    assert LINES[line] in error
    assert {p.name for p in tmp_path.iterdir()} - {"__pycache__"} == set(FILES)
