"""Penalties on the activity of hidden layers, and how to record this activity without changing the model.

>>> import torch, ranvier
>>> net = ranvier.Sequential(torch.nn.Linear(3, 8), ranvier.LIF(), torch.nn.Linear(8, 2), ranvier.LI())
>>> with watch(net) as spikes:
...     y = net(torch.rand(10, 4, 3))
>>> list(spikes), spikes["1"].shape
(['1'], torch.Size([10, 4, 8]))
>>> penalty = silence(min_spikes=1.0)(counts(spikes)) + sparsity(max_spikes=5.0)(counts(spikes))
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ranvier.nn.temporal import Temporal
from ranvier.train.traces import within

Penalty = Callable[[Any], Tensor]
REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {"mean": torch.mean, "sum": torch.sum}


@contextmanager
def watch(net: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Record the spikes of every spiking layer that runs within this block: {module path: `[T, B, *features]`}.

    The spikes are part of the autograd graph of the forward pass, so penalties on them train the network. One pass is
    enough, while `record` and `net(x)` would be two. The network is not changed. If a layer is used twice, only its
    last spikes are kept.
    """
    seen: dict[str, Tensor] = {}

    def remember(path: str) -> Callable[..., None]:
        def hook(layer: nn.Module, inputs: Any, output: Any) -> None:
            seen[path] = output[0] if isinstance(output, tuple) else output

        return hook

    hooks = [layer.register_forward_hook(remember(path)) for path, layer in spiking_layers(net).items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def spiking_layers(net: nn.Module) -> dict[str, Temporal]:
    """Return {module path: layer} of the temporal layers whose output is spikes; of nested ones, only the outermost."""
    found: dict[str, Temporal] = {}
    for path, layer in net.named_modules():
        inside = any(path.startswith(f"{outer}.") or outer == "" for outer in found)
        if isinstance(layer, Temporal) and not inside and any(getattr(m, "spiking", False) for m in layer.modules()):
            found[path] = layer
    return found


def counts(spikes: Mapping[str, Tensor] | Tensor, lengths: Tensor | None = None, time_axis: int = 0) -> dict:
    """Count the spikes of every neuron over the whole sequence: {path: `[T, B, *features]`} -> {path: `[B,
    *features]`}.

    spikes: the result of `watch` or of `ranvier.record(net, x, "z")` (or one tensor). lengths `[B]` in [1, T]: steps
    beyond a sample's length do not count.
    """

    def count(z: Tensor) -> Tensor:
        z = z.movedim(time_axis, 0)
        if lengths is not None:
            counted = within("counts", lengths, z.shape[1:2], len(z))
            z = torch.where(counted.view(*counted.shape, *[1] * (z.dim() - 2)), z, 0.0)
        return z.sum(0)

    return {path: count(z) for path, z in (spikes if isinstance(spikes, Mapping) else {"": spikes}).items()}


def silence(min_spikes: float, reduction: str = "mean") -> Penalty:
    """Return a penalty on neurons that rarely fire: `max(0, min_spikes - m)^2`, where m is the mean count of a neuron
    over the batch; averaged (or summed) over the neurons of a layer, then summed over layers.

    The returned function: counts per sequence `[B, *features]` (see `counts`), one tensor or nested dictionaries, lists
    and tuples of tensors -> scalar. `min_spikes` is in spikes per sequence.

    >>> silence(2.0)(torch.tensor([[0.0, 1.0], [0.0, 3.0]]))  # means 0 and 2
    tensor(2.)
    """
    reduce = _reduction("silence", reduction)
    return lambda tree: _over_layers(tree, lambda c: reduce(functional.relu(min_spikes - c.mean(0)) ** 2))


def sparsity(max_spikes: float, norm: Callable[[Tensor], Tensor] | None = None, reduction: str = "mean") -> Penalty:
    """Return a penalty on layers that fire much: `norm(max(0, m - max_spikes))`, where m is the mean count of a layer's
    neurons in one sample; averaged (or summed) over samples, then summed over layers.

    `norm` is elementwise; by default Huber's (`e^2 / 2` up to 1, `e - 1/2` beyond). Counts as in `silence`.

    >>> sparsity(1.0)(torch.tensor([[4.0, 2.0], [1.0, 0.0]]))  # means 3 and 0.5; 2 too many: 1.5
    tensor(0.7500)
    """
    reduce, norm = _reduction("sparsity", reduction), norm or _huber
    return lambda tree: _over_layers(tree, lambda c: reduce(norm(functional.relu(c.flatten(1).mean(1) - max_spikes))))


def rate_target(spikes_per_sequence: float, reduction: str = "mean") -> Penalty:
    """Return a penalty that drives every neuron towards the same number of spikes: `(m - spikes_per_sequence)^2`, where
    m is its mean count over the batch; averaged (or summed) over the neurons of a layer, then summed over layers.
    Counts as in `silence`.

    >>> rate_target(2.0)(torch.tensor([[1.0, 4.0], [1.0, 2.0]]))  # means 1 and 3
    tensor(1.)
    """
    reduce = _reduction("rate_target", reduction)
    return lambda tree: _over_layers(tree, lambda c: reduce((c.mean(0) - spikes_per_sequence) ** 2))


def _huber(e: Tensor) -> Tensor:
    return functional.huber_loss(e, torch.zeros_like(e), reduction="none")


def _reduction(function: str, name: str) -> Callable[[Tensor], Tensor]:
    if name not in REDUCTIONS:
        raise ValueError(f"{function}: reduction must be one of {list(REDUCTIONS)}, got {name!r}")
    return REDUCTIONS[name]


def _over_layers(tree: Any, penalty: Callable[[Tensor], Tensor]) -> Tensor:
    layers = list(_leaves(tree))
    if not layers:
        raise ValueError("no layer's counts were given: does the net have spiking layers, and did it run?")
    return torch.stack([penalty(layer) for layer in layers]).sum()


def _leaves(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        if tree.dim() < 2:
            raise ValueError(f"counts are {list(tree.shape)}; wanted spikes per sequence [B, *features]")
        yield tree
    elif isinstance(tree, (Mapping, list, tuple)):
        for branch in tree.values() if isinstance(tree, Mapping) else tree:
            yield from _leaves(branch)
    else:
        raise TypeError(f"counts must be tensors in dictionaries, lists or tuples, got {type(tree).__name__}")
