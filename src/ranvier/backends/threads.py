"""Run tiles of neurons on several threads: the calling thread, and those of a pool of the process."""

import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

_pool: ThreadPoolExecutor | None = None
_lock = threading.Lock()


def _forget() -> None:
    """Drop the pool after a fork: the child process has none of its parent's threads."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)


def _workers() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1), thread_name_prefix="ranvier")
        return _pool


def spread(work: Callable[[int, int], None], total: int, tile: int, worth: bool) -> None:
    """Run `work(lo, hi)` over 0..total in whole tiles, on as many threads as torch uses.

    If `worth` is false (too little work), the calling thread does it alone. The work is cut into several pieces per
    thread. A thread that becomes free runs the next piece, so one slow thread does not delay the others.
    """
    threads = min(torch.get_num_threads(), -(-total // tile))
    if threads < 2 or not worth:
        return work(0, total)
    piece = tile * max(1, -(-total // tile) // (4 * threads))
    starts = itertools.count(0, piece)  # next() on it is atomic

    def take() -> None:
        for lo in starts:
            if lo >= total:
                return
            work(lo, min(lo + piece, total))

    helpers = [_workers().submit(take) for _ in range(threads - 1)]
    take()
    for helper in helpers:
        if not helper.cancel():  # helpers that have not started are cancelled: no work is left
            helper.result()
