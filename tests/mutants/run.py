"""Plant the faults of `table.py`, one at a time, in a copy of the tree, and see whether the tests notice.

    python tests/mutants/run.py               all
    python tests/mutants/run.py derive nn     those in these folders

Says which lived. A verdict is kept in `verdicts.json` beside this file for as long as the fault, the file it is in and
the tests it is judged by stay as they are, so that a run goes on where the last one ended. The exit code is 1 if fewer
than 95 % were killed, or if a line of the table no longer fits its file.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from table import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
KEPT = Path(__file__).with_name("verdicts.json")
WANTED = 0.95


def passes(copy: Path, tests: str) -> bool:
    """Whether these tests pass on the copy."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--durations=0", *tests.split()]
    environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "RANVIER_CACHE": str(copy / "cache")}
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=900)
    except subprocess.TimeoutExpired:
        return False  # a loop without end is noticed too
    if done.returncode > 2:  # 2: a fault that shows on import; below 0: one that ended the process
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


def name(mutant: Mutant) -> str:
    """What a verdict depends on: the fault, its file, and the files of tests that judge it."""
    text = [*mutant]
    for path in (ROOT / "src" / "ranvier" / mutant.file, *(ROOT / word for word in mutant.tests.split())):
        for file in sorted(path.glob("**/*.py")) if path.is_dir() else [path]:
            text.append(file.read_text() if file.is_file() else "")
    return hashlib.sha256("\0".join(text).encode()).hexdigest()


def copied(copy: Path) -> None:
    for folder in ("src", "tests", "docs", "benchmarks", "examples"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "CONTRIBUTING.md", "Makefile"):
        shutil.copy(ROOT / file, copy / file)


def main(folders: list[str]) -> int:
    chosen = [m for m in MUTANTS if not folders or m.file.split("/")[0].removesuffix(".py") in folders]
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    sound: dict[str, bool] = {}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copied(copy := Path(folder))
        for mutant in chosen:
            start, key = time.perf_counter(), name(mutant)
            if key not in kept:
                if mutant.tests not in sound:
                    sound[mutant.tests] = passes(copy, mutant.tests)
                if not sound[mutant.tests]:
                    raise SystemExit(f"{mutant.tests}: fails without a fault")
                kept[key] = verdict(copy, mutant)
                KEPT.write_text(json.dumps(kept, indent=0))
            print(f"{kept[key]:6} {time.perf_counter() - start:4.0f} s  {mutant.file}: {mutant.new}", flush=True)
    found = [kept[name(m)] for m in chosen]
    killed, gone = found.count("killed"), found.count("gone")
    print(f"{killed} of {len(found) - gone} killed, {gone} no longer in the code")
    return 0 if not gone and killed >= WANTED * len(found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
