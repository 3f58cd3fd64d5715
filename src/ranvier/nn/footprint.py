"""What a network keeps in memory between its forward and its backward pass."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.nn.sequential import Sequential
from ranvier.nn.stage import Stage, stages


@dataclass(frozen=True)
class Kept:
    """Bytes kept for backward by each layer that keeps any: (path, type, bytes, what); print it."""

    rows: tuple[tuple[str, str, int, str], ...]

    @property
    def total(self) -> int:
        """Bytes of all layers."""
        return sum(row[2] for row in self.rows)

    def __str__(self) -> str:
        lines = [(p, layer, _said(size), what) for p, layer, size, what in self.rows] + [
            ("together", "", _said(self.total), "")
        ]
        a, b, c = (max(len(line[k]) for line in lines) for k in range(3))
        return "\n".join(f"{p:<{a}}  {t:<{b}}  {s:>{c}}  {w}".rstrip() for p, t, s, w in lines)


def staged(net: nn.Sequential) -> list[nn.Module]:
    """The layers that run as parts of a stage."""
    return [m for stage in stages(list(net)) if isinstance(stage, Stage) for m in stage.layers]


def _said(size: float) -> str:
    for unit in ("B", "KB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def memory(net: nn.Module, x: Any) -> Kept:
    """Run the network once, with gradients, and tell what each layer keeps for the backward pass.

    x: what the network takes, as in `net(x)`. A tensor that two layers keep is counted where it is kept first;
    parameters and x itself, which lie in memory anyway, are not counted. What a convolution, norm, neuron and pool keep
    that run as one stage is told of the `Sequential` they stand in.

    >>> import torch, ranvier
    >>> net = ranvier.Sequential(torch.nn.Linear(4, 8), ranvier.LIF())
    >>> print(ranvier.memory(net, torch.rand(10, 2, 4)))
    1         LIF  704 B  float32 [10, 2, 8], float32 [1, 2, 8]
    together       704 B
    """
    given = x if isinstance(x, (tuple, list)) else (x,)
    seen = {
        v.untyped_storage().data_ptr() for v in (*net.parameters(), *net.buffers(), *given) if isinstance(v, Tensor)
    }
    within: list[str] = []
    kept: dict[str, list[Tensor]] = {}

    def keep(v: Tensor) -> Tensor:
        at = v.untyped_storage().data_ptr()
        if at not in seen and v.untyped_storage().nbytes():
            seen.add(at)
            kept.setdefault(within[-1] if within else "", []).append(v)
        return v

    hooks, together = [], {m for s in net.modules() if isinstance(s, Sequential) for m in staged(s)}
    for path, module in net.named_modules():
        if module in together:
            continue  # a stage whose layers are watched runs them one by one
        hooks.append(module.register_forward_pre_hook(lambda m, a, path=path: within.append(path)))
        hooks.append(module.register_forward_hook(lambda m, a, y: within.pop() and None, always_call=True))
    try:
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda v: v):
            y = net(x)
    finally:
        for hook in hooks:
            hook.remove()
    del y
    modules = dict(net.named_modules())
    return Kept(
        tuple(
            (path or "(the network)", type(modules[path]).__name__, _bytes(vs), ", ".join(map(_shape, vs)))
            for path, vs in kept.items()
        )
    )


def _bytes(tensors: list[Tensor]) -> int:
    return sum(v.untyped_storage().nbytes() for v in tensors)


def _shape(v: Tensor) -> str:
    return f"{str(v.dtype).removeprefix('torch.')} {list(v.shape)}"
