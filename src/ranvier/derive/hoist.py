"""Costly operations on parameters alone, such as exp(-dt / tau), are moved (hoisted) out of the loop over time.

Their result is the same at every step, so torch computes them once per call.
"""

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ranvier import ops
from ranvier.derive.operations import OPERATIONS
from ranvier.derive.trace import CONDITIONS, SPIKES, Graph, Op, Operand

_INFIX = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv, "neg": operator.neg,
    "gt": operator.gt, "ge": operator.ge, "lt": operator.lt, "le": operator.le, "eq": operator.eq, "ne": operator.ne,
    "and": operator.and_, "or": operator.or_, "not": operator.invert,
}  # fmt: skip


def evaluate(operations: Iterable[Op], given: Mapping[str, Any]) -> dict[str, Any]:
    """Run operations on tensors or symbols; return the given values and all results, by name."""
    known = dict(given)
    for op in operations:
        args = [value(a, known) for a in op.args]
        infix = _INFIX.get(op.name)
        known[op.out] = infix(*args) if infix else ops.apply(op.name, *args)
    return known


def value(a: Operand, known: Mapping[str, Any]) -> Any:
    """Return the value of a name, or the number itself."""
    return known[a] if isinstance(a, str) else a


@dataclass(frozen=True)
class Hoisted:
    """Operations that run once per call instead of once per step.

    `taken`: the parameters that these operations read. `given`: the parameters of the rest of the rule. These are the
    parameters that it still reads, and the results of the hoisted operations.
    """

    ops: tuple[Op, ...]
    taken: tuple[str, ...]
    given: tuple[str, ...]


def hoist(graph: Graph, params: Sequence[str], kept: Sequence[str] = ()) -> tuple[Hoisted, tuple[Op, ...]] | None:
    """Split a graph into the costly operations on parameters (with the operations they depend on) and the rest.

    Return None if there are no costly operations. The parameters in `kept` remain parameters of the rest even if it
    does not read them. Cheap operations are not moved: each moved result is one more number to read and one more
    gradient to sum. A spike stays too: hoisted operations are differentiated by torch, which does not know the
    surrogate derivative.
    """
    constant = set(params)
    costly: set[Operand] = set()
    for op in graph.ops:
        if op.name not in SPIKES and all(a in constant for a in op.args if isinstance(a, str)):
            constant.add(op.out)
            if OPERATIONS[op.name].cost > 1:  # more than reading its result
                costly.add(op.out)
    first = Graph(graph.inputs, graph.ops, ()).keeping(tuple(costly)).ops
    if not first:
        return None
    done = {op.out for op in first if op.name not in CONDITIONS}  # a condition cannot become a parameter
    rest = Graph(graph.inputs, tuple(op for op in graph.ops if op.out not in done), ()).keeping(graph.outputs).ops
    taken = {a for op in first for a in op.args}
    read = {a for op in rest for a in op.args} | set(graph.outputs) | set(kept)
    given = [name for name in (*params, *(op.out for op in first if op.out in done)) if name in read]
    return Hoisted(first, tuple(p for p in params if p in taken), tuple(given)), rest
