"""Printed lines of a graph, run on tensors: each op has torch's meaning there, no compiler is asked."""

import operator

import torch

from ranvier import ops
from ranvier.derive.source import lines, operand


def meaning(dtype):
    """The functions that printed lines call, on tensors."""
    return {
        **ops.EAGER,
        "const": lambda c: torch.tensor(c, dtype=dtype),
        "div": operator.truediv,
        "absolute": torch.abs,
        "nearest": torch.round,
        "negate": torch.logical_not,
        "same": lambda a: a,
        "inject": lambda model, measured: measured,
        "spike": lambda u: (u >= 0).to(dtype),
        "spike_strict": lambda u: (u > 0).to(dtype),
    }


def printed(name, graph, dtype):
    """A graph's lines as a Python function on tensors."""
    body = [*lines(graph), f"return ({''.join(operand(o) + ', ' for o in graph.outputs)})"]
    known = meaning(dtype)
    exec("\n    ".join([f"def {name}({', '.join(graph.inputs)}):", *body]), known)
    return known[name]
