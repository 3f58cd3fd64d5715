"""Write a network as a NIR graph."""

import inspect
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from ranvier.convert.nir.layers import LAYERS, SILENT, Site, kind, node, reason
from ranvier.convert.nir.time import Clock
from ranvier.convert.nir.wired import Looped, Wired
from ranvier.extras import needed
from ranvier.nn.fold import Fold, temporal
from ranvier.nn.recurrent import Recurrent
from ranvier.nn.sequential import Sequential
from ranvier.nn.temporal import check_sequence

# The network runs once on a sequence [2, 3, ...] to find the shapes; with time folded into the batch it is [6, ...].
STEPS, BATCH = 2, 3
Sources = tuple[str, ...]


def to_nir(
    net: nn.Module, sample: Tensor, dt: float = 1e-4, *, method: str = "euler", approximate: bool = False
) -> Any:
    """Return the network as a `nir.NIRGraph` with the same parameters: `ranvier.convert.nir.save(path, graph)` writes
    it to a file.

    net: a `Sequential`, any nesting of them, or a module of your own that torch.fx can trace and in which branches are
    joined by addition. sample [T, B, *features]: an input sequence; only its shape is used. dt: the time step in
    seconds (snnTorch and SpikingJelly assume 1e-4 s for a file, Norse 1e-3 s). method: how decays per step become time
    constants: "euler" (beta = 1 - dt / tau), "exponential" (beta = exp(-dt / tau), where the input is constant within a
    step) or "impulse" (the same beta, where each input is a charge that arrives at once).

    NIR neurons fire above their threshold, so `v_threshold` is the largest number below the threshold of the layer.
    They reset to a level: a soft reset raises an error with the path of the layer, and so does a layer without a node.
    approximate=True writes a soft reset as a hard reset and rounds learned delays; graph.metadata["approximations"]
    lists these approximations.

    >>> import torch, ranvier as rv
    >>> from ranvier.convert.nir import to_nir
    >>> net = rv.Sequential(rv.Linear(3, 4), rv.LIF(reset="zero"), rv.Linear(4, 2), rv.LI())
    >>> graph = to_nir(net, torch.zeros(1, 1, 3))
    >>> [type(n).__name__ for n in graph.nodes.values()]
    ['Input', 'Affine', 'LIF', 'Affine', 'LI', 'Output']
    """
    check_sequence(net, sample)
    writer = _Writer(net, sample, Clock(dt, method), approximate)
    source = writer.add("input", node("Input", input_type=np.array(writer.features(sample.shape))), ())
    ends = writer.through(net, "", source)
    writer.add("output", node("Output", output_type=np.array(writer.result)), ends)
    told = {"dt": float(dt), "method": method, "writer": "ranvier"}
    if writer.notes:
        told["approximations"] = "\n".join(writer.notes)
    return graph(writer.nodes, writer.edges, told)


def graph(nodes: dict[str, Any], edges: Sequence[tuple[str, str]], metadata: dict[str, Any] | None = None) -> Any:
    """Make a NIR graph with any version of `nir`; the shapes are given, so `nir` need not infer them."""
    with needed("a NIR graph"):
        import nir

    known = inspect.signature(nir.NIRGraph.__init__).parameters
    options: dict[str, Any] = {"type_check": False} if "type_check" in known else {}
    made = nir.NIRGraph(nodes, list(edges), **options)
    if "metadata" in known:
        made.metadata = metadata or {}
    return made


class _Writer:
    """Goes through a network and writes nodes and edges."""

    def __init__(self, net: nn.Module, sample: Tensor, clock: Clock, approximate: bool):
        self.clock, self.approximate = clock, approximate
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self.notes: list[str] = []
        self.shapes: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self.result = self._watch(net, sample)

    def _watch(self, net: nn.Module, sample: Tensor) -> tuple[int, ...]:
        """Run the network once and record the shapes before and after every layer."""

        def note(layer: nn.Module, inputs: tuple, output: Any) -> None:
            if isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
                self.shapes[id(layer)] = self.features(inputs[0].shape), self.features(output.shape)

        hooks = [m.register_forward_hook(note) for m in net.modules()]
        training = net.training
        try:
            with torch.no_grad():
                y = net.eval()(sample.new_zeros(STEPS, BATCH, *sample.shape[2:]))
        finally:
            net.train(training)
            for hook in hooks:
                hook.remove()
        if not isinstance(y, Tensor):
            raise ValueError(f"to_nir: the network must return one tensor, got {type(y).__name__}")
        return self.features(y.shape)

    def features(self, shape: Sequence[int]) -> tuple[int, ...]:
        return tuple(shape[1:] if shape[0] == STEPS * BATCH else shape[2:])

    def add(self, name: str, made: Any, sources: Sources) -> Sources:
        free = name
        number = 2
        while free in self.nodes:
            free, number = f"{name}_{number}", number + 1
        self.nodes[free] = made
        if len(set(sources)) < len(sources):
            raise ValueError(f"to_nir: {name!r} adds an output to itself; NIR has one edge between two nodes")
        self.edges += [(a, free) for a in sources]
        return (free,)

    def through(self, layer: Any, path: str, sources: Sources) -> Sources:
        """Write a layer whose input is the sum of these nodes; return the nodes whose sum is its output."""
        one = kind(layer)
        if one in (Sequential, nn.Sequential):
            for name, child in layer.named_children():
                sources = self.through(child, f"{path}.{name}".lstrip("."), sources)
            return sources
        if one is Fold:
            return self.through(layer.module, path, sources)
        if one in SILENT:
            return sources
        if one is Recurrent:
            return self.add(path or "recurrent", self._recurrent(layer, path), sources)
        if one in LAYERS:
            return self.add(path or one.__name__.lower(), self._node(layer, path, self.shapes[id(layer)]), sources)
        if one in (Wired, Looped):
            return self._wired(layer, path, sources)
        if temporal(layer) and next(layer.children(), None) is not None and not hasattr(layer, "scan"):
            return self._traced(layer, path, sources)
        raise ValueError(f"to_nir: layer {path!r} ({one.__name__}) {reason(layer)}")

    def _node(self, layer: nn.Module, path: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> Any:
        site = Site(path, layer, *shapes, self.clock, self.approximate, self.notes)
        return LAYERS[kind(layer)](site)

    def _recurrent(self, layer: Recurrent, path: str) -> Any:
        """Return a neuron and its feedback layer as a nested graph."""
        inputs, outputs = self.shapes[id(layer)]
        back = layer.feedback
        if kind(back) not in LAYERS or kind(layer.neuron) not in LAYERS:
            problem = back if kind(back) not in LAYERS else layer.neuron
            raise ValueError(f"to_nir: layer {path!r} (Recurrent of {kind(problem).__name__}) {reason(problem)}")
        nodes = {
            "input": node("Input", input_type=np.array(inputs)),
            "lif": self._node(layer.neuron, f"{path}.neuron", (inputs, outputs)),
            "w_rec": self._node(back, f"{path}.feedback", (outputs, inputs)),
            "output": node("Output", output_type=np.array(outputs)),
        }
        return graph(nodes, [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")])

    def _wired(self, layer: Any, path: str, sources: Sources) -> Sources:
        if len(layer.inputs) != 1 or len(layer.outputs) != 1:
            raise ValueError(
                f"to_nir: {path!r} has {len(layer.inputs)} inputs and {len(layer.outputs)} outputs, not one"
            )
        ends: dict[str, Sources] = {layer.inputs[0]: sources}
        first: dict[str, str] = {}  # the first node of each layer
        for name in layer.sequence:
            if name not in layer.inputs:
                before, known = tuple(s for a in layer.sources[name] for s in ends[a]), len(self.nodes)
                inner = f"{path}.{name}".lstrip(".")
                ends[name] = self.through(layer.layers[name], inner, before) if name in layer.layers else before
                first.update((name, made) for made in [*self.nodes][known : known + 1])
        for a, b in layer.back:
            if b not in first:
                raise ValueError(f"to_nir: {path!r}: an output leads back to {b!r}, which is not a layer with a node")
            self.edges += [(s, first[b]) for s in ends[a]]
        return ends[layer.outputs[0]]

    def _traced(self, layer: nn.Module, path: str, sources: Sources) -> Sources:
        """Write a user's own module: its forward pass, as torch.fx traces it."""
        where = f"to_nir: {path or 'the network'} ({type(layer).__name__})"
        try:
            calls = _Leaves().trace(layer)
        except Exception as problem:  # forward may raise any error when it is traced
            raise ValueError(f"{where}: torch.fx cannot trace its forward: {problem}") from problem
        ends: dict[fx.Node, Sources] = {}
        for call in calls.nodes:
            if call.op == "placeholder":
                ends[call] = sources if not ends else self._only_one(where)
            elif call.op == "call_module":
                inner = f"{path}.{call.target}".lstrip(".")
                ends[call] = self.through(layer.get_submodule(call.target), inner, ends[call.args[0]])
            elif call.op in ("call_function", "call_method") and call.target in ADDS and not call.kwargs:
                ends[call] = tuple(s for a in call.args for s in ends[a])
            elif call.op == "output":
                return ends[call.args[0]]
            else:
                raise ValueError(f"{where}: its forward calls {call.target}, which has no node; make it a layer")
        raise ValueError(f"{where}: its forward returns nothing")

    def _only_one(self, where: str) -> Sources:
        raise ValueError(f"{where}: its forward takes more than one input")


ADDS = {torch.add, operator.add, operator.iadd, "add", "__add__"}


class _Leaves(fx.Tracer):
    """A tracer for which every inner module is a leaf, and also the functions that fold time into the batch."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True
