"""Exact gradients beside surrogate ones, layer by layer."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.nn.neurons.timed import GRADIENTS, TimedLIF
from ranvier.nn.timed import TimedRecurrent


@dataclass(frozen=True)
class Row:
    """One parameter: the norms of both gradients, the cosine between them, and the largest entry of the exact one."""

    name: str
    exact: float
    surrogate: float
    cosine: float
    largest: float


@dataclass(frozen=True)
class Comparison:
    """What `gradients` found; print it. `grazing`: share of each layer's spikes whose derivative the guard `cut`
    holds back.
    """

    rows: tuple[Row, ...]
    grazing: dict[str, float]

    def __str__(self) -> str:
        wide = max((len(r.name) for r in self.rows), default=4)
        lines = [f"{'':<{wide}}  {'exact':>9}  {'surrogate':>9}  {'cosine':>7}  {'largest':>9}"]
        lines += [
            f"{r.name:<{wide}}  {r.exact:9.2e}  {r.surrogate:9.2e}  {r.cosine:7.3f}  {r.largest:9.2e}"
            for r in self.rows
        ]
        return "\n".join(lines + [f"{path}: {share:.1%} of spikes graze" for path, share in self.grazing.items()])


def compare_gradients(net: nn.Module, x: Any, loss: Callable[[Any], Tensor]) -> Comparison:
    """Compare EventProp's exact gradients of a network of timed spikes with surrogate ones, parameter by parameter.

    net: has `TimedLIF` layers; it is left as it is. loss(net(x)) gives one number. Both gradients are of the same
    network with the same spikes; only the derivative of the spike differs.

    >>> import torch, ranvier
    >>> from torch import nn
    >>> first, second = nn.Linear(2, 8, bias=False), nn.Linear(8, 3, bias=False)
    >>> _ = nn.init.normal_(first.weight, 8.0)
    >>> first, second = ranvier.TimedMap(first), ranvier.TimedMap(second)
    >>> net = ranvier.Sequential(first, ranvier.TimedLIF(), second, ranvier.TimedLI())
    >>> x = ranvier.encode_times(torch.rand(5, 2) * 10e-3, 30, net[1])
    >>> found = ranvier.compare_gradients(net, x, lambda v: v.amax(0).square().mean())
    >>> [row.name for row in found.rows]
    ['0.module.weight', '2.module.weight']
    """
    if not any(isinstance(m, TimedLIF) for m in net.modules()):
        raise ValueError("gradients: this network has no TimedLIF, whose gradient could be exact")
    found, grazing = {}, {}
    for kind in GRADIENTS:
        twin = copy.deepcopy(net)
        layers = {path: m for path, m in twin.named_modules() if isinstance(m, (TimedLIF, TimedRecurrent))}
        for layer in layers.values():
            getattr(layer, "neuron", layer).switch(kind)  # type: ignore[operator]
        given: dict[str, Any] = {}
        hooks = [m.register_forward_hook(partial(_keep, given, path)) for path, m in layers.items()]
        loss(twin(x)).backward()
        for hook in hooks:
            hook.remove()
        found[kind] = {n: p.grad if p.grad is not None else torch.zeros_like(p) for n, p in twin.named_parameters()}
        grazing = grazing or {path: _grazing(layers[path], pair) for path, pair in given.items()}
    exact, other = (found[kind] for kind in GRADIENTS)
    return Comparison(tuple(_row(n, exact[n], other[n]) for n in exact), grazing)


def _keep(given: dict[str, Any], path: str, layer: nn.Module, args: tuple, y: Any) -> None:
    given[path] = args[0]


def _row(name: str, exact: Tensor, surrogate: Tensor) -> Row:
    cosine = torch.nn.functional.cosine_similarity(exact.flatten(), surrogate.flatten(), dim=0)
    return Row(name, exact.norm().item(), surrogate.norm().item(), cosine.item(), exact.abs().max().item())


@torch.no_grad()
def _grazing(layer: Any, pair: Any) -> float:
    """The share of spikes at which the membrane rises more slowly than the guard allows."""
    (a, _), _, traces = layer.run(pair, None, ("v",))
    layer = getattr(layer, "neuron", layer)
    v, dt = traces["v"], layer.settings["dt"]
    tau = layer.tau_syn if layer.settings["target"] is None else layer.tau_syn_to
    r = -tau * torch.log(torch.where(a > 0, a, torch.ones_like(a)))
    before = torch.cat([torch.zeros_like(v[:1]), v[:-1]])
    risen = v + layer.threshold * torch.exp(-r / layer.tau_mem) - before  # the membrane before its reset
    fires = a > 0
    slow = fires & (risen < layer.settings["cut"] * dt / layer.tau_mem) & (before < layer.threshold)
    return (slow.sum() / fires.sum().clamp(min=1)).item()
