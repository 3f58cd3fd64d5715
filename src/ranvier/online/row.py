"""The layers of a network in order, with weights joined to the neurons that they drive."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from ranvier.nn.dropout import Dropout, Dropout2d
from ranvier.nn.fold import fold, temporal
from ranvier.nn.temporal import Temporal
from ranvier.online.layer import Layer
from ranvier.online.wire import Wire

STILL = (Dropout, Dropout2d)  # temporal layers whose gradient at a step depends on this step only


class Plain:
    """A layer without traces: a module that is applied to each step separately, or one with a state of its own."""

    wire = None

    def __init__(self, path: str, module: nn.Module):
        self.path, self.module, self.layers = path, module, [module]
        self.temporal = temporal(module)
        self.carries = isinstance(module, Temporal) and not isinstance(module, STILL)

    def run(self, x: Any, carried: Any) -> tuple[Any, Any]:
        if not self.temporal:
            return fold(self.module, x), None
        if not isinstance(self.module, Temporal):
            return self.module(x), None
        y, state, _ = self.module.run(x, (carried or {}).get("state"))
        return y, {"state": state}

    def plain(self, x: Any) -> Any:
        return self.run(x, None)[0]


def named(prefix: str, row: nn.Sequential) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers in order, including those of nested sequences."""
    for name, layer in row._modules.items():  # includes a layer that is used twice
        assert layer is not None
        if isinstance(layer, nn.Sequential):
            yield from named(f"{prefix}{name}.", layer)
        else:
            yield f"{prefix}{name}", layer


def joined(row: Sequence[tuple[str, nn.Module]]) -> list[Layer | Plain]:
    """Join weights and the neurons that they drive; link a linear readout to the layer below, if no other layer reads
    that layer.
    """
    found: list[Layer | Plain] = []
    for path, module in row:
        before = found[-1] if found else None
        if not Layer.is_one(module):
            found.append(Plain(path, module))
        elif isinstance(before, Plain) and Wire.is_one(before.module):
            found[-1] = Layer(path, module, before.module)
        else:
            found.append(Layer(path, module))
    layers = [p for p in found if isinstance(p, Layer)]
    if len(layers) > 1 and layers[-1].wire is not None and layers[-1].linear:
        hidden, readout = layers[-2:]
        between = found[found.index(hidden) + 1 : found.index(readout)]
        if all(isinstance(p.module, (nn.Flatten, nn.Identity)) for p in between):
            hidden.readout = readout
    return found


def through(row: Sequence[Layer | Plain], end: Layer) -> str:
    """Return a text that names the layers before `end`, for error messages."""
    between = row[: row.index(end)]
    return f" through {', '.join(type(p.module).__name__ for p in between)}" if between else ""
