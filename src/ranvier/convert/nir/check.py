"""Check whether a graph computes the same as a network: both run, and their spikes are compared."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.convert.nir.read import from_nir
from ranvier.nn import verbs
from ranvier.nn.neuron import Neuron
from ranvier.nn.recurrent import Recurrent


@dataclass(frozen=True)
class Compared:
    """The comparison of one layer.

    spikes: the number of spikes in the network; different: how many values are not equal; first: the first step with
    such a value, None if all are equal; largest: the largest difference.
    """

    path: str
    spikes: int
    different: int
    first: int | None
    largest: float


@dataclass(frozen=True)
class Agreement:
    """The result of `check`; `print` shows it as a table."""

    layers: tuple[Compared, ...]
    steps: int

    @property
    def equal(self) -> bool:
        """Whether all spikes of all steps are the same (and all numbers that are not spikes differ by less than
        1e-4).
        """
        return all(one.first is None for one in self.layers)

    def __str__(self) -> str:
        rows = [
            f"{one.path:24} {one.spikes:9,} spikes  "
            + ("equal" if one.first is None else f"{one.different:,} differ, from step {one.first} on")
            for one in self.layers
        ]
        return "\n".join([f"{self.steps} steps", *rows])


def check(net: nn.Module, graph: Any, x: Tensor, dt: float | None = None, *, method: str | None = None) -> Agreement:
    """Run a network and a NIR graph (or file) on x [T, B, *features] and compare spikes step by step.

    If both have the same layers of neurons in the same order, these layers are compared one by one; otherwise only the
    outputs are compared. dt and method: see `from_nir`.

    >>> import torch, ranvier as rv
    >>> from ranvier.convert.nir import check, to_nir
    >>> net = rv.Sequential(rv.Linear(3, 4), rv.LIF(reset="zero"), rv.Linear(4, 2), rv.LI())
    >>> x = torch.rand(20, 2, 3)
    >>> check(net, to_nir(net, x), x).equal
    True
    """
    other = from_nir(graph, dt, method=method)
    with torch.no_grad():
        (y, ours), (w, theirs) = _traces(net, x), _traces(other, x)
    if len(ours) == len(theirs) and all(a.shape == b.shape for (_, a), (_, b) in zip(ours, theirs, strict=True)):
        pairs = [(path, a, b) for (path, a), (_, b) in zip(ours, theirs, strict=True)]
    else:
        pairs = []
    return Agreement(tuple(_compare(*one) for one in [*pairs, ("output", y, w)]), len(x))


def _traces(net: nn.Module, x: Tensor) -> tuple[Any, list[tuple[str, Tensor]]]:
    """Return the output, and the output of every layer of neurons, in the order of the layers."""
    neurons = [p for p, m in net.named_modules() if isinstance(m, (Neuron, Recurrent)) and getattr(m, "states", True)]
    if not neurons:
        return net(x), []
    with verbs._open(net, names=("z",)) as book:
        y = net(x)
    return y, [(p or "output", book.traces[p]["z"]) for p in neurons if "z" in book.traces.get(p, {})]


def _compare(path: str, ours: Tensor, theirs: Tensor) -> Compared:
    if ours.shape != theirs.shape:
        raise ValueError(
            f"check: the result at {path} is {tuple(ours.shape)} in the network, but {tuple(theirs.shape)} in the graph"
        )
    binary = bool(((ours == 0) | (ours == 1)).all()) and bool(((theirs == 0) | (theirs == 1)).all())
    apart = (ours != theirs) if binary else ((ours - theirs).abs() > 1e-4 * ours.abs().clamp_min(1.0))
    steps = apart.flatten(1).any(1).nonzero()
    first = int(steps[0]) if len(steps) else None
    largest = float((ours - theirs).abs().max()) if ours.numel() else 0.0
    return Compared(path, int(ours.sum()) if binary else 0, int(apart.sum()), first, largest)
