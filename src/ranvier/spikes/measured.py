"""What is measured once per machine and kept on disk beside the kernels: products, and when to go by events.

An answer belongs to a processor, a torch, a number of threads, and what oneDNN, torch and Numba were told of the
processor. Processes side by side measure each for itself, and the last one's file stays; where no file can be written,
each process measures anew. A file that is damaged is measured again, and a wrong answer costs speed only.
"""

import hashlib
import json
import os
import platform
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch

from ranvier.derive.source import folder

TOLD = "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "NUMBA_CPU_NAME"

_locks: dict[tuple[str, int], threading.Lock] = {}  # one for each answer: to measure one may take another
_found: dict[tuple[str, int], dict[str, Any]] = {}


def known(
    what: str, threads: int, measure: Callable[[], dict[str, Any]], right: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """The answer to `what` with so many threads: from memory, from the file, or measured.

    right: whether what a file holds is an answer at all.
    """
    at = what, threads
    if at not in _found:
        with _locks.setdefault(at, threading.Lock()):
            if at not in _found:
                _found[at] = _kept(*at, measure, right)
    return _found[at]


def processor() -> str:
    """Its name."""
    return _facts().get("model name") or platform.processor() or platform.machine()


def machine(threads: int) -> str:
    """All that an answer depends on."""
    told = [f"{name}={os.environ[name]}" for name in TOLD if name in os.environ]
    return ", ".join((_processor(), f"torch {torch.__version__}", f"{threads} threads", *told))


def _kept(
    what: str, threads: int, measure: Callable[[], dict[str, Any]], right: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    here = machine(threads)
    file = folder() / f"{what}_{hashlib.sha256(here.encode()).hexdigest()[:16]}.json"
    with suppress(OSError, ValueError, TypeError, LookupError, AttributeError):
        found = json.loads(file.read_text())["found"]
        if right(found):
            return found
    found = _apart(measure, threads)
    with suppress(OSError):
        with tempfile.NamedTemporaryFile("w", dir=file.parent, suffix=".tmp", delete=False) as part:
            json.dump({"machine": here, "found": found}, part)
        os.replace(part.name, file)
    return found


def _apart(measure: Callable[[], dict[str, Any]], threads: int) -> dict[str, Any]:
    """Run in a thread of its own: no mode of the caller's reaches it, and no scratch of the caller's is touched."""
    found: list[dict[str, Any]] = []
    before = torch.get_num_threads()

    @torch.no_grad()
    def run() -> None:
        torch.set_num_threads(threads)
        try:
            found.append(measure())
        finally:
            torch.set_num_threads(before)  # threads begun later take it from here

    thread = threading.Thread(target=run, name="ranvier measures")
    thread.start()
    thread.join()
    if not found:
        raise RuntimeError("ranvier: measuring this machine failed; the error is above")
    return found[0]


def _processor() -> str:
    """All that tells one processor from another."""
    facts = _facts()
    if not facts:
        return f"{platform.machine()} {platform.processor()}"
    return " ".join(str(facts.get(k)) for k in ("model name", "cpu family", "model", "flags"))


@cache
def _facts() -> dict[str, str]:
    """What Linux says of its last processor; nothing elsewhere."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    return {}
