"""What a rule makes of its parameters alone is the same in every step: dear functions of them are computed once."""

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ranvier import ops as meaning
from ranvier.derive.trace import CONDITIONS, Graph, Op, Operand

DEAR = {"div", "exp", "log", "sqrt", "tanh", "sigmoid", "softplus"}  # worth a tensor of their own, read in every step

_INFIX = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv, "neg": operator.neg,
    "gt": operator.gt, "ge": operator.ge, "lt": operator.lt, "le": operator.le, "eq": operator.eq, "ne": operator.ne,
    "and": operator.and_, "or": operator.or_, "not": operator.invert,
}  # fmt: skip


def play(ops: Iterable[Op], given: Mapping[str, Any]) -> dict[str, Any]:
    """Do the operations on tensors or symbols: what was given and all results, by name."""
    known = dict(given)
    for op in ops:
        args = [value(a, known) for a in op.args]
        infix = _INFIX.get(op.name)
        known[op.out] = infix(*args) if infix else meaning._apply(op.name, *args)
    return known


def value(a: Operand, known: Mapping[str, Any]) -> Any:
    return known[a] if isinstance(a, str) else a


@dataclass(frozen=True)
class Once:
    """Operations on parameters only, the names of the parameters they take, and of what the rest is given: the
    parameters it uses itself, then what was made of the others.
    """

    ops: tuple[Op, ...]
    taken: tuple[str, ...]
    given: tuple[str, ...]


def split(graph: Graph, params: Sequence[str], kept: Sequence[str] = ()) -> tuple[Once, tuple[Op, ...]] | None:
    """The dear operations on parameters with all that lead to them, and the other operations; None if there are none.
    The parameters in `kept` are given on, read or not.

    Cheap operations stay in the step: one more number to read, and one more gradient to add up, would cost more.
    """
    alone = set(params)
    dear: set[Operand] = set()
    for op in graph.ops:
        if all(a in alone for a in op.args if isinstance(a, str)):
            alone.add(op.out)
            if op.name in DEAR:
                dear.add(op.out)
    first = Graph(graph.inputs, graph.ops, ()).keeping(tuple(dear)).ops
    if not first:
        return None
    done = {op.out for op in first if op.name not in CONDITIONS}  # a condition is no number: it is said again
    rest = Graph(graph.inputs, tuple(op for op in graph.ops if op.out not in done), ()).keeping(graph.outputs).ops
    taken = {a for op in first for a in op.args}
    asked = {a for op in rest for a in op.args} | set(graph.outputs) | set(kept)
    given = [name for name in (*params, *(op.out for op in first if op.out in done)) if name in asked]
    return Once(first, tuple(p for p in params if p in taken), tuple(given)), rest
