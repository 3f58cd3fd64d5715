"""The rule of a neuron on integers: the range of its values on a sample, its constants, and its ops in C or numpy."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ranvier.derive.hoist import evaluate
from ranvier.derive.rule import Rule
from ranvier.derive.trace import Graph, Op, Operand
from ranvier.export.integers import Language, Table, Value, Width
from ranvier.export.lowered import LOWER, TABLES, Lowered, constant, constants, fraction, tabled


@dataclass
class Reach:
    """The smallest and the largest number of every value of a rule on a sample."""

    low: dict[str, float]
    high: dict[str, float]

    def see(self, name: str, value: Any) -> None:
        one = torch.as_tensor(value, dtype=torch.float64)
        if one.numel():
            self.low[name] = min(self.low.get(name, 0.0), float(one.min()))
            self.high[name] = max(self.high.get(name, 0.0), float(one.max()))

    def most(self, name: str) -> float:
        return max(abs(self.low.get(name, 0.0)), abs(self.high.get(name, 0.0)))


def watch(
    rule: Rule, steps: Callable[[int, Any], Tensor | None], state: Sequence[Tensor], params: Sequence[Tensor]
) -> Reach:
    """Run a rule in double precision and record the range of its values.

    steps(t, outputs before) returns the input of step t, and None after the last step.
    """
    reach, outputs, t = Reach({}, {}), None, 0
    known = [p.double() for p in params]
    state = [s.double() for s in state]
    while (x := steps(t, outputs)) is not None:
        given = dict(zip(rule.arguments, (x.double(), *state, *known), strict=True))
        values = evaluate(rule.step.ops, given)
        state = [torch.as_tensor(_of(values, a)).double().expand(x.shape) for a in rule.after]
        outputs = torch.as_tensor(_of(values, rule.outputs[0])).double().expand(x.shape)
        for name, value in values.items():
            reach.see(name, value)
        for name, after in zip(rule.arguments[1:], state, strict=False):
            reach.see(name, after)
        t += 1
    return reach


def _of(values: Mapping[str, Any], operand: Operand) -> Any:
    return values[operand] if isinstance(operand, str) else operand


class Step:
    """One step of a rule with one input: `x` and the states -> the output and the states after it.

    reach: the range of its values; x: the format of its input (its code is not used); params: [n] or single numbers;
    tag: prefix of the names of its tables in C; fractions: {state: binary places}, if they are prescribed.
    """

    def __init__(
        self,
        rule: Rule,
        reach: Reach,
        x: Value,
        params: Sequence[Tensor],
        width: Width,
        tag: str,
        fractions: Mapping[str, int] | None = None,
    ):
        self.name, self.width, self.tag, self.x = rule.name, width, tag, x
        places = 1 + len(rule.states)
        self.input, self.states = rule.arguments[0], rule.arguments[1:places]
        self.arrays: dict[str, np.ndarray] = {}  # constants that differ between neurons, by their name in C
        self.fixed: dict[str, Value] = {}  # constants, by their name in the rule
        self.tables: dict[str, Table] = {}
        known = dict(zip(rule.arguments[places:], (p.detach().double() for p in params), strict=True))
        graph = _plain(rule.step)
        self.outputs, self.after = graph.outputs[: len(rule.outputs)], graph.outputs[len(rule.outputs) :]
        self.ops = self._fold(graph, known)
        self.fractions = {op.out: fraction(reach.most(op.out), width.bits) for op in self.ops}
        for name, state in zip(self.states, rule.states, strict=True):
            given = (fractions or {}).get(state)
            self.fractions[name] = fraction(reach.most(name), width.bits) if given is None else given
        formats, words = self._start(lambda name: None), Lowered(_Formats(), width)  # type: ignore[arg-type]
        for op in self.ops:
            if read := tabled(op.name):
                self.tables[op.out] = self._table(op, *read, reach, formats)
            formats[op.out] = self._lowered(words, op, formats)
        self.output = words.fit(self._of(self.outputs[0], formats))

    def _fold(self, graph: Graph, known: dict[str, Any]) -> list[Op]:
        """Compute the ops that depend on parameters alone; return the other ops."""
        left: list[Op] = []
        for op in graph.ops:
            if all(a in known for a in op.args if isinstance(a, str)):
                numbers = {f"k{k}": torch.as_tensor(_of(known, a)) for k, a in enumerate(op.args)}
                known[op.out] = evaluate([Op(op.out, op.name, self._named(op, numbers))], numbers)[op.out]
            elif op.name == "div" and self._divides(op.args[1], known):
                known[f"{op.out}_by"] = 1.0 / _of(known, op.args[1])
                left.append(Op(op.out, "mul", (op.args[0], f"{op.out}_by")))
            else:
                left.append(op)
        read = {a for op in left for a in op.args} | {*self.outputs, *self.after}
        for name in read & known.keys():
            self.fixed[str(name)] = self._constant(str(name), known[str(name)])
        return left

    @staticmethod
    def _named(op: Op, numbers: Mapping[str, Any]) -> tuple[Operand, ...]:
        """Return names for the operands of an op, except for the bounds of a clamp, which stay plain numbers."""
        names = tuple(numbers)
        return (names[0], *op.args[1:]) if op.name == "clamp" else names

    @staticmethod
    def _divides(operand: Operand, known: Mapping[str, Any]) -> bool:
        """Whether an operand is a constant that has a reciprocal; then a division by it becomes a product."""
        if isinstance(operand, str) and operand not in known:
            return False
        by = torch.as_tensor(_of(known, operand), dtype=torch.float64)
        return bool(((by != 0) & by.isfinite()).all())

    def _constant(self, name: str, value: Any) -> Value:
        """Return a constant as integers. If it is one number for all neurons, it is written into the line of code that
        uses it; otherwise it becomes an array.
        """
        one = torch.as_tensor(value)
        if one.dtype == torch.bool:
            one = one.long()
        if one.numel() == 1:
            return constant(float(one), self.width.bits)
        integers, frac = constants(one.double().numpy(), self.width.bits)
        self.arrays[f"{self.tag}_{name}"] = integers
        return Value(f"{self.tag}_{name}", frac, int(np.abs(integers).max(initial=0)))

    def _table(
        self, op: Op, function: Callable[[float], float], least: float, reach: Reach, formats: Mapping[str, Value]
    ) -> Table:
        """Return the table of a function: it covers the range of the argument on the sample, and a quarter more on
        each side.
        """
        (a,) = op.args
        name, frac = str(a), formats[str(a)].frac
        low, high = reach.low.get(name, 0.0), reach.high.get(name, 0.0)
        margin = max(0.25 * (high - low), 2.0**-8)
        low, high = low - margin, high + margin
        step = max(0, math.ceil(math.log2(max(1.0, (high - low) * 2**frac / 256))))
        first = math.floor(low * 2**frac)
        points = [function(max(least, (first + k * 2**step) / 2**frac)) for k in range(257)]
        self.fractions[op.out] = fraction(max(map(abs, points)), self.width.bits, headroom=0)
        limit = self.width.high
        entries = (max(-limit, min(limit, round(p * 2 ** self.fractions[op.out]))) for p in points)
        return Table(f"{self.tag}_{op.out}_{op.name}", first, step, tuple(entries))

    def _start(self, code: Callable[[str], Any]) -> dict[str, Value]:
        """Return all values that exist before the first op."""
        env = {k: v._replace(code=code(v.code)) if isinstance(v.code, str) else v for k, v in self.fixed.items()}
        env[self.input] = self.x._replace(code=code(self.input))
        for name in self.states:
            env[name] = Value(code(name), self.fractions[name], self.width.high)
        return env

    def _of(self, operand: Operand, env: Mapping[str, Value]) -> Value:
        return env[operand] if isinstance(operand, str) else constant(operand, self.width.bits)

    def _lowered(self, words: Lowered, op: Op, env: Mapping[str, Value]) -> Value:
        args = [self._of(a, env) for a in op.args]
        if tabled(op.name):
            table = self.tables[op.out]
            most = max(map(abs, table.entries))
            return Value(words.language.table(table, args[0].code), self.fractions[op.out], most)
        if op.name not in LOWER:
            known = ", ".join([*LOWER, *TABLES])
            raise ValueError(f"{self.name}: op {op.name!r} has no integer form; there are {known}")
        return LOWER[op.name](words, self.fractions[op.out], *args)

    def walk(
        self, language: Language, code: Callable[[str], Any], keep: Callable[[str, Value], Value]
    ) -> tuple[Value, list[Value]]:
        """Compute the output and the states after the step, in C or numpy.

        code: returns the input, a state or an array of constants by name; keep: is called on each result.
        """
        words, env = Lowered(language, self.width), self._start(code)
        for op in self.ops:
            env[op.out] = keep(op.out, self._lowered(words, op, env))
        after = [
            words.to(self._of(a, env), self.fractions[name]) for a, name in zip(self.after, self.states, strict=True)
        ]
        return words.fit(self._of(self.outputs[0], env)), after

    def operations(self) -> dict[str, int]:
        """Return how many operations of each kind one neuron performs in a step."""
        found: dict[str, int] = {}
        for op in self.ops:
            kind = "tables" if tabled(op.name) else op.name if op.name in ("mul", "div") else "additions"
            found[kind] = found.get(kind, 0) + (op.name not in ("stop", "inject"))
        return found


def _plain(graph: Graph) -> Graph:
    """Remove the ops that only gradients need, `stop` and `inject`, and ops whose result is not used."""
    same = {op.out: op.args[-1] for op in graph.ops if op.name in ("stop", "inject")}

    def end(a: Operand) -> Operand:
        while a in same:
            a = same[str(a)]
        return a

    ops = tuple(Op(op.out, op.name, tuple(map(end, op.args))) for op in graph.ops if op.out not in same)
    outputs = tuple(map(end, graph.outputs))
    return Graph(graph.inputs, ops, outputs).keeping(outputs)


class _Formats:
    """An implementation of `Language` that returns nothing. With it, only the formats of values are computed."""

    def __getattr__(self, name: str) -> Callable:
        return lambda *arguments: None


def unused(lines: Sequence[tuple[str, str]], wanted: str) -> list[tuple[str, str]]:
    """Remove the (name, line) pairs whose name is used neither in a later line nor in `wanted`; return the others."""
    text, kept = wanted, []
    for name, line in reversed(lines):
        if re.search(rf"\b{name}\b", text):
            kept.append((name, line))
            text += line
    return kept[::-1]
