"""Measure how much memory each layer of a network uses between the forward and the backward pass."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.nn.plan import Stage
from ranvier.nn.recurrent import Recurrent
from ranvier.nn.sequential import Sequential
from ranvier.nn.temporal import here
from ranvier.notebook import table


@dataclass(frozen=True)
class Kept:
    """The result of `saved_memory`: rows of (path, type, bytes, saved tensors); print it."""

    rows: tuple[tuple[str, str, int, str], ...]

    @property
    def total(self) -> int:
        """The sum of the bytes of all layers."""
        return sum(row[2] for row in self.rows)

    def __str__(self) -> str:
        lines = [(p, layer, _said(size), what) for p, layer, size, what in self.rows] + [
            ("together", "", _said(self.total), "")
        ]
        a, b, c = (max(len(line[k]) for line in lines) for k in range(3))
        return "\n".join(f"{p:<{a}}  {t:<{b}}  {s:>{c}}  {w}".rstrip() for p, t, s, w in lines)

    def _repr_html_(self) -> str:
        rows = [(path, layer, _said(size), what) for path, layer, size, what in self.rows]
        return table(["layer", "type", "kept", "what"], rows, f"{_said(self.total)} together")


def _said(size: float) -> str:
    for unit in ("B", "KB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def saved_memory(net: nn.Module, x: Any) -> Kept:
    """Run the network once, with gradients, and report what each layer saves for the backward pass.

    x: the input, as in `net(x)`. A tensor that two layers save is counted for the first of them. Parameters and x are
    in memory anyway, so they are not counted. Layers that run as one stage of a `Sequential` are reported together. For
    a `ranvier.online.Learner`, the report lists the traces of each layer, whose size does not depend on T.

    >>> import torch, ranvier
    >>> net = ranvier.Sequential(torch.nn.Linear(4, 8), ranvier.LIF())
    >>> print(ranvier.saved_memory(net, torch.rand(10, 2, 4)))
    0-1       Linear, LIF  640 B  float32 [10, 2, 8]
    together               640 B
    """
    given = x if isinstance(x, (tuple, list)) else (x,)
    seen = {
        v.untyped_storage().data_ptr() for v in (*net.parameters(), *net.buffers(), *given) if isinstance(v, Tensor)
    }
    paths = {module: path for path, module in net.named_modules()}
    within: list[tuple[str, str]] = []  # path and type of the running layers
    kept: dict[tuple[str, str], list[Tensor]] = {}
    told: dict[str, str] = {}  # traces of layers that learn forward in time, by path

    def keep(v: Tensor) -> Tensor:
        at = v.untyped_storage().data_ptr()
        if at not in seen and v.untyped_storage().nbytes():
            seen.add(at)
            kept.setdefault(within[-1], []).append(v)
        return v

    @contextmanager
    def running(stage: Stage) -> Iterator[None]:
        first, *_, last = (paths[m] for m in stage.layers)
        path = first if first == last else f"{first}-{last.rpartition('.')[2]}"
        within.append((path, ", ".join(type(m).__name__ for m in stage.layers)))
        try:
            yield
            told[path] = told[last] = getattr(stage, "says", "")
        finally:
            within.pop()

    def enter(module: nn.Module, _: Any) -> None:
        within.append((paths[module] or "(the network)", type(module).__name__))

    def leave(*_: Any) -> None:
        within.pop()

    together = {m for r in net.modules() if isinstance(r, Recurrent) for m in r.feedback.modules()}
    together |= {m for s in net.modules() if isinstance(s, Sequential) for k in s.plan().parts for m in layers(k)}
    hooks = []
    for module in paths.keys() - together:  # layers with hooks would not run as a stage
        hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave, always_call=True)]
    outer, here.watch = getattr(here, "watch", None), running
    try:
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda v: v):
            y = net(x)
    finally:
        here.watch = outer
        for hook in hooks:
            hook.remove()
    del y
    return Kept(tuple((*which, _bytes(vs), _shapes(vs) + _carries(told.get(which[0]))) for which, vs in kept.items()))


def layers(part: nn.Module | Stage) -> list[nn.Module]:
    """Return the layers of a stage and all modules inside them; an empty list for a module that runs alone."""
    return [m for layer in part.layers for m in layer.modules()] if isinstance(part, Stage) else []


def _bytes(tensors: list[Tensor]) -> int:
    return sum(v.untyped_storage().nbytes() for v in tensors)


def _carries(what: str | None) -> str:
    return f"; carries {what}" if what else ""


def _shapes(tensors: list[Tensor]) -> str:
    counts = Counter(f"{str(v.dtype).removeprefix('torch.')} {list(v.shape)}" for v in tensors)
    return ", ".join(what if count == 1 else f"{count} x {what}" for what, count in counts.items())
