"""Integer arithmetic that is written once and runs in two ways: as text of C, and as numpy on int64.

A number has a fixed-point format: `Value(code, frac, bound)` is code / 2^frac, where `code` is an integer of at most
`bound` in absolute value. An op of a rule is a function of such values; it also determines the format of its result.
Results are exact if possible. A result that needs a shorter fraction is rounded (halves up), and then clamped to the
width of a state.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

LONGEST = 30  # most bits of a fraction, so that numbers with a common fraction fit into 64 bits


class Value(NamedTuple):
    """The number code / 2^frac. code: a C expression, an array of int64, or a plain int, which works in both; its
    absolute value is at most bound."""

    code: Any
    frac: int
    bound: int


class Language(Protocol):
    """The operations on integers. `bound` is the largest absolute result, from which C chooses 32 or 64 bits."""

    def infix(self, symbol: str, a: Any, b: Any, bound: int) -> Any: ...
    def shift(self, how: str, a: Any, by: int, bound: int) -> Any: ...
    def fit(self, a: Any, high: int, bound: int) -> Any: ...
    def select(self, condition: Any, a: Any, b: Any) -> Any: ...
    def ratio(self, a: Any, b: Any) -> Any: ...
    def table(self, table: "Table", a: Any) -> Any: ...


@dataclass(frozen=True)
class Table:
    """A function as a table of 257 values, at the input integers low, low + 2^step, ..., low + 256 * 2^step. Values
    between these are interpolated.
    """

    name: str
    low: int
    step: int
    entries: tuple[int, ...]


@dataclass(frozen=True)
class Width:
    """The number of bits of a state, and the fraction of each value of a rule."""

    bits: int
    fractions: dict[str, int] = field(default_factory=dict)

    @property
    def high(self) -> int:
        return 2 ** (self.bits - 1) - 1


def word(bound: int) -> str:
    """Return the C type in which a number up to `bound` is computed."""
    if bound >= 2**63:
        raise ValueError(f"an integer needs up to {bound.bit_length()} bits, but C has at most 64")
    return "int32_t" if bound < 2**31 else "int64_t"


@dataclass
class Saturations:
    """Values that saturated, by the path of the layer or "input": their number, and the largest ratio of a value to its
    limit.
    """

    count: dict[str, int] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)
    layer: str = "input"  # the layer whose values are checked now

    def see(self, a: Any, low: int, high: int) -> None:
        """Count the numbers of a that are outside [low, high]."""
        if wrong := int(np.count_nonzero((a < low) | (a > high))):
            times = float(np.abs(a).max() / max(1, abs(low), abs(high)))
            self.count[self.layer] = self.count.get(self.layer, 0) + wrong
            self.times[self.layer] = max(self.times.get(self.layer, 1.0), times)

    def __str__(self) -> str:
        return "; ".join(
            f"{path if path == 'input' else f'layer {path!r}'}: {n:,} numbers, "
            f"up to {self.times[path]:.2g} times the largest number of their format"
            for path, n in self.count.items()
        )


_here = threading.local()  # .seen: the saturations that are counted in this thread


@contextmanager
def saturations() -> Iterator[Saturations]:
    """Within this block, the integer reference counts the numbers that saturate."""
    outer, _here.seen = getattr(_here, "seen", None), Saturations()
    try:
        yield _here.seen
    finally:
        _here.seen = outer


def about(layer: str) -> None:
    """Set the layer for which saturations are counted from now on."""
    if (seen := getattr(_here, "seen", None)) is not None:
        seen.layer = layer


def see(a: Any, low: int, high: int) -> None:
    """Within a block of `saturations`, count the numbers that are not in [low, high]."""
    if (seen := getattr(_here, "seen", None)) is not None:
        seen.see(np.asarray(a), low, high)


PYTHON: dict[str, Callable] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b,
    ">": lambda a, b: a > b, ">=": lambda a, b: a >= b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b,
    "==": lambda a, b: a == b, "!=": lambda a, b: a != b,
    "&": lambda a, b: (a != 0) & (b != 0), "|": lambda a, b: (a != 0) | (b != 0),
}  # fmt: skip


class Numpy:
    """Operations on arrays of int64: the integer reference."""

    def infix(self, symbol: str, a: Any, b: Any, bound: int) -> Any:
        word(bound)
        return PYTHON[symbol](a, b)

    def shift(self, how: str, a: Any, by: int, bound: int) -> Any:
        if how == "floor":
            return a >> by
        q = (a + (1 << (by - 1))) >> by
        if how == "even":
            q = q - ((q & 1) & ((a & ((1 << by) - 1)) == (1 << (by - 1))))
        return q

    def fit(self, a: Any, high: int, bound: int) -> Any:
        see(a, -high, high)
        return np.clip(a, -high, high)

    def select(self, condition: Any, a: Any, b: Any) -> Any:
        return np.where(np.asarray(condition) != 0, a, b)

    def ratio(self, a: Any, b: Any) -> Any:
        a, b = np.broadcast_arrays(np.asarray(a, np.int64), np.asarray(b, np.int64))
        whole = np.sign(a) * np.sign(b) * (np.abs(a) // np.where(b == 0, 1, np.abs(b)))
        return np.where(b == 0, np.sign(a) * (2**31 - 1), whole)

    def table(self, table: Table, a: Any) -> Any:
        entries = np.array(table.entries, np.int64)
        see(a, table.low, table.low + (256 << table.step))
        inside = np.clip(np.asarray(a) - table.low, 0, (256 << table.step) - 1)
        at, rest = inside >> table.step, inside & ((1 << table.step) - 1)
        rise = (entries[at + 1] - entries[at]) * rest
        return entries[at] + (self.shift("round", rise, table.step, 0) if table.step else 0)


class C:
    """Operations as text of C99. The functions that the text calls are in `HELPERS`."""

    def infix(self, symbol: str, a: Any, b: Any, bound: int) -> Any:
        if isinstance(a, int) and isinstance(b, int):
            return int(PYTHON[symbol](a, b))
        if symbol not in "+-*&|" and a == b:
            return int(PYTHON[symbol](0, 0))
        if symbol in ("&", "|"):
            return f"({a} {symbol * 2} {b})"
        cast = f"({word(bound)})" if symbol in "+-*" else ""
        return f"({cast}{self._atom(a)} {symbol} {self._atom(b)})"

    def shift(self, how: str, a: Any, by: int, bound: int) -> Any:
        if isinstance(a, int):
            return int(Numpy().shift(how, a, by, bound))
        size = 32 if how != "even" and bound + (1 << by) < 2**31 else 64
        return f"{how}{size}({a}, {by})"

    def fit(self, a: Any, high: int, bound: int) -> Any:
        if isinstance(a, int):
            return max(-high, min(high, a))
        return f"fit{32 if bound < 2**31 else 64}({a}, {high})"

    def select(self, condition: Any, a: Any, b: Any) -> Any:
        return f"({condition} ? {self._atom(a)} : {self._atom(b)})"

    def ratio(self, a: Any, b: Any) -> Any:
        return f"ratio({a}, {b})"

    def table(self, table: Table, a: Any) -> Any:
        return f"between({table.name}, {a}, {self._atom(table.low)}, {table.step})"

    def _atom(self, a: Any) -> str:
        return f"INT64_C({a})" if isinstance(a, int) and abs(a) >= 2**31 else f"({a})" if isinstance(a, int) else a


# SEE(wrong) counts a number that saturates. The C file defines this macro, with a prefix.
HELPERS = {
    "round32": "static inline int32_t round32(int32_t a, int s) { return (a + ((int32_t)1 << (s - 1))) >> s; }",
    "round64": "static inline int64_t round64(int64_t a, int s) { return (a + ((int64_t)1 << (s - 1))) >> s; }",
    "floor32": "static inline int32_t floor32(int32_t a, int s) { return a >> s; }",
    "floor64": "static inline int64_t floor64(int64_t a, int s) { return a >> s; }",
    "even64": """static inline int64_t even64(int64_t a, int s) {
    const int64_t half = (int64_t)1 << (s - 1), q = (a + half) >> s;
    return q - ((q & 1) && (a & (2 * half - 1)) == half);
}""",
    "fit32": """static inline int32_t fit32(int32_t a, int32_t m) {
    SEE(a < -m || a > m);
    return a < -m ? -m : a > m ? m : a;
}""",
    "fit64": """static inline int32_t fit64(int64_t a, int32_t m) {
    SEE(a < -m || a > m);
    return (int32_t)(a < -m ? -m : a > m ? m : a);
}""",
    "ratio": """static inline int64_t ratio(int64_t a, int64_t b) {
    return b ? a / b : a > 0 ? INT32_MAX : a < 0 ? -INT32_MAX : 0;
}""",
    "between": """static inline int64_t between(const int32_t *t, int64_t a, int64_t low, int s) {
    const int64_t most = ((int64_t)256 << s) - 1;
    SEE(a < low || a - low > most + 1);
    const int64_t k = a - low < 0 ? 0 : a - low > most ? most : a - low, at = k >> s;
    const int64_t rise = ((int64_t)t[at + 1] - t[at]) * (k - at * ((int64_t)1 << s));
    return t[at] + (s ? ((rise + ((int64_t)1 << s) / 2) >> s) : 0);
}""",
}
