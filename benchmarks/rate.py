"""SpikingActivation and Lowpass, (32, 1000, 128), forward and backward, beside pytorch-spiking in the same process.

pytorch-spiking lies in .peers/pytorch_spiking (a virtual environment made with
`python -m venv .peers/pytorch_spiking && .peers/pytorch_spiking/bin/pip install --no-deps pytorch-spiking`).
Nothing is timed that has not just agreed. Turns alternate, so that a busy machine slows both; the best turn counts.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import ranvier as rv

BATCH, STEPS, UNITS, DT, TAU = 32, 1000, 128, 0.01, 0.1
PEER = Path(__file__).parents[1] / ".peers" / "pytorch_spiking"


def peer():  # noqa: ANN201
    """The other library, or None if it is not installed."""
    for folder in PEER.glob("lib/python3*/site-packages"):
        sys.path.append(str(folder))
    try:
        import pytorch_spiking
    except ModuleNotFoundError:
        return None
    return pytorch_spiking


def turn(layer: nn.Module, x: Tensor, g: Tensor, backward: bool) -> float:
    """Seconds of one pass."""
    x.grad = None
    start = time.perf_counter()
    if backward:
        layer(x).backward(g)
    else:
        with torch.no_grad():
            layer(x)
    return time.perf_counter() - start


def agree(name: str, ours: nn.Module, theirs: nn.Module, x: Tensor, x_first: Tensor, dt: float) -> None:
    """Refuse to time what differs: spikes within one count (float order may move one), levels within 1e-4."""
    with torch.no_grad():
        a, b = ours(x).transpose(0, 1), theirs(x_first)
    if name == "SpikingActivation":
        wrong = ((a - b).abs() > 0.5 / dt).float().mean().item()
        assert wrong < 1e-3 and ((a.sum(1) - b.sum(1)).abs() * dt).max() < 1.5, f"{name}: {wrong:.2%} of ticks differ"
    else:
        assert (a - b).abs().max() < 1e-4, f"{name}: levels differ by {(a - b).abs().max():.2g}"


def pairs(other: object) -> dict[str, tuple[nn.Module, nn.Module | None, Callable | None]]:
    """Ours (time first), theirs and our own stand-in for theirs (both batch first)."""
    from ranvier.compat import pytorch_spiking as same

    start = torch.rand(BATCH, UNITS)
    low = rv.Lowpass(TAU, DT, learn=("tau", "level"), shape=UNITS)
    return {
        "SpikingActivation": (
            rv.SpikingActivation(torch.relu, DT, start=start),
            other and other.SpikingActivation(torch.relu, DT, initial_state=start.clone()),  # type: ignore
            same.SpikingActivation(torch.relu, DT, initial_state=start),
        ),
        "Lowpass": (low, other and other.Lowpass(TAU, UNITS, DT), same.Lowpass(TAU, UNITS, DT)),  # type: ignore
    }


def main(quick: bool = False) -> None:
    other = peer()
    steps = 100 if quick else STEPS
    torch.manual_seed(0)
    x_first = torch.randn(BATCH, steps, UNITS)
    x = x_first.transpose(0, 1).contiguous().requires_grad_()
    x_first.requires_grad_()
    g, g_first = torch.rand(steps, BATCH, UNITS), torch.rand(BATCH, steps, UNITS)
    print(f"({BATCH}, {steps}, {UNITS}) float32, torch {torch.__version__}, {torch.get_num_threads()} threads; best turn")
    print(f"{'':<19}{'':<20}{'ranvier':>10}{'its compat':>12}{'pytorch-spiking':>17}{'faster':>9}")
    for name, (ours, theirs, stand_in) in pairs(other).items():
        if theirs is not None:
            agree(name, ours, theirs, x, x_first, DT)
        for backward in (False, True):
            best = [float("inf")] * 3
            slow = name == "Lowpass" and backward and not quick  # their graph of 1,000 nodes takes seconds
            for k in range(12):
                best[0] = min(best[0], turn(ours, x, g, backward))
                best[1] = min(best[1], turn(stand_in, x_first, g_first, backward))  # type: ignore[arg-type]
                if theirs is not None and (not slow or k < 3):
                    best[2] = min(best[2], turn(theirs, x_first, g_first, backward))
            what = "forward and backward" if backward else "forward"
            ratio = f"{best[2] / best[0]:8.1f}x" if theirs is not None else "  no peer"
            print(f"{name:<19}{what:<20}{1e3 * best[0]:8.2f}ms{1e3 * best[1]:10.2f}ms{1e3 * best[2]:15.2f}ms{ratio}")


if __name__ == "__main__":
    main("--quick" in sys.argv)
