"""The Triton kernels of every neuron, and those of recurrent layers, compile for sm_90, with no GPU present."""

import os
import subprocess
import sys
from pathlib import Path

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


def test_kernels_of_some_rules_spill_no_registers_and_move_little():
    lines = said(str(BENCHMARKS / "compiled.py"), "LIF", "ALIF", "AdEx").splitlines()[2:]
    assert len(lines) == 3 and all(line.endswith("| 0 |") for line in lines), lines
    assert "| 8.5 of 8 | 12.5 of 12 |" in lines[-1]


def test_recurrent_layers_compile():
    assert "recurrent layers compiled" in said("-c", RECURRENT)
