"""Measurements that are made once per machine and saved on disk beside the kernels: which dense product is fastest, and
from which share of zeros an event-driven product is faster.

A result holds for a processor, a version of torch, a number of threads, and those settings of oneDNN, torch and Numba
that select the instructions of the processor. If several processes measure at the same time, the file of the last one
stays. If no file can be written, each process measures again; so does a process that finds a damaged file. A wrong
result only costs time.
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

_locks: dict[tuple[str, int], threading.Lock] = {}  # one lock per result: a measurement may need another result
_found: dict[tuple[str, int], dict[str, Any]] = {}


def known(
    what: str, threads: int, measure: Callable[[], dict[str, Any]], right: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Return the result of the measurement `what` for a number of threads: from memory, from the file, or measured now.

    right: a function that checks whether the content of a file is a valid result.
    """
    at = what, threads
    if at not in _found:
        with _locks.setdefault(at, threading.Lock()):
            if at not in _found:
                _found[at] = _kept(*at, measure, right)
    return _found[at]


def processor() -> str:
    """Return the name of the processor."""
    return _facts().get("model name") or platform.processor() or platform.machine()


def machine(threads: int) -> str:
    """Return a text with everything that a result depends on."""
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
    """Run `measure` in a new thread, which has its own modes (such as autocast) and its own scratch arrays."""
    found: list[dict[str, Any]] = []
    before = torch.get_num_threads()

    @torch.no_grad()
    def run() -> None:
        torch.set_num_threads(threads)
        try:
            found.append(measure())
        finally:
            torch.set_num_threads(before)  # because threads that start later use this number

    thread = threading.Thread(target=run, name="ranvier measures")
    thread.start()
    thread.join()
    if not found:
        raise RuntimeError("ranvier: measuring this machine failed; the error is above")
    return found[0]


def _processor() -> str:
    """Return a text that identifies this type of processor."""
    facts = _facts()
    if not facts:
        return f"{platform.machine()} {platform.processor()}"
    return " ".join(str(facts.get(k)) for k in ("model name", "cpu family", "model", "flags"))


@cache
def _facts() -> dict[str, str]:
    """Return the properties that Linux reports for the last processor; empty on other systems."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    return {}
