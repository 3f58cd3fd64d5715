"""One step of a stream: Linear-LIF-Linear-LI 64-128-10 at batch 1, one thread, and the same with recurrent neurons.

Microseconds, the median of many steps in turns, beside a plain loop of torch operations; `run.py latency` measures a
training step and a forward pass at T=10, batch 8 beside other libraries (cases.py).
"""

import statistics
import time
from collections.abc import Callable

import torch
from measure import cpu_name
from torch import Tensor, nn

import ranvier as rv

BETA, SIZES = 0.9, (64, 128, 10)


def plain(net: rv.Sequential) -> Callable[[Tensor], Tensor]:
    """The network as a loop of torch operations would step it: the shortest that can be written by hand."""
    first, second, middle = net[0], net[2], net[1]
    feedback = middle.feedback if isinstance(middle, rv.Recurrent) else None
    linear, state = nn.functional.linear, [torch.zeros(1, n) for n in (SIZES[1], SIZES[2], SIZES[1])]

    def step(x: Tensor) -> Tensor:
        v, o, z = state
        u = linear(x, first.weight, first.bias)
        v = v * BETA + (u if feedback is None else u + linear(z, feedback.weight))
        z = (v >= 1.0).float()
        o = o * BETA + linear(z, second.weight, second.bias)
        state[:] = v - z, o, z
        return o

    return step


def turns(*runs: Callable[[], object], rounds: int) -> list[float]:
    """Microseconds of each, medians of turns of twenty."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for mine, run in zip(times, runs, strict=True):
            for _ in range(20):
                start = time.perf_counter()
                run()
                mine.append((time.perf_counter() - start) * 1e6)
    return [statistics.median(t) for t in times]


@torch.no_grad()
def main(quick: bool = False) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = (torch.rand(1, SIZES[0]) < 0.3).float()
    print(f"{cpu_name()}, {torch.backends.cpu.get_cpu_capability()}; microseconds a step")
    for name, middle in (("feed-forward", rv.LIF()), ("recurrent", rv.Recurrent(rv.LIF(), SIZES[1]))):
        net = rv.Sequential(nn.Linear(*SIZES[:2]), middle, nn.Linear(*SIZES[1:]), rv.LI())
        stream, loop = rv.Stream(net), plain(net)
        for _ in range(50):
            torch.testing.assert_close(stream(x), loop(x), rtol=1e-4, atol=1e-4)
        mine, theirs = turns(lambda s=stream: s(x), lambda s=loop: s(x), rounds=5 if quick else 50)
        print(f"{name:<13} ranvier {mine:6.1f}   plain loop {theirs:6.1f}   {theirs / mine:.1f}x")
    torch.set_num_threads(threads)
