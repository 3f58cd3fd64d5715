"""How a GPU is timed, and what stands beside Ranvier there."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Clock:
    """Medians of passes on a device, in milliseconds; which sizes to take, and who could not be measured and why."""

    def __init__(self, device: str, sizes: Any):
        self.device, self.sizes, self.rate = device, sizes, 0.0
        self.absent: dict[str, str] = {}
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

    def beside(self, name: str, make: Callable[[], Callable[[], object]], repeats: int = 0) -> float | None:
        """Milliseconds of another way, or None where it cannot be had: then the reason is kept."""
        try:
            return self(make(), repeats)
        except Exception as problem:
            self.absent.setdefault(name, f"{type(problem).__name__}: {str(problem).splitlines()[0][:200]}")
            return None


def copy_rate(clock: Clock) -> float:
    """Bytes a second that a copy of large tensors reads and writes."""
    count = 1 << (28 if clock.device == "cuda" else 16)
    source, target = (torch.zeros(count, device=clock.device) for _ in range(2))
    return 8 * count / (clock(lambda: target.copy_(source)) * 1e-3)


class _Spike(torch.autograd.Function):
    """A step whose derivative is 1 / (1 + (pi u)^2), as an arctangent gives it."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (u,) = ctx.saved_tensors
        return grads[0] / (1 + (torch.pi * u) ** 2)


def plain_step(x: Tensor, v: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """One step of LIF in torch's own operations."""
    v = beta * v + x
    z = _Spike.apply(v - 1.0)
    return z, v - z


def compiled_loop(beta: float, steps: int) -> Callable[[Tensor], Tensor]:
    """LIF through time by torch.compile: the whole loop where it is short, else its step (a loop of hundreds of steps
    takes minutes to compile)."""

    def loop(x: Tensor, step: Any = plain_step) -> Tensor:
        v, out = torch.zeros_like(x[0]), []
        for now in x.unbind(0):
            z, v = step(now, v, beta)
            out.append(z)
        return torch.stack(out)

    if steps <= 16:
        return torch.compile(loop)
    step = torch.compile(plain_step)
    return lambda x: loop(x, step)


def spikingjelly(beta: float) -> torch.nn.Module:
    """Its LIF for whole sequences, on the fastest of its backends that works here."""
    from spikingjelly.activation_based import functional, neuron, surrogate  # type: ignore[import-not-found]

    class Reset(torch.nn.Module):
        def __init__(self, node: torch.nn.Module):
            super().__init__()
            self.node = node

        def forward(self, x: Tensor) -> Tensor:
            functional.reset_net(self.node)
            return self.node(x)

    problems = []
    for backend in ("triton", "cupy", "torch"):
        try:
            node = neuron.LIFNode(
                1 / (1 - beta), False, 1.0, None, surrogate.ATan(), True, step_mode="m", backend=backend
            )
            made = Reset(node.cuda())
            made(torch.rand(4, 2, 8, device="cuda", requires_grad=True)).sum().backward()
            return made
        except Exception as problem:
            problems.append(f"{backend}: {problem}")
    raise RuntimeError("; ".join(problems))
