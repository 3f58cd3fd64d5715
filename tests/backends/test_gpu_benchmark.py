"""The script for ten minutes on a GPU runs, tried without one, on torch and Triton alone."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"

ALONE = """
import runpy, sys
for name in ("numba", "llvmlite", "scipy", "sklearn", "matplotlib", "h5py", "nir", "lightning"):
    sys.modules[name] = None  # importing it fails
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_the_dry_run_passes_and_writes_its_table(tmp_path):
    page, sections = tmp_path / "page.md", ("scans", "recurrent", "conv", "spoken", "latency", "framework")
    command = [sys.executable, "-c", ALONE, SCRIPT, "--dry", "--page", page, "--only", *sections]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
    said = page.read_text() if page.exists() else ""
    assert done.returncode == 0, f"{done.stdout}{done.stderr[-2000:]}{said}"
    rows = [line for line in said.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 12 + 6 + 1 + 2 + 1 + 2 and "FAILED" not in said
    assert "Triton" in said and (tmp_path / "page.gpu.json").exists()
