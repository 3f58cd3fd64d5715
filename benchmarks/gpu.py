"""Ten minutes on a GPU: are the kernels right there, and how quick are they?

    python benchmarks/gpu.py [--seconds 560] [--wheels FOLDER] [--page FILE] [--only SECTION ...]

First the judge (`tests/backends/on_a_gpu.py`), in processes side by side, then the sections of `SECTIONS`, each beside
the plain loop compiled by torch and, where it can be had, SpikingJelly. After each section the table in
benchmarks/RESULTS.md (or FILE) is written anew; a section that no longer fits the time is named there. Needs torch and
Triton; FOLDER may hold the wheels of SpikingJelly 2.0 and of loguru, which it imports. Without a GPU, `--dry` runs all
of it at tiny sizes in Triton's interpreter, to try the script: its times say nothing.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TRITON_INTERPRET"] = "1" if "--dry" in sys.argv else "0"  # read when Triton is first imported
sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).parent))

import page
import torch
import triton
from gpu_cases import DRY, SIZES, Row, conv, framework, latency, recurrent, scans, spoken
from gpu_clock import Clock, copy_rate

import ranvier as rv

JUDGE = Path(__file__).parents[1] / "tests" / "backends" / "on_a_gpu.py"

# Each section: seconds it is thought to take on one large GPU, and what it measures.
SECTIONS: dict[str, tuple[int, Callable[[Clock], list[Row]]]] = {
    "scans": (120, scans),
    "recurrent": (60, recurrent),
    "conv": (50, conv),
    "spoken": (50, spoken),
    "latency": (25, latency),
    "framework": (45, framework),
}


def device() -> str:
    """The device and all versions, as the table must say them."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU (dry run: times say nothing)"
    return f"{name}; torch {torch.__version__}, Triton {triton.__version__}, Python {platform.python_version()}"


def agreement(seconds: float, parts: int) -> tuple[bool, str]:
    """Whether the judge is content, and what it says at the end of each of so many processes side by side."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    work = [
        subprocess.Popen([sys.executable, JUDGE, "--part", f"{k}/{parts}"], env=env, text=True, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT)
        for k in range(parts)
    ]  # fmt: skip
    said, good, end = [], True, time.monotonic() + seconds
    for one in work:
        try:
            out, _ = one.communicate(timeout=max(1.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            one.kill()
            out = one.communicate()[0] + f"\nFAILED: not done after {seconds:.0f} s"
        good &= one.returncode == 0
        lines = out.strip().splitlines()
        said += [line for line in lines if line.startswith("FAILED")] + lines[-2:]
    return good, "\n".join(said)


def carried(folder: str) -> None:
    """Make importable what the wheels of a folder hold."""
    for wheel in Path(folder).glob("*.whl"):
        place = tempfile.mkdtemp(prefix="wheel-")
        zipfile.ZipFile(wheel).extractall(place)
        sys.path.append(place)


def table(rows: list[Row]) -> list[str]:
    heads = (
        "what",
        "size",
        "dtype",
        "pass",
        "ranvier, ms",
        "share of copy",
        "torch.compile, ms",
        "SpikingJelly, ms",
        "MB",
    )
    return [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads), *(row.line() for row in rows)]


class Report:
    """What has been measured so far, kept after every section."""

    def __init__(self, where: Path):
        self.where, self.facts = where, [device(), time.strftime("%Y-%m-%d %H:%M")]
        self.rows: list[Row] = []
        self.notes: list[str] = []

    def save(self) -> None:
        lines = [f"{'; '.join(self.facts)}.", "", *self.notes, "", *table(self.rows)]
        page.write("gpu", "\n".join(lines), self.where)
        numbers = {"facts": self.facts, "notes": self.notes, "rows": [row._asdict() for row in self.rows]}
        self.where.with_suffix(".gpu.json").write_text(json.dumps(numbers, indent=1))


def run(asked: argparse.Namespace) -> bool:
    """Everything that was asked for; whether all of it went well."""
    end, report = time.monotonic() + asked.seconds, Report(Path(asked.page))
    clock, good = Clock("cpu" if asked.dry else "cuda", DRY if asked.dry else SIZES), True
    if "agreement" in asked.only:
        begin = time.monotonic()
        parts = 1 if asked.dry else min(6, os.cpu_count() or 1)
        good, said = agreement(min(260.0, 0.5 * asked.seconds), parts)
        verdict = "the kernels agree with the reference" if good else "THE KERNELS DO NOT ALL AGREE"
        report.notes.append(f"Agreement ({time.monotonic() - begin:.0f} s): {verdict}.\n\n```\n{said}\n```")
        report.save()
    clock.rate = copy_rate(clock)
    report.facts.append(f"memory is copied at {clock.rate / 1e9:.0f} GB/s (bytes read and written)")
    for name, (needs, section) in SECTIONS.items():
        if name not in asked.only:
            continue
        if not asked.dry and time.monotonic() + needs > end:
            report.notes.append(f"{name}: not run, the time was over.")
        else:
            try:
                with rv.backend("triton"):
                    report.rows += section(clock)
            except Exception as problem:  # what was measured is kept, and what failed is said
                good = False
                report.notes.append(f"{name}: FAILED, {type(problem).__name__}: {str(problem)[:500]}")
        report.save()
        print(f"{name}: {end - time.monotonic():.0f} s left", flush=True)
    report.notes += [
        f"{name}: not beside it everywhere. {why}" for name, all in clock.absent.items() for why in sorted(all)
    ]
    report.save()
    return good


def parsed(arguments: list[str]) -> argparse.Namespace:
    everything = ["agreement", *SECTIONS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=560)
    parser.add_argument("--wheels", default="")
    parser.add_argument("--page", default=str(page.RESULTS))
    parser.add_argument("--only", nargs="+", choices=everything, default=everything)
    parser.add_argument("--dry", action="store_true")
    return parser.parse_args(arguments)


def main(quick: bool = False) -> None:
    """As `benchmarks/run.py gpu` calls it."""
    if not torch.cuda.is_available():
        print("no GPU here: nothing to measure")
        return
    run(parsed(["--only", "scans", "recurrent"] if quick else []))


if __name__ == "__main__":
    asked: Any = parsed(sys.argv[1:])
    if not asked.dry and not torch.cuda.is_available():
        sys.exit("no GPU here; --dry --page FILE tries the script without one")
    if asked.dry and Path(asked.page) == page.RESULTS:
        sys.exit("a dry run measures nothing: give it a page of its own, --page FILE")
    if asked.wheels:
        carried(asked.wheels)
    sys.exit(0 if run(asked) else 1)
