"""When to go by events: what a product costs either way, from three figures of this machine.

For each of M rows of a product of K inputs and N outputs, of whose inputs a share s is not zero:

    dense       K N multiply
    by events   max(1, P) row + s K P event,   P = panels that N outputs take (of half a panel, half)

`multiply`, `row` and `event` are measured once for each kind of product (`measured.py`): linear maps and convolutions
(K inputs are those under a window), forward and the gradient of their weight, and the product of a step of a recurrent
layer. Nothing remembers which way went before: where both cost the same, changing over costs nothing, and equal inputs
give equal bits.
"""

import math
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

from ranvier.spikes import measured

TURNS = 5  # of which the first makes ready
FEW, MANY = 0.02, 0.2  # shares that are measured
MOST = 0.5  # a share above which nobody counts events


@dataclass(frozen=True)
class Cost:
    """Nanoseconds: of a multiplication, of a row of a panel, and of an event in it."""

    multiply: float
    row: float
    event: float

    def dense(self, columns: int, width: int) -> float:
        """A row, whatever is zero."""
        return columns * width * self.multiply

    def events(self, columns: int, width: int, share: float) -> float:
        """A row of which a share is not zero."""
        return max(1.0, panels(width)) * self.row + share * columns * panels(width) * self.event

    def crossover(self, columns: int, width: int) -> float:
        """The share at which both cost the same, or MOST."""
        if not columns or not width:
            return 0.0
        left = self.dense(columns, width) - max(1.0, panels(width)) * self.row
        return min(MOST, max(0.0, left / (panels(width) * columns * self.event)))


def panels(width: int) -> float:
    """Panels of so many outputs; of the last the half is read if that is enough, of a single one what is slim."""
    from ranvier.spikes.product_kernels import HALF, LANES, SLIM

    return SLIM / LANES if width < SLIM else math.ceil(width / HALF) / 2


@cache
def cost(kind: str) -> Cost:
    """Of a kind of `measures.MEASURES`, on one thread: both ways gain alike by more, and bits do not depend on them."""

    def right(found: dict[str, Any]) -> bool:
        return set(found) == {"multiply", "row", "event"} and all(0 < float(v) < 1e9 for v in found.values())

    return Cost(**measured.known(f"cost-{kind.replace(' ', '-')}", 1, lambda: _measure(kind), right))


def crossover(kind: str, columns: int, width: int) -> float:
    """The share of events up to which a product of so many inputs and outputs goes by events."""
    return cost(kind).crossover(columns, width)


def estimate(kind: str, rows: int, columns: int, width: int, share: float) -> str:
    """Both ways' times, in words."""
    found = cost(kind)
    ways = found.events(columns, width, share), found.dense(columns, width)
    events, dense = (f"{rows * way * 1e-6:.2g} ms" for way in ways)
    return f"about {events} by events, {dense} dense"


def _measure(kind: str) -> dict[str, float]:
    """The best of some turns, as the three figures."""
    from ranvier.spikes.dense import products
    from ranvier.spikes.measures import MEASURES

    size, ways = MEASURES[kind]()
    best = [math.inf] * len(ways)
    with products(None):
        for turn in range(TURNS):
            for k, run in enumerate(ways):
                start = time.perf_counter()
                run()
                if turn:
                    best[k] = min(best[k], time.perf_counter() - start)
    return _figures(size, *best)


def _figures(size: tuple[int, int, int], dense: float, few: float, many: float) -> dict[str, float]:
    """From seconds of the dense product, and of that by few and by many events."""
    rows, columns, width = size
    event = max(1e-4, (many - few) * 1e9 / ((MANY - FEW) * rows * columns * panels(width)))
    row = max(1e-3, (few * 1e9 / rows - FEW * columns * panels(width) * event) / max(1.0, panels(width)))
    return {"multiply": max(1e-6, dense * 1e9 / (rows * columns * width)), "row": row, "event": event}
