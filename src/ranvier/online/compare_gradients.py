"""Compare several gradients of one network, parameter by parameter."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.nn.neurons.timed import GRADIENTS as TIMED
from ranvier.nn.neurons.timed import TimedLIF
from ranvier.nn.timed import TimedRecurrent
from ranvier.notebook import table
from ranvier.online.learner import Learner
from ranvier.online.methods import GRADIENTS, ONLINE, checked

KNOWN = (*GRADIENTS, "surrogate")  # "surrogate" is for timed spikes


@dataclass(frozen=True)
class Row:
    """One parameter: the norm of each of its gradients, their cosines to the first one, and the largest entry of the
    first one.
    """

    name: str
    norms: dict[str, float]
    cosines: dict[str, float]
    largest: float

    @property
    def cosine(self) -> float:
        """Cosine between the second gradient and the first one."""
        return list(self.cosines.values())[1]


@dataclass(frozen=True)
class Comparison:
    """The result of `compare_gradients`; print it.

    refused: gradients that cannot be computed for this network, with the reason. grazing: for layers of timed spikes,
    the share of spikes whose derivative is limited by the option `cut`.
    """

    rows: tuple[Row, ...]
    refused: dict[str, str] = field(default_factory=dict)
    grazing: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        wide = max((len(r.name) for r in self.rows), default=4)
        kinds = list(self.rows[0].norms) if self.rows else []
        first, *others = kinds or [""]
        lines = [f"{'':<{wide}}  {first:>9}" + "".join(f"  {kind:>17}" for kind in others) + f"  {'largest':>9}"]
        for r in self.rows:
            shown = "".join(f"  {r.norms[kind]:9.2e} {r.cosines[kind]:7.3f}" for kind in others)
            lines.append(f"{r.name:<{wide}}  {r.norms[first]:9.2e}{shown}  {r.largest:9.2e}")
        return "\n".join(lines + self._notes())

    def _notes(self) -> list[str]:
        refused = [f"{kind}: {why}" for kind, why in self.refused.items()]
        return refused + [f"{path}: {share:.1%} of spikes graze" for path, share in self.grazing.items()]

    def _repr_html_(self) -> str:
        kinds = list(self.rows[0].norms) if self.rows else []
        norms, cosines = [f"norm, {k}" for k in kinds], [f"cosine, {k}" for k in kinds[1:]]
        rows = []
        for r in self.rows:
            shown = [f"{r.norms[k]:.2e}" for k in kinds] + [f"{r.cosines[k]:.3f}" for k in kinds[1:]]
            rows.append([r.name, *shown, f"{r.largest:.2e}"])
        return table(["parameter", *norms, *cosines, "largest"], rows, "; ".join(self._notes()))


def compare_gradients(
    net: nn.Module, x: Any, loss: Callable[[Any], Tensor], gradients: Sequence[str] | None = None
) -> Comparison:
    """Compare several gradients of a network, parameter by parameter: their norms, and their cosines to the first
    gradient.

    net: the network, which is not changed. x: its input. loss: a function; loss(net(x)) is one number.
    gradients: some of "bptt", "drtrl", "eprop", "ostl", "ottt", "sltt" (see `ranvier.online.Learner`); for a network of
    timed spikes "eventprop" and "surrogate". None: all gradients of this list; those that cannot be computed for this
    network are reported with the reason. All are computed for the same network and the same spikes.

    >>> import torch, ranvier
    >>> net = ranvier.Sequential(ranvier.Linear(4, 8), ranvier.LIF(), ranvier.Linear(8, 2), ranvier.LI())
    >>> found = ranvier.compare_gradients(net, torch.rand(20, 3, 4), lambda y: y.square().mean())
    >>> found.rows[0].name, round(found.rows[0].cosines["drtrl"], 3)
    ('0.weight', 1.0)
    """
    timed = any(isinstance(m, TimedLIF) for m in net.modules())
    kinds = tuple(gradients) if gradients is not None else TIMED if timed else ("bptt", *ONLINE)
    for kind in kinds:
        checked("compare_gradients: a gradient", kind, KNOWN)
        if kind in TIMED and not timed:
            raise ValueError(f"compare_gradients: {kind!r} needs timed spikes, but this network has no TimedLIF")
    found, refused, grazing = dict[str, dict[str, Tensor]](), dict[str, str](), dict[str, float]()
    for kind in kinds:
        try:
            with torch.random.fork_rng(devices=[]):
                found[kind], grazes = _gradients(copy.deepcopy(net), kind, x, loss)
        except (TypeError, ValueError) as problem:
            if gradients is not None or kind not in ONLINE:
                raise
            refused[kind] = str(problem).splitlines()[0]
            continue
        grazing = grazing or grazes
    names = next(iter(found.values()), {})
    return Comparison(tuple(_row(n, {kind: g[n] for kind, g in found.items()}) for n in names), refused, grazing)


def _gradients(
    net: nn.Module, kind: str, x: Any, loss: Callable[[Any], Tensor]
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Return all gradients of one kind, and the share of grazing spikes of each layer."""
    net.zero_grad()
    layers = {path: m for path, m in net.named_modules() if isinstance(m, (TimedLIF, TimedRecurrent))}
    given: dict[str, Any] = {}
    hooks = [m.register_forward_hook(partial(_keep, given, path)) for path, m in layers.items()]
    if kind in TIMED:
        for layer in layers.values():
            getattr(layer, "neuron", layer).switch(kind)  # type: ignore[operator]
    learner = Learner(net, kind) if kind in ONLINE else net  # type: ignore[arg-type]
    loss(learner(x)).backward()
    for hook in hooks:
        hook.remove()
    grads = {n: p.grad if p.grad is not None else torch.zeros_like(p) for n, p in net.named_parameters()}
    return grads, {path: _grazing(layers[path], pair) for path, pair in given.items()}


def _keep(given: dict[str, Any], path: str, layer: nn.Module, args: tuple, y: Any) -> None:
    given[path] = args[0]


def _row(name: str, grads: dict[str, Tensor]) -> Row:
    first = next(iter(grads.values()))
    norms = {kind: g.norm().item() for kind, g in grads.items()}
    cosines = {
        kind: nn.functional.cosine_similarity(first.flatten(), g.flatten(), dim=0).item() for kind, g in grads.items()
    }
    return Row(name, norms, cosines, first.abs().max().item())


@torch.no_grad()
def _grazing(layer: Any, pair: Any) -> float:
    """Return the share of spikes at which the membrane rises more slowly than the option `cut` allows."""
    (a, _), _, traces = layer.run(pair, None, ("v",))
    layer = getattr(layer, "neuron", layer)
    v, dt = traces["v"], layer.settings["dt"]
    tau = layer.tau_syn if layer.settings["target"] is None else layer.tau_syn_to
    r = -tau * torch.log(torch.where(a > 0, a, torch.ones_like(a)))
    before = torch.cat([torch.zeros_like(v[:1]), v[:-1]])
    risen = v + layer.threshold * torch.exp(-r / layer.tau_mem) - before  # the rise of the membrane before its reset
    fires = a > 0
    slow = fires & (risen < layer.settings["cut"] * dt / layer.tau_mem) & (before < layer.threshold)
    return (slow.sum() / fires.sum().clamp(min=1)).item()
