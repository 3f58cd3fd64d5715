"""How a GPU is timed."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from gpu_peers import Compiled, Peer, SpikingJelly


class Clock:
    """Medians of passes on a device, in milliseconds; which sizes to take, and who could not be measured and why."""

    def __init__(self, device: str, sizes: Any):
        self.device, self.sizes, self.rate = device, sizes, 0.0
        self.peers = Compiled("inductor" if device == "cuda" else "eager"), SpikingJelly()
        self.absent: dict[str, set[str]] = {}
        self.repeats = 20 if device == "cuda" else 1

    def __call__(self, run: Callable[[], object], repeats: int = 0) -> float:
        """Milliseconds of one run, as the device counts them."""
        for _ in range(3 if self.device == "cuda" else 1):  # compiles, and fills the caches of memory
            run()
        return statistics.median(self._once(run) for _ in range(repeats or self.repeats))

    def _once(self, run: Callable[[], object]) -> float:
        if self.device != "cuda":
            begin = time.perf_counter()
            run()
            return (time.perf_counter() - begin) * 1e3
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()  # type: ignore[no-untyped-call]
        run()
        end.record()  # type: ignore[no-untyped-call]
        end.synchronize()
        return begin.elapsed_time(end)

    def peak(self, run: Callable[[], object]) -> float | None:
        """Most memory that was taken at once, in MB."""
        if self.device != "cuda":
            return None
        torch.cuda.reset_peak_memory_stats()
        run()
        return torch.cuda.max_memory_allocated() / 1e6

    def beside(self, build: Callable[[Peer], Callable[[], object]], repeats: int = 5) -> dict[str, float | None]:
        """Milliseconds of the same work by each peer, or None where it cannot be had: then the reason is kept."""
        found: dict[str, float | None] = {}
        for peer in self.peers:
            torch.compiler.reset()  # else several networks share one limit of recompilations
            try:
                found[peer.name] = self(build(peer), min(repeats, self.repeats))
            except Exception as problem:
                self.absent.setdefault(peer.name, set()).add(
                    f"{type(problem).__name__}: {str(problem).splitlines()[0][:200]}"
                )
                found[peer.name] = None
        return found


def copy_rate(clock: Clock) -> float:
    """Bytes a second that a copy of large tensors reads and writes."""
    count = 1 << (28 if clock.device == "cuda" else 16)
    source, target = (torch.zeros(count, device=clock.device) for _ in range(2))
    return 8 * count / (clock(lambda: target.copy_(source)) * 1e-3)
