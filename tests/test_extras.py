"""A bare install says which extra is missing: for the command, and for every optional part."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ranvier
from ranvier.extras import EXTRAS

# How to reach each optional part, and the package that is not there.
PARTS = {
    "sklearn": "from ranvier.data import digits; digits()",
    "matplotlib": "import torch; from ranvier import plot; plot.raster(torch.eye(3))",
    "torchmetrics": "import ranvier.train.torchmetric",
    "h5py": "from ranvier.data.events import read_shd; next(read_shd('no.h5'))",
    "lightning": "import ranvier.train.engine",
    "safetensors": "import torch; from ranvier.train.folder import Folder; from pathlib import Path;"
    "Folder(Path('.')).write_weights(torch.nn.Linear(1, 1))",
    "tomlkit": "from ranvier.train.folder import Folder; from pathlib import Path; Folder(Path('.')).write_config({})",
    "nir": "import torch, ranvier; from ranvier.convert.nir import to_nir;"
    "to_nir(ranvier.Sequential(torch.nn.Linear(2, 3), ranvier.LIF()), torch.rand(5, 1, 2), 1e-3)",
    "onnxscript": "import torch, ranvier; from ranvier import export; export.onnx(ranvier.LIF(), torch.rand(5, 1, 2))",
    "jinja2": "from ranvier.report import page; page(None)",
}


@pytest.mark.parametrize("package", PARTS)
def test_a_missing_package_is_told_with_its_extra(package, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == package or name.startswith("ranvier.train.")]:
        parent, _, child = name.rpartition(".")
        if parent == "ranvier.train":  # put back afterwards, like the module itself
            monkeypatch.setattr(ranvier.train, child, sys.modules[name])
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=rf'needs the package .*"ranvier\[{EXTRAS[package]}\]"'):
        exec(PARTS[package], {})
    assert not list(tmp_path.iterdir())


def run(*arguments, without=()):
    code = f"import sys; sys.modules.update(dict.fromkeys({list(without)!r})); sys.argv = ['ranvier', *{arguments!r}];"
    code += "from ranvier.__main__ import main; main()"
    environment = os.environ | {"PYTHONPATH": str(Path(ranvier.__file__).parents[1])}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)


def test_the_command_without_extras():
    done = run("train", "digits", without=["typer"])
    assert done.returncode == 2 and done.stderr.startswith("error: the command line needs the package")
    assert done.stderr.endswith('pip install "ranvier[train]"\n')
    done = run("--version", without=["typer", "rich", "lightning"])
    assert done.returncode == 0 and done.stdout.startswith("ranvier 0.")


def test_every_extra_is_one_that_can_be_installed():
    project = Path(__file__).parents[1] / "pyproject.toml"
    known = tomllib.loads(project.read_text())["project"]["optional-dependencies"]
    assert set(EXTRAS.values()) <= set(known)
