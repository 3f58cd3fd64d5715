"""Run work on several threads: on those that torch uses for its own operations.

After an operation, torch's threads keep their cores busy for some milliseconds, in case more work comes. Threads
of another pool would have to wait for these cores. So the work is given to torch's threads, through OpenMP, the library
that starts them. This is possible in the main thread, if torch uses OpenMP on Linux. Otherwise a pool of Python threads
does the work. A forked process has none of its parent's threads, and would wait for them forever; torch uses one thread
there.
"""

import ctypes
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch

_REGION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

_pool: ThreadPoolExecutor | None = None
_lock = threading.Lock()
_local = threading.local()
_started = False  # whether work was given to torch's threads
_forked = False


def _forget() -> None:
    """Forget all threads after a fork: the child process has none of its parent's threads."""
    global _pool, _lock, _forked
    _pool, _lock, _forked = None, threading.Lock(), True
    if _started:
        torch.set_num_threads(1)


os.register_at_fork(after_in_child=_forget)


def usable() -> int:
    """Return the number of threads that work started here may use: 1 within work that runs on several threads."""
    return 1 if getattr(_local, "within", False) else torch.get_num_threads()


def spread(work: Callable[[int, int], None], total: int, tile: int, worth: bool) -> None:
    """Run `work(lo, hi)` over 0..total in whole tiles, on as many threads as torch uses.

    If `worth` is false (too little work), the calling thread does it alone. The work is cut into several pieces per
    thread. A thread that becomes free runs the next piece, so one slow thread does not delay the others.
    """
    threads = min(usable(), -(-total // tile))
    if threads < 2 or not worth:
        return work(0, total)
    piece = tile * max(1, -(-total // tile) // (4 * threads))
    starts = itertools.count(0, piece)  # next() on it is atomic

    def take() -> None:
        for lo in starts:
            if lo >= total:
                return
            work(lo, min(lo + piece, total))

    _together(take, threads)


def shares(total: int) -> list[slice]:
    """Return the shares of 0..total, one for each thread on which `each` runs jobs."""
    threads = usable() if _openmp_here() else 1
    return [slice(total * k // threads, total * (k + 1) // threads) for k in range(threads)]


def each(jobs: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run jobs at the same time, without autograd, and return their results. If there are several, torch's operations
    use one thread in each.
    """
    if len(jobs) == 1:
        return [jobs[0]()]
    found, places, inference = [None] * len(jobs), itertools.count(), torch.is_inference_mode_enabled()

    def take() -> None:
        with torch.inference_mode(inference), torch.no_grad():
            for k in places:
                if k >= len(jobs):
                    return
                found[k] = jobs[k]()

    _together(take, len(jobs))
    return found


def _together(take: Callable[[], None], threads: int) -> None:
    """Call `take` on this thread and on others at once, until all calls have returned."""
    global _started
    errors: list[BaseException] = []
    caller, parallel = threading.get_ident(), _openmp_here()

    def run(_: Any = None) -> None:
        try:
            with _within(parallel is not None and threading.get_ident() != caller):
                take()
        except BaseException as error:  # raised again by the calling thread
            errors.append(error)

    if parallel:
        _started = True
        parallel(_REGION(run), None, torch.get_num_threads(), 0)  # always all threads: OpenMP ends those left out
    else:
        helpers = [_workers().submit(run) for _ in range(threads - 1)]
        run()
        for helper in helpers:
            if not helper.cancel():  # helpers that have not started are cancelled: no work is left
                helper.result()
    if errors:
        raise errors[0]


@contextmanager
def _within(foreign: bool) -> Iterator[None]:
    """Mark this thread as one that runs work. foreign: whether torch started the thread. Python forgets such a thread,
    and with it its scratch arrays, when its work ends, unless it is told once to remember it.
    """
    if foreign and not hasattr(_local, "within"):
        ctypes.pythonapi.PyGILState_Ensure()
    outer, _local.within = getattr(_local, "within", False), True
    try:
        yield
    finally:
        _local.within = outer


def _openmp_here() -> Callable[..., None] | None:
    """Return the function of OpenMP that runs a function on all threads of torch, if this thread may use it.

    Each thread that starts OpenMP has helpers of its own; so this is only for the main thread.
    """
    here = threading.get_ident() == threading.main_thread().ident
    return _openmp() if here and not _forked and not getattr(_local, "within", False) else None


@cache
def _openmp() -> Callable[..., None] | None:
    try:
        parallel = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so")).GOMP_parallel
    except (OSError, AttributeError):
        return None
    parallel.argtypes, parallel.restype = (_REGION, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint), None
    return parallel


def _workers() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1), thread_name_prefix="ranvier")
        return _pool
