"""Convert a trained network to a spiking one."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn

from ranvier.convert.graph import WHY_NOT, Watch, ceiling, kind_of, maximum, module_of, reason_left, traced
from ranvier.convert.spiking import QCFS, MaxOfRates, RateIF
from ranvier.nn.temporal import check_sequence

Data = Tensor | Iterable[Any]
"""Images [N, *features], or an iterable of batches of images, or of batches (images, labels)."""


def batches(data: Data, size: int = 128) -> Iterator[Tensor]:
    """Yield the images in batches [B, *features]."""
    if not (hasattr(data, "__iter__") or hasattr(data, "__getitem__")):
        raise TypeError(
            f"convert: data must be a tensor [N, *features] or batches of them, got {type(data).__name__}; pass some "
            f"hundred training samples to calibrate with"
        )
    for batch in data.split(size) if isinstance(data, Tensor) else data:
        yield batch[0] if isinstance(batch, (tuple, list)) else batch


def _peaks(values: Tensor, share: float, per_channel: bool) -> Tensor:
    """Return the value that this share of the values [B, C, ...] does not exceed: one number, or one number per
    channel, [C, 1, ...].
    """
    rows = values.transpose(0, 1).flatten(1) if per_channel else values.reshape(1, -1)
    k = max(1, math.ceil(share * rows.shape[1]))
    peaks = rows.kthvalue(k, dim=1).values
    # the percentile of a channel that is rarely active can be 0, and a threshold of 0 would be wrong
    peaks = torch.where(peaks > 0, peaks, rows.max(1).values)
    return peaks.reshape(-1, *(1,) * (values.dim() - 2)) if per_channel else peaks[0]


@torch.no_grad()
def thresholds(
    net: fx.GraphModule, data: Data, names: set[str], balance: str, percentile: float, per_channel: bool
) -> dict[str, Tensor]:
    """Return the largest output of each rectifier over the data: the maximum ("max"), or the mean of the percentiles of
    the batches.
    """
    share = 1.0 if balance == "max" else percentile / 100.0
    seen: dict[str, list[Tensor]] = {name: [] for name in names}
    watch = Watch(net, names, lambda name, value: seen[name].append(_peaks(value, share, per_channel)))
    for x in batches(data):
        watch.run(x)
    if not all(seen.values()):
        raise ValueError("convert: data is empty; pass some hundred training samples [N, *features] to calibrate with")
    found = {k: torch.stack(v).amax(0) if balance == "max" else torch.stack(v).mean(0) for k, v in seen.items()}
    if bad := [k for k, v in found.items() if not bool(torch.isfinite(v).all())]:
        raise ValueError(
            f"convert: the outputs of {bad} are not finite on this data; nothing can be calibrated by them"
        )
    return {k: v.clamp_min(torch.finfo(v.dtype).tiny) for k, v in found.items()}


class Unfold(nn.Module):
    """A temporal layer in a graph whose tensors have time folded into the batch, [T * B, *features]."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, steps: int) -> Tensor:
        return self.layer(x.unflatten(0, (steps, -1))).flatten(0, 1)


class Spread(nn.Module):
    """Repeat a tensor that is the same at every step: [B, *features] -> [times * B, *features]."""

    def forward(self, x: Any, times: int) -> Any:
        return x if times == 1 or not isinstance(x, Tensor) else x.expand(times, *x.shape).flatten(0, 1)


class Spiking(nn.Module):
    """A converted network: x [T, B, *features] -> [T, B, *outputs]; the mean over T approaches the output of the
    trained network.

    Present an image as `x.expand(T, *x.shape)`; the layers before the first neuron are then computed once. It is an
    ordinary network of Ranvier: `scan`, `step`, `record`, `Stream` and fine-tuning by surrogate gradients work.

    left: the layers that could not be converted, {name: reason}. once: whether the layers before the neurons may be
    computed once for all steps.
    """

    def __init__(self, graph: fx.GraphModule, left: dict[str, str], once: bool = True):
        super().__init__()
        self.graph, self.left, self.once = graph, left, once

    def forward(self, x: Tensor) -> Tensor:
        check_sequence(self, x)
        steps = x.shape[0]
        constant = self.once and steps > 1 and x.stride(0) == 0
        times = steps if constant else 1
        y = self.graph(x[0] if constant else x.flatten(0, 1), ranvier_times=times, ranvier_steps=steps)
        return y.unflatten(0, (steps, -1))

    def neurons(self) -> dict[str, RateIF]:
        """The spiking neurons, by the name of the rectifier that each replaces."""
        known = {n.removeprefix("neurons."): m for n, m in self.graph.named_modules() if isinstance(m, Unfold)}
        return {name: m.layer for name, m in known.items() if isinstance(m.layer, RateIF)}


def convert(
    model: nn.Module, data: Data, *, balance: str = "percentile", percentile: float = 99.9, per_channel: bool = True
) -> Spiking:
    """Convert a trained network to a spiking one: every ReLU becomes a neuron whose firing rate is the output of the
    ReLU.

    Batch normalisation is folded into the layers before it; max pooling becomes `MaxOfRates`; additions, averages and
    other linear maps are not changed, since a spike has the height of the threshold. Layers that cannot be converted
    stay in place, run on every step separately, and are listed with the reason in `.left`.

    model: any module [B, *features] -> [B, *outputs] that torch.fx can trace; it is copied. data: some hundred training
    samples [N, *features] (or batches of them), on which the outputs of each ReLU are measured. balance: whether the
    threshold is the largest output ("max") or a percentile of the outputs ("percentile"). With a lower percentile the
    network needs fewer steps, but clips more outputs. per_channel: measure one threshold per channel, not one per
    layer. The upper limits of ReLUs and the trained thresholds of `QCFS` layers are kept. Rueckauer et al. 2017.

    >>> import torch, ranvier
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> x = torch.rand(100, 3)
    >>> spiking = ranvier.convert.convert(model, x)
    >>> bool((spiking(x.expand(256, 100, 3)).mean(0) - model(x)).abs().max() < 0.02)
    True
    """
    if balance not in ("max", "percentile"):
        raise ValueError(f'convert: balance must be "max" or "percentile", got {balance!r}')
    if not 0 < percentile <= 100:
        raise ValueError(f"convert: percentile must lie between 0 and 100, got {percentile!r}")
    net = traced(model)
    tops = {n.name: top for n in net.graph.nodes if (top := ceiling(net, n)) is not None}
    measured = {k for k in tops if not isinstance(module_of(net, _node(net, k)), QCFS)}
    found = thresholds(net, data, measured, balance, percentile, per_channel)
    like = next((p for p in net.parameters() if p.is_floating_point()), torch.empty(0))
    levels = {k: found[k].clamp(max=top) if k in found else like.new_tensor(top) for k, top in tops.items()}
    return _spiking(net, {k: RateIF(v) for k, v in levels.items()})


def quantised(
    model: nn.Module, data: Data, *, levels: int = 8, balance: str = "percentile", percentile: float = 99.9
) -> fx.GraphModule:
    """Replace every ReLU of a network by a `QCFS` with `levels` levels: train the result a little more, then `convert`
    it.

    Arguments as for `convert`; the initial thresholds are measured on the data, one per layer, and they can be trained.

    >>> import torch, ranvier
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> ranvier.convert.quantised(model, torch.rand(100, 3), levels=4)(torch.rand(5, 3)).shape
    torch.Size([5, 2])
    """
    net = traced(model)
    names = {n.name for n in net.graph.nodes if ceiling(net, n) is not None}
    for name, top in thresholds(net, data, names, balance, percentile, per_channel=False).items():
        node, path = _node(net, name), f"quantised_{name}"
        net.add_submodule(path, QCFS(top.item(), levels).to(top))
        with net.graph.inserting_before(node):
            new = net.graph.call_module(path, (node.all_input_nodes[0],))
        node.replace_all_uses_with(new)
        net.graph.erase_node(node)
    net.delete_all_unused_submodules()
    net.recompile()
    return net


def _node(net: fx.GraphModule, name: str) -> fx.Node:
    return next(n for n in net.graph.nodes if n.name == name)


def _spiking(net: fx.GraphModule, neurons: dict[str, RateIF]) -> Spiking:
    """Replace the rectifiers of a graph by neurons, and add time to it."""
    weave = _Weave(net)
    left: dict[str, str] = {}
    for node in list(net.graph.nodes):
        entered = any(a in weave.flowing for a in node.all_input_nodes)
        if node.name in neurons:
            weave.place(node, neurons[node.name])
        elif node.op == "output":
            weave.spread_inputs(node)
        elif entered and (pool := maximum(net, node)):
            weave.place(node, MaxOfRates(pool))
        elif entered and node not in weave.shapes:
            if reason := reason_left(net, node, weave.flowing):
                left[node.name] = reason
            weave.spread_inputs(node)
            weave.flowing.add(node)
        elif kind_of(net, node) in WHY_NOT:  # before the first neuron it computes the right values; it is only listed
            left[node.name] = WHY_NOT[kind_of(net, node)]
    net.graph.lint()
    net.delete_all_unused_submodules()
    net.recompile()
    return Spiking(net, left, weave.once).eval()


class _Weave:
    """Adds time to a graph. If the input is the same at every step, so are the `static` nodes; the `flowing` nodes
    change from step to step. `shapes` are nodes that depend only on shapes.
    """

    def __init__(self, net: fx.GraphModule):
        self.net, self.graph, self.once = net, net.graph, True
        (x,) = (n for n in self.graph.nodes if n.op == "placeholder")
        self.static, self.shapes, self.flowing = {x}, set(), set()
        for node in self.graph.nodes:
            if kind_of(net, node) in ("size", "dim", getattr) or (
                node.all_input_nodes and all(a in self.shapes for a in node.all_input_nodes)
            ):
                self.shapes.add(node)
            elif any(a in self.static for a in node.all_input_nodes):
                self.static.add(node)
        net.add_submodule("spread", Spread())
        with self.graph.inserting_after(x):
            self.times = self.graph.placeholder("ranvier_times")
            self.steps = self.graph.placeholder("ranvier_steps")

    def place(self, node: fx.Node, layer: nn.Module) -> None:
        """Replace a node by a temporal layer."""
        self.spread_inputs(node)
        path = f"neurons.{node.name}"
        self.net.add_submodule(path, Unfold(layer))
        with self.graph.inserting_before(node):
            new = self.graph.call_module(path, (node.all_input_nodes[0], self.steps))
        node.replace_all_uses_with(new)
        self.graph.erase_node(node)
        self.flowing.add(new)

    def spread_inputs(self, node: fx.Node) -> None:
        """Repeat every input of the node that is the same at all steps."""
        for a in node.all_input_nodes:
            if a in self.shapes and any(b not in self.flowing for b in a.all_input_nodes):
                self.once = False  # a number computed from the shape of one step would be wrong for all steps at once
            elif a in self.static and a not in self.flowing:
                with self.graph.inserting_before(node):
                    node.replace_input_with(a, self.graph.call_module("spread", (a, self.times)))
