"""Programs of other libraries with nothing but their imports changed: same losses from the same weights."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GOLDEN = json.loads((ROOT / "tests" / "golden" / "moving.json").read_text())  # what the originals gave

spec = importlib.util.spec_from_file_location("run", ROOT / "examples" / "moving" / "run.py")
run = importlib.util.module_from_spec(spec)
spec.loader.exec_module(run)
PROGRAMS = run.PROGRAMS


def test_every_program_is_known():
    assert PROGRAMS.keys() == GOLDEN.keys()


@pytest.mark.parametrize("program", PROGRAMS)
def test_first_losses_are_the_originals(program):
    assert run.load(program, False)["main"](1) == pytest.approx(GOLDEN[program][:1], rel=1e-4)


@pytest.mark.peer
@pytest.mark.parametrize("program", [p for p in PROGRAMS if PROGRAMS[p] not in run.ABSENT])
def test_three_steps_side_by_side(program):
    assert run.load(program, False)["main"]() == pytest.approx(run.elsewhere(program, True)["losses"], rel=1e-5)
