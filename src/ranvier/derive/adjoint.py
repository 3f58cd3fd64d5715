"""Reverse-mode differentiation of one step: from the graph of a rule to the graph of its vector-Jacobian product."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ranvier import ops
from ranvier.derive.operations import OPERATIONS
from ranvier.derive.trace import CONDITIONS, SPIKES, Graph, Op, Operand, Symbol, Tracer


def unbounded(graph: Graph, varying: Sequence[str]) -> set[str]:
    """Return the values that can be infinite or NaN for finite inputs: results of steep operations, and all values that
    depend on them.

    Steep operations on parameters alone do not count: only the inputs in `varying` differ from step to step.
    """
    vary, found = set(varying), set()
    for op in graph.ops:
        if not vary.isdisjoint(op.args):
            vary.add(op.out)
        cause = OPERATIONS[op.name].steep
        steep = cause is not None and op.args[cause] in vary
        if (steep or not found.isdisjoint(op.args)) and op.name not in (*SPIKES, *CONDITIONS):
            found.add(op.out)
    return found


def adjoint(
    graph: Graph,
    wanted: Sequence[str],
    surrogate: Callable[..., Any],
    varying: Sequence[str],
    numbers: Sequence[str] = (),
) -> Graph:
    """Return the graph that computes the gradients of the inputs in `wanted`.

    Its inputs are those of `graph` and one gradient per output, called g0, g1, ... It computes the step itself again,
    so it needs no other values from the forward pass. `surrogate` gets the distance to threshold and the inputs named
    in `numbers`. `varying` are the inputs that differ from step to step.

    A zero gradient times an infinite or NaN factor counts as zero. So the other branch of a `where`, or an unused
    state, never adds NaN to a gradient.
    """
    graph = graph.keeping(graph.outputs).numbered()
    tracer = Tracer(ops=graph.ops)
    seeds = tuple(f"g{k}" for k in range(len(graph.outputs)))
    given = [(output, Symbol(seed, tracer)) for output, seed in zip(graph.outputs, seeds, strict=True)]
    gradient = pulled(graph, tracer, given, surrogate, varying, numbers)
    outputs = tuple(gradient[v].name if v in gradient else 0.0 for v in wanted)
    return Graph(graph.inputs + seeds, tuple(tracer.ops), outputs).keeping(outputs)


def pulled(
    graph: Graph,
    tracer: Tracer,
    seeds: Iterable[tuple[Operand, Any]],
    surrogate: Callable[..., Any],
    varying: Sequence[str],
    numbers: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the gradients of all values of a graph, given the gradients `seeds` of some of them. The operations that
    compute them are recorded by `tracer`.

    Each gradient is a symbol, or a plain number if a seed is a plain number.
    """
    steep, gradient = unbounded(graph, varying), dict[str, Any]()

    def symbol(a: Operand) -> Any:
        return Symbol(a, tracer) if isinstance(a, str) else a

    def add(operand: Operand, g: Any) -> None:
        if isinstance(operand, str) and g is not None:
            gradient[operand] = gradient[operand] + g if operand in gradient else g

    def backward(op: Op, g: Any) -> None:
        extra = {"surrogate": lambda u: surrogate(u, *map(symbol, numbers))} if op.name in SPIKES else {}
        found = OPERATIONS[op.name].pull(g, symbol(op.out), *map(symbol, op.args), **extra)
        for k, (a, g_a) in enumerate(zip(op.args, found, strict=True)):
            factors = {op.args[1 - k]} if op.name == "mul" else {op.out, *op.args}
            scaled = isinstance(a, str) and isinstance(g, Symbol) and OPERATIONS[op.name].scales
            add(a, ops.where(g == 0.0, 0.0, g_a) if scaled and not steep.isdisjoint(factors) else g_a)

    for output, seed in seeds:
        add(output, seed)
    for op in reversed(graph.ops):
        if op.out in gradient:
            backward(op, gradient[op.out])
    return gradient
