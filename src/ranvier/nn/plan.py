"""The plan of a `Sequential`: which of its layers run alone, and which neighbours run together as one stage.

The plan is made from the list of layers, before any data arrives. Each kind of stage is tried in turn on the next
layers of the list. The plan is used until a layer, its class or its hooks change. A layer with a hook, a `forward` of
its own or a parametrization always runs alone, so that what the user attached to it is called.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

from torch import Tensor, nn

from ranvier.nn.neuron import Neuron
from ranvier.nn.recurrent import Recurrent
from ranvier.nn.temporal import Temporal
from ranvier.nn.watched import watching


class Stage:
    """Neighbouring layers that run together. One of them is temporal; its state is the state of the stage."""

    layers: Sequence[nn.Module]
    temporal: Temporal
    folds = True  # whether its first layer, if it runs alone, computes an input that is equal at all steps only once
    before: "Stage | None" = None  # the stage directly before this one, if there is one
    after: "Stage | None" = None  # the stage directly after it

    @classmethod
    def begin(cls, layers: Sequence[nn.Module]) -> Self | None:
        """Return the stage made of the first of these layers, or None if they do not fit."""
        raise NotImplementedError

    def serves(self, x: Any) -> bool:
        """Whether this input can be run as a stage; if not, the layers run one by one."""
        raise NotImplementedError

    def __call__(self, x: Any) -> Any:
        """Return only the output, from the initial state."""
        return self.run(x)[0]

    def several(self, x: Any, book: Any) -> tuple[Any, int] | None:
        """Run this stage, and perhaps the stages after it, with the states of `book` (None: the initial ones). Return
        the output and the number of stages that ran, or None if x has to go through one layer after the other.
        """
        if not self.serves(x):
            return None
        return self(x) if book is None else book.run(self.temporal, x, self), 1

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        """Do what `Temporal.run` does. The output is equal bit for bit with and without states and records."""
        raise NotImplementedError

    def told(self, x: Any) -> list[tuple[nn.Module, str]]:
        """Return the text that `ranvier.explain` prints for each layer."""
        names = ", ".join(type(layer).__name__ for layer in self.layers)
        return [(layer, f"numba: in one stage ({names})") for layer in self.layers]


@dataclass(frozen=True)
class Plan:
    """Stages and single layers in order, and the facts that must not change while the plan is valid."""

    layers: tuple[nn.Module, ...]
    modules: list[nn.Module]  # the layers, and the modules inside them that a stage uses directly
    kinds: list[type]  # their classes
    watched: list[bool]  # and whether they are watched
    within: Mapping[Any, tuple]  # recurrent layer -> its neuron and its feedback
    parts: tuple[Stage | nn.Module, ...]

    def holds(self, layers: tuple[nn.Module, ...]) -> bool:
        """Whether the plan is still valid for these layers."""
        if layers != self.layers:
            return False
        if [type(m) for m in self.modules] != self.kinds or watching(self.modules) != self.watched:
            return False
        return all((layer.neuron, layer.feedback) == parts for layer, parts in self.within.items())

    @classmethod
    def of(cls, layers: Sequence[nn.Module], kinds: Sequence[type[Stage]]) -> Self:
        modules = [part for layer in layers for part in _parts(layer)]
        seen, found = watching(modules), []
        alone = {m for m, w in zip(modules, seen, strict=True) if w}
        rest = list(layers)
        while rest:
            free = rest[: next((k for k, layer in enumerate(rest) if alone.intersection(_parts(layer))), len(rest))]
            stage = next(filter(None, (kind.begin(free) for kind in kinds)), None) if free else None
            found.append(stage or rest[0])
            del rest[: len(stage.layers) if stage else 1]
        for one, other in pairwise(found):
            if isinstance(one, Stage) and isinstance(other, Stage):
                one.after, other.before = other, one
        within: dict[nn.Module, tuple] = {
            layer: (layer.neuron, layer.feedback) for layer in layers if type(layer) is Recurrent
        }
        return cls(tuple(layers), modules, [type(m) for m in modules], seen, within, tuple(found))


def _parts(layer: nn.Module) -> Iterator[nn.Module]:
    """A layer, and the modules inside it that a stage uses directly."""
    yield layer
    if type(layer) is Recurrent:
        yield layer.neuron
        yield layer.feedback


def plain_neuron(module: nn.Module | None) -> bool:
    """Whether the module is a neuron with one input and one output, and no methods of its own change how it runs."""
    own = "run", "prepare", "initial", "_inputs"
    return (
        isinstance(module, Neuron)
        and len(module.inputs) == 1
        and (kind := type(module)).forward is Temporal.forward
        and all(getattr(kind, n) is getattr(Neuron, n) for n in own)
        and len(module.bound(()).outputs) == 1
    )
