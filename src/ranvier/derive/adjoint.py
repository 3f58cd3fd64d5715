"""The vector-Jacobian product of one step: a graph, differentiated from back to front."""

from collections.abc import Callable, Sequence
from typing import Any

from ranvier import ops as w
from ranvier.derive.trace import Graph, Operand, Symbol, Tracer


def _div(g: Any, y: Any, a: Any, b: Any) -> tuple:
    """By the reciprocal of b: one division where two stood, and none in the loop if b is one number for all."""
    g_a = g * (1.0 / b)
    return g_a, -(g_a * y)


# For each operation: (gradient of its result, result, operands...) -> gradient of each operand, None where it is zero.
# Written in the words of a rule; `slope` is the neuron's surrogate.
ADJOINT: dict[str, Callable[..., tuple]] = {
    "add": lambda g, y, a, b: (g, g),
    "sub": lambda g, y, a, b: (g, -g),
    "mul": lambda g, y, a, b: (g * b, g * a),
    "div": _div,
    "neg": lambda g, y, a: (-g,),
    "spike": lambda g, y, u, slope: (g * slope(u),),
    "spike_strict": lambda g, y, u, slope: (g * slope(u),),
    "stop": lambda g, y, a: (None,),
    "inject": lambda g, y, model, measured: (g, None),
    "where": lambda g, y, c, a, b: (None, w.where(c, g, 0.0), w.where(c, 0.0, g)),
    "exp": lambda g, y, a: (g * y,),
    "log": lambda g, y, a: (g / a,),
    "sqrt": lambda g, y, a: (g / (2.0 * y),),
    "tanh": lambda g, y, a: (g * (1.0 - y * y),),
    "sigmoid": lambda g, y, a: (g * (y * (1.0 - y)),),
    "softplus": lambda g, y, a: (g * w.sigmoid(a),),
    "abs": lambda g, y, a: (g * w.sign(a),),
    "minimum": lambda g, y, a, b: (
        w.where(a < b, g, w.where(a == b, 0.5 * g, 0.0)),
        w.where(b < a, g, w.where(a == b, 0.5 * g, 0.0)),
    ),
    "maximum": lambda g, y, a, b: (
        w.where(a > b, g, w.where(a == b, 0.5 * g, 0.0)),
        w.where(b > a, g, w.where(a == b, 0.5 * g, 0.0)),
    ),
    "clamp": lambda g, y, a, low, high: (w.where((a >= low) & (a <= high), g, 0.0), None, None),
    **dict.fromkeys(("sign", "floor", "round"), lambda g, y, a: (None,)),
    **dict.fromkeys(("gt", "ge", "lt", "le", "eq", "ne", "and", "or"), lambda g, y, a, b: (None, None)),
    "not": lambda g, y, a: (None,),
}


def adjoint(graph: Graph, wanted: Sequence[str], slope: Callable[[Any], Any]) -> Graph:
    """A graph of the same inputs and one gradient per output (g0, g1, ...) whose outputs are the gradients of `wanted`.

    It runs the step again, so it needs nothing from the forward pass but that pass's inputs.
    """
    graph = graph.keeping(graph.outputs).numbered()
    tracer = Tracer(ops=graph.ops)
    seeds = tuple(f"g{k}" for k in range(len(graph.outputs)))
    gradient: dict[str, Symbol] = {}

    def symbol(a: Operand) -> Any:
        return Symbol(a, tracer) if isinstance(a, str) else a

    def add(operand: Operand, g: Any) -> None:
        if isinstance(operand, str) and g is not None:
            gradient[operand] = gradient[operand] + g if operand in gradient else g

    for output, seed in zip(graph.outputs, seeds, strict=True):
        add(output, Symbol(seed, tracer))
    for op in reversed(graph.ops):
        if op.out in gradient:
            extra = {"slope": slope} if op.name in ("spike", "spike_strict") else {}
            operands = ADJOINT[op.name](gradient[op.out], symbol(op.out), *map(symbol, op.args), **extra)
            for a, g in zip(op.args, operands, strict=True):
                add(a, g)
    outputs = tuple(gradient[v].name if v in gradient else 0.0 for v in wanted)
    return Graph(graph.inputs + seeds, tuple(tracer.ops), outputs).keeping(outputs)
