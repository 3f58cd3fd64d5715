"""Run a rule once on symbols and record its operations as a flat list."""

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from ranvier import ops

Operand = str | float  # the name of a value, or a plain number


@dataclass(frozen=True)
class Op:
    """One operation: `out = name(*args)`."""

    out: str
    name: str
    args: tuple[Operand, ...]


@dataclass(frozen=True)
class Graph:
    """A function of `inputs` as a flat list of operations; `outputs` are names or plain numbers.

    The names of inputs and operations are all different.
    """

    inputs: tuple[str, ...]
    ops: tuple[Op, ...]
    outputs: tuple[Operand, ...]

    def __post_init__(self) -> None:
        names = [*self.inputs, *(op.out for op in self.ops)]
        if len(set(names)) < len(names):
            raise ValueError(f"a graph has two values of one name: {sorted(n for n in names if names.count(n) > 1)}")

    def keeping(self, outputs: Sequence[Operand]) -> "Graph":
        """Return the graph that computes only these outputs, with only the operations they need."""
        need, kept = set(outputs), []
        for op in reversed(self.ops):
            if op.out in need:
                kept.append(op)
                need.update(op.args)
        return Graph(self.inputs, tuple(reversed(kept)), tuple(outputs))

    def numbered(self) -> "Graph":
        """Return the same graph with its operations renamed t0, t1, ... in order."""
        name = {op.out: f"t{k}" for k, op in enumerate(self.ops)}

        def new(operands: Sequence[Operand]) -> tuple[Operand, ...]:
            return tuple(name.get(a, a) if isinstance(a, str) else a for a in operands)

        ops = tuple(Op(name[op.out], op.name, new(op.args)) for op in self.ops)
        return Graph(self.inputs, ops, new(self.outputs))

    @property
    def reads(self) -> set[Operand]:
        """All names and numbers that the operations and outputs read."""
        return {a for op in self.ops for a in op.args} | set(self.outputs)


class RuleError(TypeError):
    """A rule contains something that cannot be compiled. The message shows the line and how to change it."""


SPIKES = ("spike", "spike_strict")
CONDITIONS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "==", "ne": "!=", "and": "&", "or": "|", "not": "~"}


class Tracer:
    """Records the operations of a rule in the order in which they are performed. The list starts with `ops`, the
    operations of a numbered graph, if given.
    """

    def __init__(self, code: Any = None, ops: Sequence[Op] = ()):
        self.code, self.ops = code, list(ops)
        self.conditions = {op.out for op in ops if op.name in CONDITIONS}

    def emit(self, name: str, *args: "Symbol | Operand") -> "Symbol":
        out = f"t{len(self.ops)}"
        self.ops.append(Op(out, name, tuple(a.name if isinstance(a, Symbol) else float(a) for a in args)))  # type: ignore
        if name in CONDITIONS:
            self.conditions.add(out)
        return Symbol(out, self)

    def refuse(self, problem: str, cure: str) -> NoReturn:
        raise RuleError(f"{problem}\n{self._line()}{cure}") from None

    def _line(self) -> str:
        """Return the line of the rule that is being run, for an error message."""
        frame = sys._getframe()
        while frame and frame.f_code is not self.code:
            frame = frame.f_back
        if frame is None:
            return ""
        lines, start = [], 0
        try:
            lines, start = inspect.getsourcelines(self.code)
        except OSError:
            pass
        at = frame.f_lineno - start
        text = lines[at].strip() if 0 <= at < len(lines) else "(source not available)"
        return f'  File "{self.code.co_filename}", line {frame.f_lineno}, in {self.code.co_name}\n    {text}\n'


class Symbol:
    """A value of a rule that has a name instead of a number. Arithmetic and ops applied to it are recorded by its
    tracer.
    """

    __array_ufunc__ = None  # so that numpy leaves arithmetic with a symbol to this class

    def __init__(self, name: str, tracer: Tracer):
        self.name, self.tracer = name, tracer

    def _operand(self, a: Any, op: str) -> "Symbol | float":
        if isinstance(a, Symbol):
            if a.tracer is not self.tracer:
                self.tracer.refuse(
                    f"{op}: a value of another rule is used here", "A rule may use only its own arguments."
                )
            return a
        if isinstance(a, (bool, int, float)):
            return float(a)
        self.tracer.refuse(
            f"{op}: a rule works on its arguments and plain numbers, not on {type(a).__name__}",
            "Declare it as Param(...) or State(...), or compute it outside and convert it with float().",
        )

    def __op__(self, op: str, *arguments: Any) -> "Symbol":
        operands = [self._operand(a, op) for a in arguments]
        conditional = [isinstance(a, Symbol) and a.name in self.tracer.conditions for a in operands]
        if op == "where":
            if not conditional[0]:
                self.tracer.refuse("where: the condition must be a comparison", "Write where(z > 0, a, b).")
            conditional = conditional[1:]
        logical = op in ("and", "or", "not")
        if any(conditional) and not logical:
            self.tracer.refuse(f"{op}: a comparison is not a number", "Turn it into one: where(condition, 1.0, 0.0).")
        if logical and not all(conditional):
            self.tracer.refuse(f"{CONDITIONS[op]}: both sides must be comparisons", "Write (a > 0) & (b > 0).")
        return self.tracer.emit(op, *operands)

    def _binary(op: str, swapped: bool = False) -> Callable:  # type: ignore
        if swapped:
            return lambda self, other: self.__op__(op, other, self)
        return lambda self, other: self.__op__(op, self, other)

    __add__, __radd__ = _binary("add"), _binary("add", True)
    __sub__, __rsub__ = _binary("sub"), _binary("sub", True)
    __mul__, __rmul__ = _binary("mul"), _binary("mul", True)
    __truediv__, __rtruediv__ = _binary("div"), _binary("div", True)
    __gt__, __ge__, __lt__, __le__ = _binary("gt"), _binary("ge"), _binary("lt"), _binary("le")
    __eq__, __ne__ = _binary("eq"), _binary("ne")  # type: ignore
    __and__, __or__ = _binary("and"), _binary("or")
    __hash__ = None  # type: ignore

    def __neg__(self) -> "Symbol":
        return self.__op__("neg", self)

    def __invert__(self) -> "Symbol":
        return self.__op__("not", self)

    def __abs__(self) -> "Symbol":
        return self.__op__("abs", self)

    def __pow__(self, power: Any) -> "Symbol":
        if power == 2:
            return self * self
        if power == 3:
            return self * self * self
        self.tracer.refuse(f"**: the power must be 2 or 3, got {power!r}", "Write exp(p * log(a)), or sqrt(a).")

    def _refuse(problem: str, cure: str) -> Callable:  # type: ignore
        return lambda self, *args, **kwargs: self.tracer.refuse(problem, cure)

    __bool__ = _refuse(
        "a rule cannot decide in Python on a value (if, while, and, or, not, max, min)",
        "Every neuron decides for itself: write where(condition, a, b), a & b, maximum(a, b).",
    )
    __float__ = __int__ = __index__ = _refuse(
        "a value of a rule is not a Python number",
        "Use the functions of ranvier.ops (exp, log, ...), not those of math.",
    )
    __getitem__ = __iter__ = __len__ = _refuse(
        "a value of a rule is one number per neuron; it has no axes",
        "Sums over neurons and products belong in a layer.",
    )
    __mod__ = __rmod__ = __floordiv__ = __rfloordiv__ = __matmul__ = __rmatmul__ = __rpow__ = _refuse(
        "a rule has no such operator", "There are + - * / ** (2 or 3), comparisons, and the functions of ranvier.ops."
    )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self.tracer.refuse(f".{name}: a value of a rule has no methods", _known())

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: tuple = (), kwargs: Any = None) -> NoReturn:
        symbol = next(a for a in args if isinstance(a, Symbol))
        symbol.tracer.refuse(f"torch.{function.__name__} cannot be used in a rule", _known())


def _known() -> str:
    return f"There are, in ranvier.ops: {', '.join(ops.__all__)}."


def trace(function: Callable, inputs: Sequence[str]) -> tuple[tuple[Operand, ...], tuple[Operand, ...], Graph]:
    """Run `function(*symbols) -> (outputs, states)` once; returns outputs, states, and the graph that computes them.

    Operations whose results are not used are dropped before the rest are numbered, so an unused line does not change
    the graph.
    """
    tracer = Tracer(getattr(inspect.unwrap(function), "__code__", None))
    outputs, states = function(*(Symbol(n, tracer) for n in inputs))
    out, after = (tuple(_result(v, tracer, k) for v in vs) for k, vs in (("output", outputs), ("state", states)))
    graph = Graph(tuple(inputs), tuple(tracer.ops), out + after).keeping(out + after).numbered()
    return graph.outputs[: len(out)], graph.outputs[len(out) :], graph


def _result(value: Any, tracer: Tracer, kind: str) -> Operand:
    if isinstance(value, Symbol):
        if value.name in tracer.conditions:
            raise RuleError(f"an {kind} is a comparison; write where(condition, 1.0, 0.0)")
        return value.name
    if isinstance(value, (int, float)):
        return float(value)
    raise RuleError(f"the rule's {kind} is {type(value).__name__}, wanted a value made of its arguments")
