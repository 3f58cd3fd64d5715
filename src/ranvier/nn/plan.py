"""How a row of layers runs: by themselves, or several of them as one stage.

A plan is made of what stands in a row, before data flows: each kind of stage in a table says which layers it can take
from the front. It is kept, and made anew when a layer, its class or its hooks change. A layer that somebody looks at (a
hook, a `forward` of its own, a parametrization) runs by itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

from torch import Tensor, nn

from ranvier.nn.neuron import Neuron
from ranvier.nn.recurrent import Recurrent
from ranvier.nn.temporal import Temporal
from ranvier.nn.watched import watched


class Stage:
    """Layers of a row that run as one. One of them is temporal: its state is that of the stage."""

    layers: Sequence[nn.Module]
    temporal: Temporal
    folds = True  # whether its first layer does an input that is the same at every step once, if it runs by itself
    before: "Stage | None" = None  # the stages on either side, if there are any
    behind: "Stage | None" = None

    @classmethod
    def begin(cls, layers: Sequence[nn.Module]) -> Self | None:
        """The stage that these layers begin with, if they do."""
        raise NotImplementedError

    def serves(self, x: Any) -> bool:
        """Whether x may go through the layers as one; else they run one by one."""
        raise NotImplementedError

    def __call__(self, x: Any) -> Any:
        """The output alone, from the initial state."""
        return self.run(x)[0]

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        """As `Temporal.run`; the output is the same, bit for bit, whatever else is asked for."""
        raise NotImplementedError

    def told(self, x: Any) -> list[tuple[nn.Module, str]]:
        """What `ranvier.explain` says of each layer."""
        names = ", ".join(type(layer).__name__ for layer in self.layers)
        return [(layer, f"numba: in one stage ({names})") for layer in self.layers]


@dataclass(frozen=True)
class Plan:
    """Stages and single layers, in order, and what they were planned for."""

    layers: tuple[nn.Module, ...]
    known: list[tuple[nn.Module, type, bool]]
    within: Mapping[Any, tuple]  # what a recurrent layer is made of
    parts: tuple[Stage | nn.Module, ...]

    def holds(self, layers: tuple[nn.Module, ...]) -> bool:
        """Whether it is still the plan of these layers."""
        if layers != self.layers:
            return False
        for part, kind, seen in self.known:
            if type(part) is not kind or watched(part) is not seen:
                return False
            if kind is Recurrent and (part.neuron, part.feedback) != self.within[part]:
                return False
        return True

    @classmethod
    def of(cls, layers: Sequence[nn.Module], kinds: Sequence[type[Stage]]) -> Self:
        found: list[Stage | nn.Module] = []
        rest = list(layers)
        while rest:
            free = rest[: next((k for k, layer in enumerate(rest) if any(map(watched, _parts(layer)))), len(rest))]
            stage = next(filter(None, (kind.begin(free) for kind in kinds)), None) if free else None
            found.append(stage or rest[0])
            del rest[: len(stage.layers) if stage else 1]
        for one, other in pairwise(found):
            if isinstance(one, Stage) and isinstance(other, Stage):
                one.behind, other.before = other, one
        known = [(part, type(part), watched(part)) for layer in layers for part in _parts(layer)]
        within: dict[nn.Module, tuple] = {
            layer: (layer.neuron, layer.feedback) for layer in layers if type(layer) is Recurrent
        }
        return cls(tuple(layers), known, within, tuple(found))


def _parts(layer: nn.Module) -> Iterator[nn.Module]:
    """A layer and what a stage takes out of it."""
    yield layer
    if type(layer) is Recurrent:
        yield layer.neuron
        yield layer.feedback


def plain_neuron(module: nn.Module | None) -> bool:
    """Whether it is a neuron of one input and one output that is its rule and nothing else."""
    own = "run", "prepare", "initial", "_inputs"
    return (
        isinstance(module, Neuron)
        and len(module.inputs) == 1
        and (kind := type(module)).forward is Temporal.forward
        and all(getattr(kind, n) is getattr(Neuron, n) for n in own)
        and len(module.bound(()).outputs) == 1
    )
