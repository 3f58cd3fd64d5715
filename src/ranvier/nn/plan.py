"""The plan of a `Sequential`: which of its layers run alone, and which consecutive layers run together as one stage.

The plan is built from the list of layers, before any data is known. Each kind of stage is tried in turn on the next
layers of the list. The plan is used until a layer, its class or its hooks change. A layer with a hook, with a `forward`
set on the instance or with a parametrization always runs alone, so that these functions of the user are called.
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
    """Consecutive layers that run together. One of them is temporal; its state is the state of the stage."""

    layers: Sequence[nn.Module]
    temporal: Temporal
    folds = True  # whether the first layer, if run alone, runs once for an input that is the same at all steps
    before: "Stage | None" = None  # the stage directly before this one, if there is one
    after: "Stage | None" = None  # the stage directly after it

    @classmethod
    def begin(cls, layers: Sequence[nn.Module]) -> Self | None:
        """Return a stage of the first layers of this list, or None if they do not form a stage of this kind."""
        raise NotImplementedError

    def serves(self, x: Any) -> bool:
        """Whether the stage can run this input; if not, its layers run one by one."""
        raise NotImplementedError

    def __call__(self, x: Any) -> Any:
        """Run x from the initial state, and return only the output."""
        return self.run(x)[0]

    def several(self, x: Any, book: Any) -> tuple[Any, int] | None:
        """Run this stage, and possibly the stages after it, from the states in `book` (None: from the initial states).
        Return the output and the number of stages that ran, or None if the layers must run one by one.
        """
        if not self.serves(x):
            return None
        return self(x) if book is None else book.run(self.temporal, x, self), 1

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        """Run the stage as `Temporal.run` does. With and without states and records, the output is equal bit
        for bit.
        """
        raise NotImplementedError

    def explanations(self, x: Any) -> list[tuple[nn.Module, str]]:
        """Return the text that `ranvier.explain` prints for each layer."""
        names = ", ".join(type(layer).__name__ for layer in self.layers)
        return [(layer, f"numba: in one stage ({names})") for layer in self.layers]


@dataclass(frozen=True)
class Plan:
    """Stages and single layers in order, and the facts that must not change while the plan is valid."""

    layers: tuple[nn.Module, ...]
    modules: list[nn.Module]  # the layers, and the modules inside them that a stage uses directly
    kinds: list[type]  # their classes
    watched: list[bool]  # whether they are watched, see `watched.py`
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
    """Yield a layer, and the modules inside it that a stage uses directly."""
    yield layer
    if type(layer) is Recurrent:
        yield layer.neuron
        yield layer.feedback


def plain_neuron(module: nn.Module | None) -> bool:
    """Whether the module is a neuron with one input and one output, and its class does not override how it runs."""
    own = "run", "prepare", "initial", "_inputs"
    return (
        isinstance(module, Neuron)
        and len(module.inputs) == 1
        and (kind := type(module)).forward is Temporal.forward
        and all(getattr(kind, n) is getattr(Neuron, n) for n in own)
        and len(module.bound(()).outputs) == 1
    )
