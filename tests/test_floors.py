"""The floors of the house: each file imports only what stands below it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ranvier

ROOT = Path(ranvier.__file__).parent
# From the ground up. Rooms of one floor are neighbours and do not know each other.
FLOORS = [
    {"ops", "units", "extras", "lookup", "notebook"},
    {"surrogate"},
    {"derive"},
    {"backends"},
    {"spikes"},
    {"nn"},
    {"online"},  # above nn, whose layers it teaches; `tools` compares its gradients
    {"verbs", "tools"},
    {"train", "data", "plasticity", "hardware", "convert"},
    {"plot", "compat", "recipes", "export"},  # export estimates energy, as train does
    {"report"},
    {"models"},  # above recipes, by which trained networks are built
    {"doctor"},
    # a file may stand higher than its room: these two begin and watch a whole run
    {"train.health"},
    {"train.running"},
    {"beside", "sweep"},
    {"cli"},
    {"__main__"},
]
LEVEL = {room: k for k, rooms in enumerate(FLOORS) for room in rooms}
HEAVY = {
    "lightning",
    "sklearn",
    "matplotlib",
    "typer",
    "rich",
    "torchmetrics",
    "nir",
    "h5py",
    "triton",
    "scipy",
    "numba",
}


def room(path: Path) -> str:
    return named(path.relative_to(ROOT).with_suffix("").parts)


def named(parts) -> str:
    """The room of a file or module: its first part, or its first two where they have a floor of their own."""
    return ".".join(parts[:2]) if ".".join(parts[:2]) in LEVEL else parts[0]


def imports(path: Path):
    package = ("ranvier", *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            whole = ".".join(p for p in (base, node.module) if p)
            yield from (f"{whole}.{a.name}" if whole == "ranvier" else whole for a in node.names)


FILES = [p for p in sorted(ROOT.rglob("*.py")) if p != ROOT / "__init__.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    here = room(path)
    assert here in LEVEL, f"{here} has no floor; give it one in tests/test_floors.py, with a reason"
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "ranvier" and len(parts) > 1 and parts[1] in LEVEL:
            there = named(parts[1:])
            if path.name == "__init__.py" and there.startswith(f"{here}."):
                continue  # the door of a room shows all that is in it
            assert there == here or LEVEL[there] < LEVEL[here], f"{path.relative_to(ROOT)} ({here}) imports {name}"


def test_importing_ranvier_brings_in_nothing_heavy():
    script = (
        "import torch, sys; before = set(sys.modules); import ranvier; "
        f"print(sorted({HEAVY!r} & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
