"""The table of the ops on integers: how each op of a rule is computed with fixed-point numbers."""

import math
from collections.abc import Callable
from typing import Any

from ranvier.export.integers import LONGEST, Language, Value, Width


class Lowered:
    """The ops in C or NumPy (see `Language`), for states of a given width. `frac`: the wanted fraction of a result."""

    def __init__(self, language: Language, width: Width):
        self.language, self.width = language, width

    def lift(self, a: Value, frac: int) -> Value:
        """Return the same number with a longer fraction; this is exact."""
        if frac == a.frac:
            return a
        by = 1 << (frac - a.frac)
        return Value(self.language.infix("*", a.code, by, a.bound * by), frac, a.bound * by)

    def narrow(self, a: Value, frac: int, how: str = "round") -> Value:
        """Return the nearest number with a fraction of at most `frac` bits."""
        by = a.frac - frac
        if by <= 0:
            return a
        return Value(self.language.shift(how, a.code, by, a.bound), frac, (a.bound >> by) + 1)

    def fit(self, a: Value) -> Value:
        """Clamp a number to the width of a state."""
        high = self.width.high
        return a if a.bound <= high else Value(self.language.fit(a.code, high, a.bound), a.frac, high)

    def to(self, a: Value, frac: int) -> Value:
        """Return a number with exactly this fraction, clamped."""
        return self.fit(self.narrow(self.lift(a, frac) if a.frac < frac else a, frac))

    def same(self, *values: Value) -> list[Value]:
        top = max(v.frac for v in values)
        return [self.lift(v, top) for v in values]

    def sum(self, symbol: str, frac: int, a: Value, b: Value) -> Value:
        a, b = self.same(a, b)
        bound = a.bound + b.bound
        return self.fit(self.narrow(Value(self.language.infix(symbol, a.code, b.code, bound), a.frac, bound), frac))

    def product(self, frac: int, a: Value, b: Value) -> Value:
        bound = a.bound * b.bound
        whole = Value(self.language.infix("*", a.code, b.code, bound), a.frac + b.frac, bound)
        return self.fit(self.narrow(whole, min(frac, LONGEST)))

    def quotient(self, frac: int, a: Value, b: Value) -> Value:
        frac = max(0, min(frac, a.frac - b.frac + 62 - a.bound.bit_length()))
        shift = frac - a.frac + b.frac
        a, b = (self.lift(a, a.frac + shift), b) if shift >= 0 else (a, self.lift(b, b.frac - shift))
        bound = max(a.bound, 2**31 - 1)
        return self.fit(Value(self.language.ratio(a.code, b.code), frac, bound))

    def compare(self, symbol: str, a: Value, b: Value) -> Value:
        a, b = self.same(a, b)
        return Value(self.language.infix(symbol, a.code, b.code, 1), 0, 1)

    def choose(self, frac: int, condition: Value, a: Value, b: Value) -> Value:
        a, b = self.same(a, b)
        chosen = Value(self.language.select(condition.code, a.code, b.code), a.frac, max(a.bound, b.bound))
        return self.fit(self.narrow(chosen, frac))

    def extreme(self, symbol: str, frac: int, a: Value, b: Value) -> Value:
        return self.choose(frac, self.compare(symbol, a, b), a, b)

    def fires(self, symbol: str, a: Value) -> Value:
        condition = self.language.infix(symbol, a.code, 0, 1)
        return Value(self.language.select(condition, 1, 0), 0, 1)

    def sign(self, a: Value) -> Value:
        below = self.language.select(self.language.infix("<", a.code, 0, 1), -1, 0)
        return Value(self.language.select(self.language.infix(">", a.code, 0, 1), 1, below), 0, 1)

    def absolute(self, a: Value) -> Value:
        minus = self.language.infix("-", 0, a.code, a.bound)
        return Value(self.language.select(self.language.infix("<", a.code, 0, 1), minus, a.code), a.frac, a.bound)


ZERO = Value(0, 0, 0)
LOWER: dict[str, Callable[..., Value]] = {
    "add": lambda m, f, a, b: m.sum("+", f, a, b),
    "sub": lambda m, f, a, b: m.sum("-", f, a, b),
    "mul": lambda m, f, a, b: m.product(f, a, b),
    "div": lambda m, f, a, b: m.quotient(f, a, b),
    "neg": lambda m, f, a: m.sum("-", f, ZERO, a),
    "spike": lambda m, f, a: m.fires(">=", a),
    "spike_strict": lambda m, f, a: m.fires(">", a),
    "stop": lambda m, f, a: a,
    "inject": lambda m, f, model, measured: measured,
    "where": lambda m, f, c, a, b: m.choose(f, c, a, b),
    "abs": lambda m, f, a: m.absolute(a),
    "sign": lambda m, f, a: m.sign(a),
    "floor": lambda m, f, a: m.narrow(a, 0, "floor"),
    "round": lambda m, f, a: m.narrow(a, 0, "even"),
    "minimum": lambda m, f, a, b: m.extreme("<", f, a, b),
    "maximum": lambda m, f, a, b: m.extreme(">", f, a, b),
    "clamp": lambda m, f, a, low, high: m.extreme("<", f, m.extreme(">", f, a, low), high),
    **{n: (lambda m, f, a, b, s=s: m.compare(s, a, b)) for n, s in
       {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "==", "ne": "!="}.items()},
    "and": lambda m, f, a, b: Value(m.language.infix("&", a.code, b.code, 1), 0, 1),
    "or": lambda m, f, a, b: Value(m.language.infix("|", a.code, b.code, 1), 0, 1),
    "not": lambda m, f, a: Value(m.language.infix("==", a.code, 0, 1), 0, 1),
}  # fmt: skip

# Ops that are computed by a table, and whose function differs from Python's math function of that name: (function,
# smallest argument).
TABLES: dict[str, tuple[Callable[[float], float], float]] = {
    "exp": (lambda a: math.exp(min(a, 700.0)), -math.inf),
    "log": (math.log, 1e-9),
    "sqrt": (math.sqrt, 0.0),
    "sigmoid": (lambda a: 0.5 * (1.0 + math.tanh(0.5 * a)), -math.inf),
    "softplus": (lambda a: max(a, 0.0) + math.log1p(math.exp(-abs(a))), -math.inf),
}


def tabled(name: str) -> tuple[Callable[[float], float], float] | None:
    """Return the function of an op that is computed by a table, and its smallest argument; None for other ops.

    >>> tabled("tanh"), tabled("add")
    ((<built-in function tanh>, -inf), None)
    """
    if name in LOWER or name in TABLES:
        return TABLES.get(name)
    function = getattr(math, name, None)
    return function and (function, -math.inf)


def fraction(largest: float, bits: int, headroom: int = 1) -> int:
    """Return the longest fraction with which a number of `bits` bits can represent `largest`; `headroom` bits remain
    unused.

    >>> fraction(0.9, 16), fraction(3.0, 16), fraction(0.0, 16)
    (14, 12, 30)
    """
    if not math.isfinite(largest):
        raise ValueError(f"a value reaches {largest}, which integers cannot represent")
    whole = math.floor(math.log2(largest)) + 1 if largest > 0 else -LONGEST
    return max(0, min(LONGEST, bits - 1 - headroom - whole))


def constant(number: float, bits: int) -> Value:
    """Return a plain number as exactly as `bits` bits can represent it; infinity becomes the largest number."""
    high = 2 ** (bits - 1) - 1
    if math.isnan(number):
        raise ValueError("a constant of the rule is NaN")
    if abs(number) > high:
        return Value(high if number > 0 else -high, 0, high)
    frac = fraction(abs(number), bits, headroom=0)
    integer = round(number * 2**frac)
    if abs(integer) > high:
        frac -= 1
        integer = round(number * 2**frac)
    while frac and integer % 2 == 0:
        integer, frac = integer // 2, frac - 1
    return Value(integer, frac, abs(integer))


def constants(numbers: Any, bits: int) -> tuple[Any, int]:
    """Represent one number per neuron by integers of `bits` bits. Return the integers and their common fraction."""
    import numpy as np

    high = 2 ** (bits - 1) - 1
    if not np.isfinite(numbers).all():
        raise ValueError("a parameter is infinite or NaN")
    frac = fraction(float(np.abs(numbers).max(initial=0.0)), bits, headroom=0)
    return np.clip(np.rint(numbers * 2.0**frac), -high, high).astype(np.int64), frac
