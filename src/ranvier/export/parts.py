"""The exported form of a layer: a function in a C file, and the same function on integer arrays."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ranvier.export.integers import Language, Width, word

Array = np.ndarray


@dataclass(frozen=True)
class Wire:
    """The format of the values between two layers: features [*shape], each an integer divided by 2^frac; integers are
    at most `bound` in absolute value.
    """

    shape: tuple[int, ...]
    frac: int
    bound: int

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def type(self) -> str:
        return storage(self.bound)


def storage(bound: int) -> str:
    """Return the smallest C type for numbers up to a bound.

    >>> storage(1), storage(200), storage(40_000)
    ('int8_t', 'int16_t', 'int32_t')
    """
    return next((f"int{b}_t" for b in (8, 16) if bound < 2 ** (b - 1)), "int32_t")


BYTES = {"int8_t": 1, "uint8_t": 1, "int16_t": 2, "int32_t": 4, "int64_t": 8}


@dataclass(frozen=True)
class Constant:
    """A constant array of the C file, in flash."""

    name: str
    numbers: Sequence[int]
    type: str

    @property
    def bytes(self) -> int:
        return len(self.numbers) * BYTES[self.type]

    def __str__(self) -> str:
        rows = [", ".join(map(str, self.numbers[k : k + 24])) for k in range(0, len(self.numbers), 24)]
        return f"static const {self.type} {self.name}[{len(self.numbers)}] = {{\n    " + ",\n    ".join(rows) + "};"


@dataclass(frozen=True)
class Field:
    """An array of the state in RAM, and its initial value: one number, or the name of an array of them."""

    name: str
    count: int
    type: str
    begins: int | str = 0

    @property
    def bytes(self) -> int:
        return self.count * BYTES[self.type]


class Part:
    """One layer. `body`: C code that reads x[] and the state s, and writes y[]. `step`: the same on int64 arrays
    [B, *shape].
    """

    tag: str  # prefix of every name of this layer in C
    path: str
    before: Wire
    after: Wire

    def constants(self) -> list[Constant]:
        return []

    def fields(self) -> list[Field]:
        return []

    def body(self) -> list[str]:
        raise NotImplementedError

    def initial(self, batch: int) -> dict[str, Array]:
        return {}

    def step(self, x: Array, state: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        raise NotImplementedError

    def products(self) -> int:
        """Return how many multiplications by a weight a step needs if every input is nonzero."""
        return 0

    def met(self, x: Array, state: dict[str, Array]) -> int:
        """Return how many multiplications by a weight the nonzero inputs need, summed over the batch."""
        return 0

    def updates(self) -> int:
        """Return the number of state updates in a step."""
        return 0

    def operations(self) -> dict[str, int]:
        """Return the number of operations on states in a step, by kind."""
        return {}


@dataclass(frozen=True)
class Rescale:
    """Convert a sum to the format of the next layer: fit(round(sum * by / 2^shift) + add), for each channel."""

    tag: str
    by: Array
    shift: int
    add: Array
    bound: int  # largest absolute sum
    high: int

    @classmethod
    def of(cls, tag: str, factor: Array, bias: Array, frac: int, bound: int, width: Width) -> "Rescale":
        """Make the integers from real numbers. factor: one unit of the sum, in units of 2^-frac, and bias: for each
        channel.
        """
        most = float(np.abs(factor).max(initial=0.0)) or 1.0
        room = min(30, 62 - bound.bit_length())
        if room < 8:
            raise ValueError(f"{tag}: its sums need {bound.bit_length()} bits; use fewer inputs or a smaller width")
        shift = max(0, min(60, room - 1 - math.floor(math.log2(most))))
        by = np.rint(factor * 2.0**shift).astype(np.int64)
        if np.abs(by).max(initial=0) >= 2**31:
            raise ValueError(f"{tag}: its weights, up to {most:g} units of its output, are too large for 32 bits")
        add = np.clip(np.rint(bias * 2.0**frac), -width.high, width.high).astype(np.int64)
        return cls(tag, by, shift, add, bound, width.high)

    def constants(self) -> list[Constant]:
        return [
            Constant(f"{self.tag}_by", self.by.tolist(), storage(int(np.abs(self.by).max(initial=0)))),
            Constant(f"{self.tag}_add", self.add.tolist(), storage(int(np.abs(self.add).max(initial=0)))),
        ]

    def apply(self, language: Language, total: Any, by: Any, add: Any) -> Any:
        bound = self.bound * int(np.abs(self.by).max(initial=1))
        scaled = language.infix("*", total, by, bound)
        if self.shift:
            scaled, bound = language.shift("round", scaled, self.shift, bound), (bound >> self.shift) + 1
        bound += int(np.abs(self.add).max(initial=0))
        return language.fit(language.infix("+", scaled, add, bound), self.high, bound)

    @property
    def word(self) -> str:
        """The C type in which sums are computed."""
        return word(self.bound)
