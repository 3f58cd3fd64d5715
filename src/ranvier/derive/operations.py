"""The properties of each operation of a rule: how a gradient goes back through it, and how much it costs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ranvier import ops


@dataclass(frozen=True)
class Operation:
    """One operation.

    pull: (gradient of the result y, y, operands...) -> gradient of each operand; None means zero.
    cost: number of multiplications that take as long; 0 for an addition or an operation without arithmetic.
    steep: the index of the operand for which a finite value can lead to an infinite result or NaN.
    scales: whether the operation multiplies the gradient by a factor; other operations pass the gradient on unchanged
    or stop it.
    """

    pull: Callable[..., tuple]
    cost: int = 16
    steep: int | None = None
    scales: bool = True


def _passes(pull: Callable[..., tuple]) -> Operation:
    return Operation(pull, cost=0, scales=False)


def _div(g: Any, y: Any, a: Any, b: Any) -> tuple:
    """Return the gradients of a / b, with one reciprocal instead of two divisions. If b is one number for all neurons,
    the reciprocal is computed before the loop over neurons."""
    g_a = g * (1.0 / b)
    return g_a, -(g_a * y)


def _shared(g: Any, tie: Any, not_a: Any, not_b: Any) -> tuple:
    """Return the gradients of minimum and maximum: the chosen operand gets the whole gradient; equal operands get half
    each.
    """
    each = ops.where(tie, 0.5 * g, g)
    return ops.where(not_a, 0.0, each), ops.where(not_b, 0.0, each)


OPERATIONS: dict[str, Operation] = {
    "add": _passes(lambda g, y, a, b: (g, g)),
    "sub": _passes(lambda g, y, a, b: (g, -g)),
    "mul": Operation(lambda g, y, a, b: (g * b, g * a), cost=1),
    "div": Operation(_div, cost=8, steep=1),
    "neg": _passes(lambda g, y, a: (-g,)),
    "spike": Operation(lambda g, y, u, surrogate: (g * surrogate(u),), cost=0),
    "spike_strict": Operation(lambda g, y, u, surrogate: (g * surrogate(u),), cost=0),
    "stop": _passes(lambda g, y, a: (None,)),
    "inject": _passes(lambda g, y, model, measured: (g, None)),
    "where": _passes(lambda g, y, c, a, b: (None, ops.where(c, g, 0.0), ops.where(c, 0.0, g))),
    "exp": Operation(lambda g, y, a: (g * y,), cost=8, steep=0),
    "log": Operation(lambda g, y, a: (g / a,), cost=8, steep=0),
    "sqrt": Operation(lambda g, y, a: (g / (2.0 * y),), cost=8, steep=0),
    "tanh": Operation(lambda g, y, a: (g * (1.0 - y * y),)),
    "sigmoid": Operation(lambda g, y, a: (g * (y * (1.0 - y)),)),
    "softplus": Operation(lambda g, y, a: (g * ops.sigmoid(a),)),
    "abs": Operation(lambda g, y, a: (g * ops.sign(a),), cost=0),
    "minimum": _passes(lambda g, y, a, b: _shared(g, a == b, a > b, b > a)),
    "maximum": _passes(lambda g, y, a, b: _shared(g, a == b, a < b, b < a)),
    "clamp": _passes(lambda g, y, a, low, high: (ops.where((a >= low) & (a <= high), g, 0.0), None, None)),
    **dict.fromkeys(("sign", "floor", "round"), _passes(lambda g, y, a: (None,))),
    **dict.fromkeys(("gt", "ge", "lt", "le", "eq", "ne", "and", "or"), _passes(lambda g, y, a, b: (None, None))),
    "not": _passes(lambda g, y, a: (None,)),
}
