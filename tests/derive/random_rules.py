"""Random rules: expression graphs with ties, constants (infinite too), nested spikes, and lines that nothing reads.

Rule number `seed` is the same in every run. Its numbers lie on a grid of quarters, so that ties are common.
"""

import math
import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ranvier import ops, surrogate
from ranvier.derive.rule import Rule

CONSTANTS = (-1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 2.0)
UNARY: dict[str, Callable] = {
    "neg": lambda a: -a,
    "abs": ops.abs,
    "sign": ops.sign,
    "floor": ops.floor,
    "round": ops.round,
    "tanh": ops.tanh,
    "sigmoid": ops.sigmoid,
    "softplus": ops.softplus,
    "stop": ops.stop,
    "square": lambda a: a**2,
    "exp": lambda a: ops.exp(ops.clamp(a, -math.inf, 1.0)),
    "log": lambda a: ops.log(ops.abs(a) + 0.5),
    "sqrt": lambda a: ops.sqrt(ops.maximum(a, 0.25)),
    "below": lambda a: ops.minimum(a, math.inf),
    "above": lambda a: ops.maximum(-math.inf, a),
    "clamp": lambda a: ops.clamp(a, -0.5, math.inf),
    "spike": lambda a: ops.spike(a - 0.5),
    "strict": lambda a: ops.spike(a, strict=True),
}
for _name in {*ops.__all__} - {*UNARY, "inject", "maximum", "minimum", "where"}:  # an op that is not above yet
    UNARY[_name] = getattr(ops, _name)
BINARY: dict[str, Callable] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / (0.5 + ops.abs(b)) if hasattr(b, "__abs__") and not isinstance(b, float) else a / 2.0,
    "minimum": ops.minimum,
    "maximum": ops.maximum,
    "inject": lambda a, b: ops.inject(a, b + 0.0 * a) if not isinstance(a, float) else b,
    "greater": lambda a, b: ops.where((a > b) | ~(a >= 0.0), a, b),
    "equal": lambda a, b: ops.where((a == b) & (a != 0.25), a * 0.5, b),
    "gap": lambda a, b: ops.where((a <= b) & (a < 1.0), 0.25, a),
}


def rule(seed: int) -> Rule:
    """1 to 3 inputs, 1 to 4 states, 1 to 3 outputs, up to 3 parameters, 4 to 16 operations."""
    draw = random.Random(seed)
    inputs, states, params = (
        tuple(f"{kind}{k}" for k in range(draw.randint(low, high)))
        for kind, low, high in (("x", 1, 3), ("s", 1, 4), ("p", 0, 3))
    )
    said: list[tuple] = []  # what each line of the rule does, and to which values before it
    count = len(inputs + states + params)
    for k in range(draw.randint(4, 16)):
        table = draw.choice((UNARY, BINARY, BINARY))
        at = [draw.randrange(count + k) for _ in range(1 if table is UNARY else 2)]
        constant = draw.choice(CONSTANTS) if table is BINARY and draw.random() < 0.2 else None
        said.append((table[draw.choice(sorted(table))], at, constant))
    size = count + len(said)
    given = [draw.randrange(count, size) if draw.random() < 0.9 else draw.randrange(size) for _ in range(3)]
    given = given[: draw.randint(1, 3)]
    after = [(draw.choice(("clamp", "tanh", "same", "number")), draw.randrange(size)) for _ in states]

    def function(*values: Any) -> tuple[tuple, tuple]:
        known = list(values)
        for f, at, constant in said:
            arguments = [known[a] for a in at]
            known.append(f(*arguments) if constant is None else f(arguments[0], constant))
        kept = {
            "clamp": lambda a: ops.clamp(a, -2.0, 2.0),
            "tanh": lambda a: 0.75 * ops.tanh(a),
            "same": lambda a: a,
            "number": lambda a: 0.5,
        }
        return tuple(known[a] for a in given), tuple(kept[how](known[a]) for how, a in after)

    return Rule(f"Random{seed}", function, surrogate.triangular(1.0), inputs, states, params)


def together(rules: list[Rule]) -> Rule:
    """Many rules side by side, as one: compiled in one go."""

    def names(kind: str) -> tuple[str, ...]:
        return tuple(f"r{k}{n}" for k, r in enumerate(rules) for n in getattr(r, kind))

    def function(*values: Any) -> tuple[tuple, tuple]:
        rest = {kind: iter(values[start:]) for kind, start in zip(kinds, starts, strict=True)}
        outputs, states = (), ()
        for r in rules:
            found = r.function(*(next(rest[kind]) for kind in kinds for _ in getattr(r, kind)))
            outputs, states = outputs + found[0], states + found[1]
        return outputs, states

    kinds = ("inputs", "states", "params")
    sizes = [len(names(kind)) for kind in kinds]
    starts = (0, sizes[0], sizes[0] + sizes[1])
    return Rule("Together", function, rules[0].surrogate, *(names(kind) for kind in kinds))


def values(rule: Rule, dtype: torch.dtype, wide: bool = False, steps: int = 3, neurons: int = 8) -> tuple[list, ...]:
    """Inputs [T, 1, N], states [1, N], parameters, gradients of outputs and of final states.

    Every other parameter is one number, unless all shall be `wide`, [N]. For half of the rules one of the gradients is
    None: nobody asks for it.
    """
    draw = torch.Generator().manual_seed(len(rule.step.ops))

    def grid(*shape: int) -> Tensor:
        return (torch.randint(-6, 7, shape, generator=draw) / 4).to(dtype)

    def gradients(*shapes: tuple) -> list[Tensor | None]:
        found: list[Tensor | None] = [torch.randn(s, generator=draw, dtype=torch.float64).to(dtype) for s in shapes]
        if torch.rand((), generator=draw) < 0.5:
            found[int(torch.randint(len(found), (), generator=draw))] = None
        return found

    return (
        [grid(steps, 1, neurons) for _ in rule.inputs],
        [grid(1, neurons) for _ in rule.states],
        [grid(neurons) if wide or k % 2 else grid() for k, _ in enumerate(rule.params)],
        gradients(*[(steps, 1, neurons)] * len(rule.outputs), *[(1, neurons)] * len(rule.states)),
    )
