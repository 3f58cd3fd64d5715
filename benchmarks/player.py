"""One library on one case, in a process of its own: player.py LIBRARY CASE THREADS.

Says what it found before anything is timed (peak memory, evidence), then plays a turn for every line of its input.
"""

import ctypes
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from cases import CASES

LEAST, MOST = 0.3, 9  # seconds of a turn, and steps in it


def highest(work: Callable[[], object]) -> float:
    """MiB of resident memory that `work` takes at its highest, above what there was."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest so far
    before = resident("VmRSS")
    work()
    return resident("VmHWM") - before


def resident(what: str) -> float:
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{what}:"))


def say(**found: object) -> None:
    print("@" + json.dumps(found), flush=True)


def turn(step: Callable) -> dict[str, float]:
    """Several steps, and the medians; the first only settles in, unless it is so long that it is all there is."""
    seen, start = [], time.perf_counter()
    while not seen or (time.perf_counter() - start < LEAST and len(seen) < MOST):
        cpu = time.process_time()
        seen.append((*step()[:2], time.process_time() - cpu))
    columns = zip(*(seen[1:] or seen), strict=True)
    return dict(zip(("forward", "backward", "cpu"), map(statistics.median, columns), strict=True))


def main(library: str, case: str, threads: int) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])  # XLA takes more than it is told to
    if library == "limit":
        from limit import ready
    elif CASES[case].loss == "stream":
        from streams import ready
    elif library in ("spyx", "jaxpike"):
        from on_jax import ready
    else:
        from on_torch import ready
    step = ready(library, CASES[case], threads)
    evidence: list[float] = []
    peak = highest(lambda: evidence.extend(step()[2]()))
    if CASES[case].loss == "crossentropy":
        for _ in range(2):
            evidence += step()[2]()
    package = {"limit": "torch", "loop": "torch"}.get(library, library)
    say(peak=peak, evidence=evidence, version=version(package))
    for _ in sys.stdin:
        say(**turn(step))
    os._exit(0)  # tidying up would take seconds from the turns of others


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
