"""The choice between dense and event-driven products. It is computed from three times that are measured on this
machine.

For a product with K inputs and N outputs, where a share s of the inputs is not zero, the time per row is

    dense         K N multiply,          where N is rounded up to whole groups of outputs
    event-driven  P row + s K P event,   P = number of panels for N outputs (half a panel counts half)

`multiply`, `row` and `event` are times, measured once for each kind of product (`measured.py`): for linear maps, for
linear maps with few outputs, and for convolutions (there K counts the inputs in a window), each forward and for the
gradient of the weight; and for one step of a recurrent layer. The choice does not depend on earlier calls, so equal
inputs always give results that are equal bit for bit.
"""

import math
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

from ranvier.spikes import measured

TURNS = 5  # runs of each product; the first only warms up
FEW, MANY = 0.02, 0.2  # shares of events at which the products are measured
EDITION = 3  # version of these measurements: times saved by another version are measured again
MOST = 0.5  # above this share of events, products are always dense
GROUP = 16  # a dense product computes this many outputs at once, also if fewer are wanted


@dataclass(frozen=True)
class Cost:
    """The measured times in nanoseconds: of one multiplication, of one row of a panel, and of one event in it."""

    multiply: float
    row: float
    event: float

    def dense(self, columns: int, width: int) -> float:
        """Time in nanoseconds of one row of a dense product."""
        return columns * math.ceil(width / GROUP) * GROUP * self.multiply

    def events(self, columns: int, width: int, share: float) -> float:
        """Time in nanoseconds of one row of an event-driven product, if a share `share` of the inputs is not zero."""
        return panels(width) * (self.row + share * columns * self.event)

    def crossover(self, columns: int, width: int) -> float:
        """The share of events at which both products take the same time, at most MOST."""
        if not columns or not width:
            return 0.0
        left = self.dense(columns, width) / panels(width) - self.row
        return min(MOST, max(0.0, left / (columns * self.event)))


def panels(width: int) -> float:
    """Number of panels for `width` outputs. The last panel counts half if only half of it is used; a single slim panel
    counts SLIM / LANES.
    """
    from ranvier.spikes.product_kernels import HALF, LANES, SLIM

    return SLIM / LANES if width <= SLIM else math.ceil(width / HALF) / 2


@cache
def cost(kind: str) -> Cost:
    """The measured times for a kind of `measures.MEASURES`, on one thread. More threads speed up both kinds of product
    equally. So the choice, and with it the rounding of results, does not depend on the number of threads.
    """

    def right(found: dict[str, Any]) -> bool:
        return set(found) == {"multiply", "row", "event"} and all(0 < float(v) < 1e9 for v in found.values())

    return Cost(**measured.known(f"cost-{kind.replace(' ', '-')}-{EDITION}", 1, lambda: _measure(kind), right))


def _of_width(kind: str, width: int) -> str:
    """Return the kind of a product with `width` outputs: with few outputs, linear maps have times of their own."""
    from ranvier.spikes.product import slim

    return f"{kind} slim" if kind.startswith("linear") and slim(width) else kind


def crossover(kind: str, columns: int, width: int) -> float:
    """The share of events up to which a product with `columns` inputs and `width` outputs is event-driven."""
    return cost(_of_width(kind, width)).crossover(columns, width)


def estimate(kind: str, rows: int, columns: int, width: int, share: float) -> str:
    """Describe the estimated times of the event-driven and the dense product."""
    found = cost(_of_width(kind, width))
    ways = found.events(columns, width, share), found.dense(columns, width)
    events, dense = (f"{rows * way * 1e-6:.2g} ms" for way in ways)
    return f"about {events} by events, {dense} dense"


def _measure(kind: str) -> dict[str, float]:
    """Run a kind of product several times; return the three times of `Cost`, computed from the fastest runs."""
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
    """Compute the three times of `Cost` from three measured times in seconds: of the dense product, and of the
    event-driven product with few and with many events.
    """
    rows, columns, width = size
    event = max(1e-4, (many - few) * 1e9 / ((MANY - FEW) * rows * columns * panels(width)))
    row = max(1e-3, few * 1e9 / rows / panels(width) - FEW * columns * event)
    return {"multiply": max(1e-6, dense * 1e9 / (rows * columns * width)), "row": row, "event": event}
