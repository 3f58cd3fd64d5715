"""The library on other versions: `python tests/matrix.py [NAME ...]`, or `make matrix ONLY="NAME ..."`. By hand.

Each row of `MATRIX` is an environment below .peers, made when it is missing, in which the tests of backends, laws,
derive, spikes and contract run. `make test` covers what constraints.txt pins.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

REPO = Path(__file__).parents[1]
TESTS = [f"tests/{room}" for room in ("backends", "laws", "derive", "spikes", "contract")]
NEEDED = (
    "numba", "pytest", "pytest-timeout", "hypothesis", "jaxtyping", "beartype", "scipy", "scikit-learn", "h5py", "nir",
    "safetensors", "matplotlib", "torchmetrics",
)  # fmt: skip


class Row(NamedTuple):
    python: str
    torch: str
    triton: str
    numpy: str


MATRIX = {
    # The CUDA build, some 5 GB. Triton 3.6's interpreter breaks on numpy 2.4, and `ranvier.backend("triton")` says so.
    "torch-2.11": Row("python3.12", "torch==2.11.0", "triton==3.6.0", "numpy<2.4"),
    "python-3.13": Row("python3.13", "torch==2.13.0", "triton==3.9.0", "numpy"),
}


def python(name: str) -> Path:
    return REPO / ".peers" / name / "bin" / "python"


def make(name: str) -> None:
    """Make the environment of a row, if it is not there."""
    row, ready = MATRIX[name], python(name).parent / "ready"
    if ready.exists():
        return
    subprocess.run([row.python, "-m", "venv", REPO / ".peers" / name], check=True)
    pip = [python(name), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, row.torch], check=True)
    subprocess.run([*pip, row.numpy, *NEEDED], check=True)
    subprocess.run([*pip, "--no-deps", row.triton], check=True)  # torch itself asks for one version only
    ready.touch()


def run(name: str) -> bool:
    """Whether all tests of a row pass."""
    make(name)
    env = {**os.environ, "PYTHONPATH": str(REPO / "src"), "RANVIER_CACHE": str(REPO / ".peers" / name / "cache")}
    command = [python(name), "-m", "pytest", "-p", "no:cacheprovider", *TESTS]
    return subprocess.run(command, cwd=REPO, env=env, check=False).returncode == 0


if __name__ == "__main__":
    failed = [name for name in sys.argv[1:] or MATRIX if not run(name)]
    print(f"failed: {', '.join(failed) or 'nothing'}")
    sys.exit(bool(failed))
