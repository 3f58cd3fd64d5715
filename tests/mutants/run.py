"""Plant the faults of `table.py`, one at a time, in a copy of the tree, and see whether the tests notice.

    python tests/mutants/run.py               all
    python tests/mutants/run.py derive nn     those in these folders

Says which lived. The exit code is 1 if fewer than 95 % were killed, or if a line of the table no longer fits its file.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from table import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
WANTED = 0.95


def passes(copy: Path, tests: str) -> bool:
    """Whether these tests pass on the copy."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests.split()]
    environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "RANVIER_CACHE": str(copy / "cache")}
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=900)
    except subprocess.TimeoutExpired:
        return False  # a loop without end is noticed too
    if done.returncode not in (0, 1, 2):  # 2: a fault that shows on import
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout.decode()[-2000:]}")
    return done.returncode == 0


def verdict(copy: Path, mutant: Mutant) -> str:
    """ "killed", "LIVED", or "gone" where the line is no longer in the file exactly once."""
    path = copy / "src" / "ranvier" / mutant.file
    text = path.read_text() if path.exists() else ""
    if text.count(mutant.old) != 1:
        return "gone"
    path.write_text(text.replace(mutant.old, mutant.new))
    try:
        return "LIVED" if passes(copy, mutant.tests) else "killed"
    finally:
        path.write_text(text)


def main(folders: list[str]) -> int:
    chosen = [m for m in MUTANTS if not folders or m.file.split("/")[0].removesuffix(".py") in folders]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder)
        for name in ("src", "tests", "docs", "benchmarks"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "CONTRIBUTING.md", "Makefile"):
            shutil.copy(ROOT / name, copy / name)
        for tests in sorted({m.tests for m in chosen}):
            if not passes(copy, tests):
                raise SystemExit(f"{tests}: fails without a fault")
        found = []
        for mutant in chosen:
            start = time.perf_counter()
            found.append(verdict(copy, mutant))
            print(f"{found[-1]:6} {time.perf_counter() - start:4.0f} s  {mutant.file}: {mutant.new}", flush=True)
    killed, gone = found.count("killed"), found.count("gone")
    print(f"{killed} of {len(found) - gone} killed, {gone} no longer in the code")
    return 0 if not gone and killed >= WANTED * len(found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
