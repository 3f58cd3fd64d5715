"""How everything here is measured: medians of several runs, one machine, equal threads, next to a physical limit."""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

REPO = Path(__file__).parents[1]


def median(run: Callable[[], object], repeats: int = 9, warmup: int = 2) -> float:
    """Seconds of one run: the median of several, after a warm-up."""
    for _ in range(warmup):
        run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def interleaved(*runs: Callable[[], object], repeats: int = 9, warmup: int = 2, settle: int = 0) -> list[float]:
    """Medians of several candidates that take turns, so that a slow moment of the machine meets them all.

    settle: runs at the beginning of each turn that are not timed; with one, what a candidate reads is where its own
    last run left it, and not where another's has driven it out of the caches.
    """
    times: list[list[float]] = [[] for _ in runs]
    for k in range(warmup + repeats):
        for mine, run in zip(times, runs, strict=True):
            spent = median(run, 1, settle)
            if k >= warmup:
                mine.append(spent)
    return [statistics.median(t) for t in times]


def copy_seconds(count: int, device: str = "cpu") -> float:
    """Seconds to copy `count` float32 numbers into memory that has been touched before: the limit of any pass."""
    source, target = torch.rand(count, device=device), torch.rand(count, device=device)
    return median(lambda: target.copy_(source))


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


# What makes each library believe in an older processor: oneDNN, Numba, torch, MKL and XLA in this order.
ISAS: dict[str, dict[str, str]] = {
    "avx2": {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "NUMBA_CPU_NAME": "haswell",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    },
}


def processor(isa: str = "") -> str:
    """The processor and its instruction set, or the one that is emulated on it."""
    own = torch.backends.cpu.get_cpu_capability()
    return f"{cpu_name()}, {isa.upper() + ' emulated on ' + own if isa else own}"


def header() -> str:
    """Device and versions, as every table of results must say them."""
    import numba

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{processor()}, {os.cpu_count()} cores"
    python = platform.python_version()
    return (
        f"{device}; torch {torch.__version__}, numba {numba.__version__}, Python {python}; {time.strftime('%Y-%m-%d')}"
    )


def peer(name: str, script: str, *arguments: str, timeout: int = 900) -> str:
    """Run a script in the environment .peers/NAME of another library; its standard output."""
    python = REPO / ".peers" / name / "bin" / "python"
    if not python.exists():
        raise FileNotFoundError(f"no environment for {name}: run `python benchmarks/peers.py {name}` first")
    done = subprocess.run(
        [str(python), script, *arguments], capture_output=True, text=True, timeout=timeout, check=False, cwd=REPO
    )
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def guard(what: str, ratio: float, worst: float) -> None:
    """Stop with an error where a ratio is far beyond what noise explains: something collapsed."""
    if ratio > worst:
        raise SystemExit(f"collapsed: {what} takes {ratio:.1f} times its measure, at most {worst:g} was expected")


def note(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
