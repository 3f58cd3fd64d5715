"""Networks that are graphs: layers, and edges from outputs to inputs. Outputs that reach the same layer are added
up.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.nn import verbs
from ranvier.nn.fold import Fold, temporal
from ranvier.nn.temporal import Temporal, check_sequence

Edges = Sequence[tuple[str, str]]


def order(names: Sequence[str], edges: Edges, inputs: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the names that can be reached from the inputs, in an order in which they can run, and the edges that lead
    back in this order: their values arrive one step later.
    """
    after: dict[str, list[str]] = {n: [] for n in names}
    for a, b in edges:
        after[a].append(b)
    done: list[str] = []
    state = dict.fromkeys(names, "new")
    back = []
    for root in inputs:
        if state[root] != "new":
            continue
        state[root] = "open"
        path = [(root, iter(after[root]))]
        while path:  # depth first, without recursion: graphs may be deep
            name, rest = path[-1]
            following = next(rest, None)
            if following is None:
                state[name] = "done"
                done.append(name)
                path.pop()
            elif state[following] == "open":
                back.append((name, following))
            elif state[following] == "new":
                state[following] = "open"
                path.append((following, iter(after[following])))
    return done[::-1], back


class _Graph:
    """Base class of networks of named layers and edges."""

    layers: nn.ModuleDict
    edges: tuple[tuple[str, str], ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def build(
        self, layers: Mapping[str, nn.Module], edges: Edges, inputs: Sequence[str], outputs: Sequence[str]
    ) -> None:
        known = {*layers, *inputs, *outputs}
        for a, b in edges:
            if a not in known or b not in known:
                raise ValueError(f"{type(self).__name__}: edge {a!r} -> {b!r} names a layer that is not there")
        folded = {n: m if temporal(m) else Fold(m) for n, m in layers.items()}
        self.layers = nn.ModuleDict(folded)
        self.edges, self.inputs, self.outputs = tuple(edges), tuple(inputs), tuple(outputs)
        self.sequence, self.back = order([*dict.fromkeys((*inputs, *layers, *outputs))], edges, inputs)
        if lost := known - set(self.sequence):
            raise ValueError(f"{type(self).__name__}: no path leads from an input to {sorted(lost)}")
        ahead = set(self.edges) - set(self.back)
        self.sources = {n: [a for a, b in self.edges if b == n and (a, b) in ahead] for n in self.sequence}
        self.late = {n: [a for a, b in self.back if b == n] for n in self.sequence}

    def given(self, x: Any) -> dict[str, Any]:
        xs = tuple(x) if isinstance(x, (tuple, list)) else (x,)
        if len(xs) != len(self.inputs):
            raise ValueError(f"{type(self).__name__} takes {len(self.inputs)} inputs {self.inputs}, got {len(xs)}")
        for one in xs:
            check_sequence(self, one)  # type: ignore[arg-type]
        return dict(zip(self.inputs, xs, strict=True))

    def taken(self, values: Mapping[str, Tensor]) -> Any:
        found = tuple(values[n] for n in self.outputs)
        return found[0] if len(found) == 1 else found


def _total(values: Sequence[Tensor]) -> Tensor:
    return sum(values[1:], values[0])


class Wired(_Graph, nn.Module):
    """Layers connected by edges without cycles. Each layer runs the whole sequence before the next layer.

    layers: {name: module}. edges: (from, to), names of layers, inputs or outputs. x [T, B, *features], or a tuple with
    one such tensor for each input; returns the output, or a tuple of outputs.

    >>> import torch, ranvier
    >>> from ranvier.convert.nir import Wired
    >>> edges = [("in", "a"), ("in", "b"), ("a", "b"), ("b", "out")]
    >>> net = Wired({"a": ranvier.LIF(), "b": ranvier.LI()}, edges, ["in"], ["out"])
    >>> net(torch.rand(5, 2, 3)).shape
    torch.Size([5, 2, 3])
    """

    def __init__(self, layers: Mapping[str, nn.Module], edges: Edges, inputs: Sequence[str], outputs: Sequence[str]):
        super().__init__()
        self.build(layers, edges, inputs, outputs)
        if self.back:
            raise ValueError(f"Wired: the edges {self.back} close a cycle; use Looped")

    def forward(self, x: Any) -> Any:
        values = self.given(x)
        for name in self.sequence:
            if name not in self.inputs:
                value = _total([values[a] for a in self.sources[name]])
                values[name] = self.layers[name](value) if name in self.layers else value
        return self.taken(values)


class Looped(_Graph, Temporal):
    """Layers connected by edges with cycles. Values on edges that lead back arrive one step later. Runs step by step.

    Arguments as for `Wired`. Every cycle must contain a temporal layer.

    >>> import torch, ranvier
    >>> from ranvier.convert.nir import Looped
    >>> edges = [("in", "a"), ("a", "b"), ("b", "a"), ("b", "out")]
    >>> net = Looped({"a": ranvier.LIF(), "b": torch.nn.Linear(3, 3)}, edges, ["in"], ["out"])
    >>> net(torch.rand(5, 2, 3)).shape
    torch.Size([5, 2, 3])
    """

    def __init__(self, layers: Mapping[str, nn.Module], edges: Edges, inputs: Sequence[str], outputs: Sequence[str]):
        super().__init__()
        self.build(layers, edges, inputs, outputs)

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        given = self.given(x)
        before = {"late": {}, "layers": {}} if state is None else state
        late, inner = dict(before["late"]), dict(before["layers"])
        steps: list[Any] = []
        for now in zip(*(v.unbind(0) for v in given.values()), strict=True):
            values = dict(zip(given, now, strict=True))
            for name in self.sequence:
                if name in self.inputs:
                    continue
                heard = [values[a] for a in self.sources[name]] + [late[a] for a in self.late[name] if a in late]
                value = _total(heard)
                if name in self.layers:
                    value, inner[name] = verbs.step(self.layers[name], value, inner.get(name))
                values[name] = value
            late = {a: values[a] for a, _ in self.back}
            steps.append(self.taken(values))
        if not steps:
            raise ValueError("Looped: x has no steps")
        many = isinstance(steps[0], tuple)
        y: Any = tuple(torch.stack(one) for one in zip(*steps, strict=True)) if many else torch.stack(steps)
        return y, {"late": late, "layers": inner}, {n: y for n in names}

    def explain(self, x: Any) -> str:
        return "step by step"
