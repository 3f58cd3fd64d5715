"""`ranvier convert` from the shell."""

import json

import pytest
import torch
from torch import nn

pytest.importorskip("typer")
pytest.importorskip("sklearn")
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from ranvier.cli import app
from ranvier.convert import convert
from ranvier.convert.command import check_fits, find, points, read_weights

MODEL = """
from torch import nn
def build():
    first = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(first, nn.Flatten(), nn.Linear(36, 10))
"""


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(MODEL)
    built = find("net.py:build")
    save_file(built.state_dict(), tmp_path / "net.safetensors")
    return built


def test_converts_and_writes(model, tmp_path):
    asked = "convert net.py:build --weights net.safetensors --data digits --steps 4,16 --test 40 --out made"
    done = CliRunner().invoke(app, asked.split())
    assert done.exit_code == 0, done.output
    assert "16 steps" in done.output and "rate error" in done.output
    found = json.loads((tmp_path / "made/report.json").read_text())
    assert set(found["accuracy"]) == {"4", "16"} and found["left"] == {}
    again = convert(model, torch.rand(8, 1, 8, 8))
    again.load_state_dict(load_file(tmp_path / "made/weights.safetensors"))


def test_mistakes_are_told(model, tmp_path):
    with pytest.raises(ValueError, match=r"file\.py:name"):
        find("net.py")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        find("nothing.py:build")
    with pytest.raises(ValueError, match="has no 'make'"):
        find("net.py:make")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_weights(model, tmp_path / "none")
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="save_file"):
        read_weights(model, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"does not accept the images of fashion-mnist, \[B, 1, 28, 28\]"):
        check_fits(model, "fashion-mnist", torch.rand(2, 1, 28, 28))
    with pytest.raises(ValueError, match=r"must return scores \[B, classes\].*it returned \[B, 1, 8, 8\]"):
        check_fits(nn.Identity(), "digits", torch.rand(2, 1, 8, 8))
    with pytest.raises(ValueError, match="whole numbers"):
        points("8;16")
    assert isinstance(find("torch.nn:Identity"), nn.Identity) and points("8,16") == [8, 16]
