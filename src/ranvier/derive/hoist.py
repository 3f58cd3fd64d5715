"""Operations on parameters alone give the same in every step: the costly ones are hoisted out of the loop over time."""

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ranvier import ops
from ranvier.derive.trace import CONDITIONS, SPIKES, Graph, Op, Operand

COSTLY = {"div", "exp", "log", "sqrt", "tanh", "sigmoid", "softplus"}  # each costs more than reading one more number

_INFIX = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv, "neg": operator.neg,
    "gt": operator.gt, "ge": operator.ge, "lt": operator.lt, "le": operator.le, "eq": operator.eq, "ne": operator.ne,
    "and": operator.and_, "or": operator.or_, "not": operator.invert,
}  # fmt: skip


def evaluate(operations: Iterable[Op], given: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out operations on tensors or symbols; returns the given values and all results, by name."""
    known = dict(given)
    for op in operations:
        args = [value(a, known) for a in op.args]
        infix = _INFIX.get(op.name)
        known[op.out] = infix(*args) if infix else ops.apply(op.name, *args)
    return known


def value(a: Operand, known: Mapping[str, Any]) -> Any:
    """The value of a name, or the number itself."""
    return known[a] if isinstance(a, str) else a


@dataclass(frozen=True)
class Hoisted:
    """Operations that run once per call.

    `taken` names the parameters they read. `given` names what the rest of the rule reads in place of its parameters:
    the parameters it still needs, then the results of these operations.
    """

    ops: tuple[Op, ...]
    taken: tuple[str, ...]
    given: tuple[str, ...]


def hoist(graph: Graph, params: Sequence[str], kept: Sequence[str] = ()) -> tuple[Hoisted, tuple[Op, ...]] | None:
    """Split a graph into costly operations on parameters, with all they need, and the rest; None if there are none.

    The parameters in `kept` are handed to the rest whether it reads them or not. Cheap operations stay in the step:
    hoisted, each would be one more number to read and one more gradient to sum. A spike stays there too: hoisted
    operations are differentiated by torch, which knows no surrogate.
    """
    constant = set(params)
    costly: set[Operand] = set()
    for op in graph.ops:
        if op.name not in SPIKES and all(a in constant for a in op.args if isinstance(a, str)):
            constant.add(op.out)
            if op.name in COSTLY:
                costly.add(op.out)
    first = Graph(graph.inputs, graph.ops, ()).keeping(tuple(costly)).ops
    if not first:
        return None
    done = {op.out for op in first if op.name not in CONDITIONS}  # a condition is no number and cannot be handed over
    rest = Graph(graph.inputs, tuple(op for op in graph.ops if op.out not in done), ()).keeping(graph.outputs).ops
    taken = {a for op in first for a in op.args}
    read = {a for op in rest for a in op.args} | set(graph.outputs) | set(kept)
    given = [name for name in (*params, *(op.out for op in first if op.out in done)) if name in read]
    return Hoisted(first, tuple(p for p in params if p in taken), tuple(given)), rest
