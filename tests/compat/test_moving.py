"""Programs of other libraries with nothing but their imports changed: same losses from the same weights."""

import importlib.util
import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = {
    p.stem: "pytorch_spiking" if p.stem.startswith("pytorch") else p.stem.split("_")[0]
    for p in sorted((ROOT / "examples" / "moving").glob("*_*.py"))
}
ABSENT = {"hxtorch"}  # in no package index: hxtorch/test_hxtorch_yinyang.py takes its equations instead
GOLDEN = json.loads((ROOT / "tests" / "golden" / "moving.json").read_text())  # what the originals gave

spec = importlib.util.spec_from_file_location("run", ROOT / "examples" / "moving" / "run.py")
run = importlib.util.module_from_spec(spec)
spec.loader.exec_module(run)


def test_every_program_is_known():
    assert PROGRAMS.keys() == GOLDEN.keys()


@pytest.mark.parametrize("program", PROGRAMS)
def test_first_losses_are_the_originals(program):
    assert run.load(program, False)["main"](1) == pytest.approx(GOLDEN[program][:1], rel=1e-4)


@pytest.mark.peer
@pytest.mark.parametrize("program", [p for p in PROGRAMS if PROGRAMS[p] not in ABSENT])
def test_three_steps_side_by_side(program):
    python = ROOT / ".peers" / PROGRAMS[program] / "bin" / "python"
    script = ROOT / "examples" / "moving" / "run.py"
    done = subprocess.run([python, script, program, "original"], capture_output=True, text=True, check=True)
    assert run.load(program, False)["main"]() == pytest.approx(json.loads(done.stdout)["losses"], rel=1e-5)
