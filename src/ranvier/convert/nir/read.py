"""Build a network from a NIR graph."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ranvier.backends.choose import backend
from ranvier.convert.nir import file
from ranvier.convert.nir.nodes import NODES, Place
from ranvier.convert.nir.time import Clock
from ranvier.convert.nir.wired import Looped, Wired, order
from ranvier.nn.fold import temporal
from ranvier.nn.neuron import Neuron
from ranvier.nn.recurrent import Recurrent
from ranvier.nn.sequential import Sequential

DEEPEST = 16  # most levels of nested graphs
LARGEST = 10**7  # most numbers of one input per step

Edges = list[tuple[str, str]]


def from_nir(source: Any, dt: float | None = None, *, method: str | None = None) -> nn.Module:
    """Build a network from a NIR graph or file. All nodes of the standard are supported; no node is dropped.

    source: a `nir.NIRGraph`, or the path of a file. dt: the time step of the network in seconds, and method: how its
    differential equations become steps ("euler", "exponential", "impulse"; see `to_nir`). If they are None the file
    must contain them. Files from `to_nir` do, others do not: snnTorch and SpikingJelly assume dt=1e-4 and "euler",
    Norse 1e-3 and "euler", Sinabs and Spyx dt=1.0 and "impulse".

    A chain of nodes becomes a `Sequential`. A neuron whose output returns to it through a linear node becomes a
    `Recurrent`. Branches become a `Wired`, and other cycles a `Looped`, in which outputs that lead back arrive one step
    later. A NIR neuron fires above its threshold, so the threshold of the layer is the next larger number. Membranes
    start at v_leak, or at 0 if a node has no v_leak. If a node cannot be converted, a ValueError names it with the
    reason.

    >>> import torch, ranvier as rv
    >>> from ranvier.convert.nir import from_nir, to_nir
    >>> net = rv.Sequential(rv.Linear(3, 4), rv.LIF(reset="zero"))
    >>> [type(layer).__name__ for layer in from_nir(to_nir(net, torch.zeros(1, 1, 3)))]
    ['Linear', 'LIF']
    """
    graph = file.load(source) if isinstance(source, (str, Path)) else source
    if not isinstance(getattr(graph, "nodes", None), Mapping):
        raise TypeError(f"from_nir: wanted a nir.NIRGraph or the path of a file, got {type(graph).__name__}")
    return _Reader(_clock(graph, dt, method)).net(graph, "", 0)


def _clock(graph: Any, dt: float | None, method: str | None) -> Clock:
    told = getattr(graph, "metadata", None)
    told = told if isinstance(told, Mapping) else {}
    if dt is None and "dt" not in told:
        raise ValueError(
            "from_nir: the graph has no time step; pass dt in seconds (snnTorch and SpikingJelly use 1e-4, "
            "Norse 1e-3, Sinabs and Spyx 1.0 with method='impulse')"
        )
    said = told.get("method", "euler")
    said = said.decode() if isinstance(said, bytes) else str(said)
    try:
        step = float(told["dt"]) if dt is None else dt
    except (TypeError, ValueError):
        raise ValueError(f"from_nir: the graph has dt={told['dt']!r}, which is not a number; pass dt") from None
    return Clock(step, said if method is None else method)


class _Reader:
    def __init__(self, clock: Clock):
        self.clock = clock

    def net(self, graph: Any, where: str, depth: int) -> nn.Module:
        """Return a graph, or a nested graph, as a module."""
        here = f"the graph {where!r}" if where else "the graph"
        if depth > DEEPEST:
            raise ValueError(f"from_nir: graphs are nested more than {DEEPEST} deep at {where!r}")
        nodes = {str(k): n for k, n in graph.nodes.items()}
        edges = _edges(graph, nodes, here)
        inputs = [k for k, n in nodes.items() if type(n).__name__ == "Input"]
        outputs = [k for k, n in nodes.items() if type(n).__name__ == "Output"]
        if not inputs or not outputs:
            raise ValueError(f"from_nir: {here} has {len(inputs)} Input and {len(outputs)} Output nodes; wanted one")
        _check_ends(edges, inputs, outputs, here)
        _check_reach(nodes, edges, inputs, outputs, here)
        layers = {
            k: self.layer(k if not where else f"{where}.{k}", n, depth)
            for k, n in nodes.items()
            if k not in inputs and k not in outputs
        }
        return _check_shapes(_together(layers, edges, inputs, outputs, here), nodes, inputs, outputs, here)

    def layer(self, name: str, node: Any, depth: int) -> nn.Module:
        kind = type(node).__name__
        if kind == "NIRGraph":
            return self.net(node, name, depth + 1)
        if kind not in NODES:
            raise ValueError(f"from_nir: node {name!r} is a {kind}; known are {', '.join(NODES)} and NIRGraph")
        try:
            return NODES[kind](Place(name, node, self.clock))
        except ValueError as problem:
            named = str(problem).startswith("from_nir")
            raise ValueError(str(problem) if named else f"from_nir: node {name!r} ({kind}): {problem}") from None
        except (TypeError, AttributeError, OverflowError, RuntimeError, IndexError) as problem:
            raise ValueError(f"from_nir: node {name!r} ({kind}) cannot be read: {problem}") from problem


def _edges(graph: Any, nodes: Mapping[str, Any], here: str) -> Edges:
    try:
        edges = [(str(a), str(b)) for a, b in graph.edges]
    except (TypeError, ValueError):
        raise ValueError(f"from_nir: the edges of {here} are not pairs of names") from None
    if unknown := {n for edge in edges for n in edge} - nodes.keys():
        raise ValueError(f"from_nir: {here} has edges to {sorted(unknown)[:5]}, which are no nodes of it")
    if len(set(edges)) < len(edges):
        raise ValueError(f"from_nir: {here} has an edge twice")
    return edges


def _check_ends(edges: Edges, inputs: Sequence[str], outputs: Sequence[str], here: str) -> None:
    if into := [e for e in edges if e[1] in inputs or e[0] in outputs]:
        raise ValueError(f"from_nir: {here} has the edge {into[0]}, into an input or out of an output")


def _check_reach(
    nodes: Mapping[str, Any], edges: Edges, inputs: Sequence[str], outputs: Sequence[str], here: str
) -> None:
    """Check that every node is on a path from an input to an output. If not, an edge is missing, and the node would be
    dropped silently.
    """
    forward, _ = order([*nodes], edges, inputs)
    turned, _ = order([*nodes], [(b, a) for a, b in edges], outputs)
    for found, what in ((forward, "leads from an input to"), (turned, "leads to an output from")):
        if lost := sorted(nodes.keys() - set(found)):
            raise ValueError(f"from_nir: in {here} no path {what} {lost[:5]}; an edge is missing")


def _together(
    layers: dict[str, nn.Module], edges: Edges, inputs: list[str], outputs: list[str], here: str
) -> nn.Module:
    """Return the layers as the simplest module that has their edges."""
    names = _names([*layers, *inputs, *outputs])
    layers = {names[k]: m for k, m in layers.items()}
    edges = [(names[a], names[b]) for a, b in edges]
    inputs, outputs = [names[k] for k in inputs], [names[k] for k in outputs]
    _check_cycles(layers, edges, here)
    if (pair := _recurrent(layers, edges, inputs, outputs)) is not None:
        return pair
    layers, edges = _pairs(layers, edges)
    if (chain := _chain(layers, edges, inputs, outputs)) is not None:
        return Sequential(*(layers[k] for k in chain))
    _, back = order([*inputs, *layers, *outputs], edges, inputs)
    return (Looped if back else Wired)(layers, edges, inputs, outputs)


def _names(given: list[str]) -> dict[str, str]:
    """Return {given name: valid name of a module}: without dots, and different from the attributes of modules."""
    taken: dict[str, str] = {}
    probe = nn.ModuleDict()
    for name in given:
        clean = name.replace(".", "_") or "_"
        while clean in taken.values() or hasattr(probe, clean):
            clean += "_"
        taken[name] = clean
    return taken


def _check_cycles(layers: Mapping[str, nn.Module], edges: Edges, here: str) -> None:
    """Raise an error for a cycle without a temporal layer: it would have no delay."""
    plain = {n for n, m in layers.items() if not _remembers(m)}
    without = [(a, b) for a, b in edges if a in plain and b in plain]
    _, back = order([*plain], without, [*plain])
    if back:
        raise ValueError(f"from_nir: {here} has a cycle of nodes without memory, through {back[0]}")


def _remembers(layer: nn.Module) -> bool:
    return temporal(layer) and not (isinstance(layer, Neuron) and not layer.states)


def _returning(layers: Mapping[str, nn.Module], edges: Edges) -> list[tuple[str, str]]:
    """Return pairs (neuron, linear layer) in which the only use of the linear layer is feedback to the neuron."""
    there = set(edges)
    found = []
    for a, b in edges:
        neuron, back = layers.get(a), layers.get(b)
        if (b, a) in there and isinstance(neuron, Neuron) and isinstance(back, nn.Linear):
            if sum(b in e for e in edges) == 2 and len(neuron.inputs) == 1:
                found.append((a, b))
    return found


def _joined(neuron: Any, back: Any) -> Recurrent:
    """Join a neuron and its feedback. The feedback becomes a torch.nn.Linear, so that one operator can run both."""
    with torch.device("meta"):
        linear = nn.Linear(back.in_features, back.out_features, bias=back.bias is not None)
    linear.weight, linear.bias = back.weight, back.bias
    return Recurrent(neuron, linear)


def _recurrent(layers: dict[str, nn.Module], edges: Edges, inputs: list[str], outputs: list[str]) -> nn.Module | None:
    if len(layers) != 2 or len(inputs) != 1 or len(outputs) != 1:
        return None
    for neuron, back in _returning(layers, edges):
        if sorted(edges) == sorted([(inputs[0], neuron), (neuron, back), (back, neuron), (neuron, outputs[0])]):
            return _joined(layers[neuron], layers[back])
    return None


def _pairs(layers: dict[str, nn.Module], edges: Edges) -> tuple[dict[str, nn.Module], Edges]:
    """Join each neuron whose output returns to it through one linear layer with that layer."""
    layers = dict(layers)
    for neuron, back in _returning(layers, edges):
        if neuron in layers and back in layers and not isinstance(layers[neuron], Recurrent):
            layers[neuron] = _joined(layers[neuron], layers.pop(back))
            edges = [e for e in edges if back not in e]
    return layers, edges


def _chain(layers: dict[str, nn.Module], edges: Edges, inputs: list[str], outputs: list[str]) -> list[str] | None:
    if len(inputs) != 1 or len(outputs) != 1 or len(edges) != len(layers) + 1:
        return None
    after = dict(edges)
    name, found = inputs[0], []
    while (name := after.get(name, outputs[0])) != outputs[0]:
        if len(found) > len(layers):
            return None
        found.append(name)
    return found if len(found) == len(layers) else None


def _shape(node: Any, field: str) -> tuple[int, ...]:
    types = getattr(node, field, None) or {}
    value = next(iter(types.values()), None)
    if value is None:
        return ()
    try:
        return tuple(int(v) for v in np.atleast_1d(np.asarray(value)))
    except (TypeError, ValueError, OverflowError):
        return (-1,)


def _check_shapes(
    net: nn.Module, nodes: Mapping[str, Any], inputs: list[str], outputs: list[str], here: str
) -> nn.Module:
    """Run the network on one step of zeros, to find shapes that do not fit."""
    shapes = [_shape(nodes[k], "input_type") for k in inputs]
    for name, shape in zip(inputs, shapes, strict=True):
        if any(not 0 < n <= LARGEST for n in shape) or np.prod(shape, dtype=float) > LARGEST or len(shape) > 8:
            raise ValueError(f"from_nir: the Input {name!r} of {here} has the shape {shape}, which no input can have")
    xs = tuple(torch.zeros(1, 1, *(s or (1,))) for s in shapes)
    if sum(x.numel() for x in xs) > LARGEST:
        raise ValueError(f"from_nir: the inputs of {here} are too large")
    try:
        with torch.no_grad(), backend("reference"):  # so nothing is compiled for one step
            y = net(xs[0] if len(xs) == 1 else xs)
    except (RuntimeError, ValueError, TypeError, IndexError) as problem:
        raise ValueError(f"from_nir: the shapes in {here} do not fit: {problem}") from problem
    for name, one in zip(outputs, y if isinstance(y, tuple) else (y,), strict=True):
        wanted = _shape(nodes[name], "output_type")
        if wanted and wanted != tuple(one.shape[2:]) and np.prod(wanted) != 1:
            raise ValueError(
                f"from_nir: the Output {name!r} of {here} has shape {wanted}, but its nodes return "
                f"{tuple(one.shape[2:])}"
            )
    return net
