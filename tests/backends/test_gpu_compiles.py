"""The Triton kernels of every neuron, and those of recurrent layers, compile for sm_90, with no GPU present."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import triton

from everything import NEURONS

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

RECURRENT = """
import torch, ranvier as rv
from compiled import compiled
from launching import recurrent, scan

def made(neuron, **how):
    return [kernel.ptx for kernel in compiled(lambda: recurrent(neuron, batch=64, **how))]

def wide():
    return rv.ALIF(beta=torch.rand(64))

plain = [kernel.ptx for kernel in compiled(lambda: scan(rv.LIF()))]
assert len(plain) == 3 and not any("fma.rn" in ptx for ptx in plain[:2]), "fused multiply-add"
for ptx in (*made(rv.ALIF(), neurons=200), *made(rv.LIF(), neurons=1)):
    assert "fma.rn" in ptx and "mma.sync" not in ptx
for ptx in made(wide(), neurons=64, dtype=torch.bfloat16):
    assert "mma.sync" in ptx
made(rv.ALIF(), neurons=20, dtype=torch.float64)
compiled(lambda: scan(rv.ALIF(), dtype=torch.float64))
torch.set_float32_matmul_precision("high")
for ptx in made(rv.ALIF(), neurons=512):
    assert "mma.sync" in ptx and "tf32" in ptx
print("recurrent layers compiled")
"""


def said(*command):
    """What a process of its own prints, where Triton is no interpreter."""
    paths = [str(BENCHMARKS), os.path.dirname(__file__), os.path.dirname(os.path.dirname(__file__)), *sys.path]
    env = {**os.environ, "TRITON_INTERPRET": "0", "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def table():
    """The rows of benchmarks/RESULTS.md by their rules; None where another Triton made them."""
    text = (BENCHMARKS / "RESULTS.md").read_text().split("<!-- compiled: begin -->")[1].split("<!-- compiled: end")[0]
    if f"Triton {triton.__version__}." not in text:
        pytest.skip("the table was made by another Triton")
    return {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}


def test_the_table_of_results_is_what_the_compiler_says_and_nothing_spills():
    known = table()
    assert set(known) == {"rule", *(kind.__name__ for kind in NEURONS)}
    for line in said(str(BENCHMARKS / "compiled.py"), "LIF", "ALIF", "AdEx").splitlines():
        assert known[line.split("|")[1].strip()] == line
    assert "| 8.5 of 8 | 12.5 of 12 | 16 |" in known["LIF"] and "| 4.5 of 4 | 6.5 of 6 | 16 |" in known["LIF"]
    for rule, line in known.items():
        cells = [cell.strip() for cell in line.split("|")]
        assert rule == "rule" or (cells[4] == "16" and cells[-2] == "0"), line


@pytest.mark.slow  # a minute of compiling
def test_the_table_of_results_holds_for_every_rule():
    known = table()
    made = {line.split("|")[1].strip(): line for line in said(str(BENCHMARKS / "compiled.py")).splitlines()}
    assert {rule: line for rule, line in known.items() if rule != "rule"} == made


def test_recurrent_layers_compile():
    assert "recurrent layers compiled" in said("-c", RECURRENT)
