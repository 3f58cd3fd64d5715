"""SpikingActivation and Lowpass, (32, 1000, 128), forward and backward, beside pytorch-spiking in the same process.

The peer is installed in .peers/pytorch_spiking (`pip install --no-deps pytorch-spiking` in an environment there; it
needs nothing but torch, and runs on ours). Nothing is timed that has not just agreed.
"""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measure import copy_seconds, interleaved
from torch import Tensor, nn

import ranvier as rv

BATCH, STEPS, UNITS, DT, TAU = 32, 1000, 128, 0.01, 0.1
PEER = Path(__file__).parents[1] / ".peers" / "pytorch_spiking"


def peer() -> Any:
    """The other library, or None if it is not installed."""
    for folder in PEER.glob("lib/python3*/site-packages"):
        sys.path.append(str(folder))
    try:
        import pytorch_spiking
    except ModuleNotFoundError:
        return None
    return pytorch_spiking


def turn(layer: nn.Module, x: Tensor, g: Tensor, backward: bool) -> None:
    x.grad = None
    with torch.set_grad_enabled(backward):
        y = layer(x)
    if backward:
        y.backward(g)


def agree(name: str, ours: nn.Module, theirs: nn.Module, x: Tensor, first: Tensor) -> None:
    """Refuse to time what differs: spikes within one count (float order may move one), levels within 1e-4."""
    with torch.no_grad():
        a, b = ours(x).transpose(0, 1), theirs(first)
    if name == "SpikingActivation":
        wrong = ((a - b).abs() > 0.5 / DT).float().mean().item()
        assert wrong < 1e-3 and ((a.sum(1) - b.sum(1)).abs() * DT).max() < 1.5, f"{name}: {wrong:.2%} of steps differ"
    else:
        assert (a - b).abs().max() < 1e-4, f"{name}: levels differ by {(a - b).abs().max():.2g}"


def layers(other: Any) -> dict[str, list[nn.Module]]:
    """Ours (time first), ours with the peer's names, and the peer itself (both batch first)."""
    from ranvier.compat import pytorch_spiking as same

    start = torch.rand(BATCH, UNITS)
    found = {
        "SpikingActivation": [rv.SpikingActivation(torch.relu, DT, start=start)],
        "Lowpass": [rv.Lowpass(TAU, DT, learn=("tau", "level"), shape=UNITS)],
    }
    for library in filter(None, (same, other)):
        found["SpikingActivation"].append(library.SpikingActivation(torch.relu, DT, initial_state=start.clone()))
        found["Lowpass"].append(library.Lowpass(TAU, UNITS, DT))
    return found


def main(quick: bool = False) -> None:
    for threads in sorted({1, os.cpu_count() or 1}):
        torch.set_num_threads(threads)
        table(100 if quick else STEPS, quick)


def table(steps: int, quick: bool) -> None:
    torch.manual_seed(0)
    first = torch.randn(BATCH, steps, UNITS)
    x, g, g_first = first.transpose(0, 1).contiguous(), torch.rand(steps, BATCH, UNITS), torch.rand(BATCH, steps, UNITS)
    x.requires_grad_(), first.requires_grad_()
    limits = [1e3 * copy_seconds(x.numel() * bytes_moved // 8) for bytes_moved in (8, 20)]
    print(
        f"\n({BATCH}, {steps}, {UNITS}) float32, {torch.get_num_threads()} thread(s); medians of turns that alternate"
    )
    print(f"torch's copy of as many bytes: forward {limits[0]:.2f} ms, forward and backward {limits[1]:.2f} ms\n")
    print("| layer | what | ranvier, ms | its compat, ms | pytorch-spiking, ms | faster |\n|---|---|---|---|---|---|")
    for name, several in layers(peer()).items():
        if len(several) == 3:
            agree(name, several[0], several[2], x, first)
        for backward in (False, True):
            runs: list[Callable[[], object]] = [partial(turn, several[0], x, g, backward)]
            runs += [partial(turn, layer, first, g_first, backward) for layer in several[1:]]
            slow = name == "Lowpass" and backward and not quick  # the peer's graph of 1,000 steps takes seconds
            times = interleaved(*runs, repeats=3 if slow else 15, warmup=1, settle=0 if slow else 2)
            shown = [f"{1e3 * t:.2f}" for t in times] + ["not installed"] * (3 - len(times))
            ratio = f"{times[2] / times[0]:.1f}x, compat {times[2] / times[1]:.1f}x" if len(times) == 3 else ""
            what = "forward and backward" if backward else "forward"
            print(f"| {name} | {what} | {' | '.join(shown)} | {ratio} |", flush=True)


if __name__ == "__main__":
    main("--quick" in sys.argv)
