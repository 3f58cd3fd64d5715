"""Memory safety by fuzz: random rows of layers give what their layers give one by one, or are refused by name."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import random_rows

# What a network must not do, and what of that is seen in the report of a run.
KINDS = {
    "crash": "the process died",
    "differs": "another output",
    "gradient": "another gradient",
    "accepted": "wrong layers that ran",
    "refused": "right layers that did not run",
    "unnamed": "a refusal that does not name the layer",
}


def fuzz(begin: int, count: int, report: Path, limit: float) -> dict[str, list[str]]:
    """Run networks in processes of their own, each from where the last one died."""
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    at, end = begin, begin + count
    while at < end:
        report.write_text("")
        command = [sys.executable, str(Path(random_rows.__file__)), str(at), str(end - at), str(report)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=os.environ, check=False)
        lines = [line.split(" ", 2) for line in report.read_text().splitlines()]
        for seed, kind, *said in (line for line in lines if len(line) > 1):
            if kind != "fine":
                found[kind].append(f"{seed}: {' '.join(said)}")
        if done.returncode == 0:
            break
        at = int(lines[-1][0]) + 1
        found["crash"].append(
            f"{lines[-1][0]}: exit code {done.returncode}, {done.stderr[-300:]} | {random_rows.draw(at - 1)}"
        )
    return found


@cache
def short(folder):
    return fuzz(0, 150, folder / "report", 250)


@pytest.mark.parametrize("kind", KINDS)
def test_random_layers(kind, tmp_path_factory):
    wrong = short(tmp_path_factory.getbasetemp())[kind]
    assert not wrong, f"{KINDS[kind]}, {len(wrong)} times, first seeds:\n" + "\n".join(wrong[:5])


@pytest.mark.long
def test_many_random_layers(tmp_path):
    wrong = {kind: said for kind, said in fuzz(1000, 20_000, tmp_path / "report", 1400).items() if said}
    assert not wrong, "\n".join(f"{k}: {len(v)} times\n" + "\n".join(v[:10]) for k, v in wrong.items())
