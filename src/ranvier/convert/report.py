"""Compare a converted network with the trained network: layer by layer, and for several numbers of steps."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.convert.ann import Spiking
from ranvier.convert.graph import Watch, traced
from ranvier.nn.verbs import scan


@dataclass(frozen=True)
class Layer:
    """One layer of neurons after the last step.

    rate_error: mean of |rate - ReLU|, divided by the mean of ReLU; dead: share of neurons that never fired; saturated:
    share of pairs (neuron, sample) in which the neuron fired at every step; spikes: spikes per neuron and step.
    """

    name: str
    rate_error: float
    dead: float
    saturated: float
    spikes: float


@dataclass(frozen=True)
class Report:
    """The result of a comparison. trained: accuracy of the trained network, in [0, 1]; accuracy: {number of steps:
    accuracy of the converted network}; layers: its layers of neurons; left: the layers that were not converted.
    """

    trained: float
    accuracy: dict[int, float]
    layers: tuple[Layer, ...]
    left: dict[str, str]

    def __str__(self) -> str:
        lines = [f"trained network       {self.trained:8.2%}"]
        lines += [
            f"spikes, {t:4d} steps    {a:8.2%}  {100 * (a - self.trained):+.2f} points"
            for t, a in self.accuracy.items()
        ]
        lines += ["", f"{'layer':<16} {'rate error':>10} {'dead':>8} {'saturated':>10} {'spikes per step':>16}"]
        for k in self.layers:
            lines.append(f"{k.name:<16} {k.rate_error:10.2%} {k.dead:8.2%} {k.saturated:10.2%} {k.spikes:16.3f}")
        lines += [f"not converted: {name}: {why}" for name, why in self.left.items()]
        return "\n".join(lines)


class _Tally:
    """Sums over all samples for one layer of neurons."""

    def __init__(self):
        self.total: Any = 0.0  # sum of the spikes' heights in the current batch
        self.height: Any = 1.0
        self.ever: Any = False
        self.off = self.rate = self.full = self.spikes = self.count = 0.0

    def add(self, z: Tensor, height: Tensor) -> None:
        """Add z [T, B, *features], the output for the next steps of a batch; its spikes have this height."""
        self.total, self.height = self.total + z.sum(0), height

    def close(self, steps: int, wanted: Tensor) -> None:
        """End a batch for which the ReLU of the trained network returned `wanted` [B, *features]."""
        fired = (self.total / self.height).round()
        self.off += (self.total / steps - wanted).abs().sum().item()
        self.rate += wanted.abs().sum().item()
        self.full += (fired == steps).sum().item()
        self.spikes += fired.sum().item() / steps
        self.count += wanted.numel()
        self.ever = (fired > 0).any(0) | self.ever
        self.total = 0.0

    def layer(self, name: str) -> Layer:
        dead = 1.0 - self.ever.float().mean().item()
        error = self.off / self.rate if self.rate else 0.0
        return Layer(name, error, dead, self.full / self.count, self.spikes / self.count)


@torch.no_grad()
def report(
    spiking: Spiking,
    model: nn.Module,
    x: Tensor,
    labels: Tensor,
    steps: Sequence[int] = (8, 16, 32, 64, 128),
    batch: int = 100,
    seen: Callable[[int], object] = lambda count: None,
) -> Report:
    """Run both networks on images x [N, *features] with labels [N], and compare them.

    steps: the numbers of steps after which outputs are compared. batch: the number of images in a batch. seen(count):
    called after each batch with the number of its images.

    >>> import torch, ranvier
    >>> from torch import nn
    >>> model, x = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(100, 3)
    >>> found = ranvier.convert.report(ranvier.convert.convert(model, x), model, x, model(x).argmax(1), steps=(64,))
    >>> found.trained
    1.0
    """
    if len(x) != len(labels) or not len(x):
        raise ValueError(
            f"report: wanted x [N, *features] and labels [N], got {tuple(x.shape)} and {tuple(labels.shape)}"
        )
    steps = sorted(set(steps))
    if not steps or steps[0] < 1:
        raise ValueError(f"report: steps must be whole numbers above 0, got {steps}")
    spiking.eval()
    net = traced(model)
    tallies = {name: _Tally() for name in spiking.neurons()}
    wanted: dict[str, Tensor] = {}
    right, right_at = 0, dict.fromkeys(steps, 0)
    hooks = [
        neuron.register_forward_hook(lambda m, i, z, tally=tallies[name]: tally.add(z, m.threshold))
        for name, neuron in spiking.neurons().items()
    ]
    try:
        for now, named in zip(x.split(batch), labels.split(batch), strict=True):
            scores: Any = Watch(net, set(tallies), wanted.__setitem__).run(now)
            right += int((scores.argmax(1) == named).sum())
            for t, total in _totals(spiking, now, steps):
                right_at[t] += int((total.argmax(1) == named).sum())
            for name, tally in tallies.items():
                tally.close(steps[-1], wanted[name])
            seen(len(now))
    finally:
        for hook in hooks:
            hook.remove()
    layers = tuple(tally.layer(name.lstrip("_")) for name, tally in tallies.items())
    return Report(right / len(labels), {t: n / len(labels) for t, n in right_at.items()}, layers, spiking.left)


def _totals(spiking: Spiking, x: Tensor, steps: Sequence[int], chunk: int = 16) -> Iterator[tuple[int, Tensor]]:
    """Yield (t, sum of the outputs of the first t steps) for each t in `steps`. Time is divided into chunks, to save
    memory.
    """
    total, state, done = x.new_zeros(()), None, 0
    for t in steps:
        while done < t:
            now = min(chunk, t - done)
            y, state = scan(spiking, x.expand(now, *x.shape), state)
            total = y.sum(0) + total.to(y)
            done += now
        yield t, total
