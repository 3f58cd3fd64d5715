"""The choice between dense and event-driven products, from three times measured on this machine.

For each of the M rows of a product with K inputs and N outputs, where a share s of the inputs is not zero, the time is

    dense       K N multiply
    by events   max(1, P) row + s K P event,   P = panels for N outputs (half a panel counts half)

`multiply`, `row` and `event` are measured once for each kind of product (`measured.py`): linear maps and convolutions
(K inputs are those under a window), forward and the gradient of their weight, and the product of one step of a
recurrent layer. The choice does not depend on earlier calls, so equal inputs give equal bits.
"""

import math
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

from ranvier.spikes import measured

TURNS = 5  # runs of each product; the first only warms up
FEW, MANY = 0.02, 0.2  # shares of events at which the products are measured
EDITION = 2  # of what is measured: times of another edition are measured again
MOST = 0.5  # above this share events are never counted


@dataclass(frozen=True)
class Cost:
    """Nanoseconds of one multiplication, of one row of a panel, and of one event in it."""

    multiply: float
    row: float
    event: float

    def dense(self, columns: int, width: int) -> float:
        """Time of a row of a dense product."""
        return columns * width * self.multiply

    def events(self, columns: int, width: int, share: float) -> float:
        """Time of a row of an event-driven product, where `share` of the inputs is not zero."""
        return max(1.0, panels(width)) * self.row + share * columns * panels(width) * self.event

    def crossover(self, columns: int, width: int) -> float:
        """The share of events at which both products take the same time, at most MOST."""
        if not columns or not width:
            return 0.0
        left = self.dense(columns, width) - max(1.0, panels(width)) * self.row
        return min(MOST, max(0.0, left / (panels(width) * columns * self.event)))


def panels(width: int) -> float:
    """Number of panels for `width` outputs. A last panel counts half if half of it is enough, and a single slim panel
    counts its share.
    """
    from ranvier.spikes.product_kernels import HALF, LANES, SLIM

    return SLIM / LANES if width < SLIM else math.ceil(width / HALF) / 2


@cache
def cost(kind: str) -> Cost:
    """The measured times for a kind of `measures.MEASURES`, on one thread. More threads make both ways equally faster,
    so the choice, and with it the bits of results, does not depend on their number.
    """

    def right(found: dict[str, Any]) -> bool:
        return set(found) == {"multiply", "row", "event"} and all(0 < float(v) < 1e9 for v in found.values())

    return Cost(**measured.known(f"cost-{kind.replace(' ', '-')}-{EDITION}", 1, lambda: _measure(kind), right))


def crossover(kind: str, columns: int, width: int) -> float:
    """The share of events up to which a product with `columns` inputs and `width` outputs is event-driven."""
    return cost(kind).crossover(columns, width)


def estimate(kind: str, rows: int, columns: int, width: int, share: float) -> str:
    """Describe the estimated times of both ways."""
    found = cost(kind)
    ways = found.events(columns, width, share), found.dense(columns, width)
    events, dense = (f"{rows * way * 1e-6:.2g} ms" for way in ways)
    return f"about {events} by events, {dense} dense"


def _measure(kind: str) -> dict[str, float]:
    """Measure a kind of product several times and return the three times from the best runs."""
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
    """Compute the three times from the seconds of the dense product, and of the event-driven product with few and with
    many events.
    """
    rows, columns, width = size
    event = max(1e-4, (many - few) * 1e9 / ((MANY - FEW) * rows * columns * panels(width)))
    row = max(1e-3, (few * 1e9 / rows - FEW * columns * panels(width) * event) / max(1.0, panels(width)))
    return {"multiply": max(1e-6, dense * 1e9 / (rows * columns * width)), "row": row, "event": event}
