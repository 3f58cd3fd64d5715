"""One word, four tables: eager, adjoint, Numba, Triton. They hold together."""

import ast
from pathlib import Path

import pytest
import torch

import ranvier as rv
from ranvier import Neuron, State, ops
from ranvier.derive import adjoint, source
from ranvier.ops import clamp, inject, maximum, minimum, spike, stop, where

BACKENDS = Path(rv.__file__).parent / "backends"
ARITHMETIC = {"add", "sub", "mul", "div", "neg", "not", "gt", "ge", "lt", "le", "eq", "ne", "and", "or"}


@pytest.mark.parametrize("file", ["numba_ops.py", "triton_kernels.py"])
def test_every_word_has_a_meaning_on_every_machine(file):
    nodes = list(ast.walk(ast.parse((BACKENDS / file).read_text())))
    defined = {n.name for n in nodes if isinstance(n, ast.FunctionDef)}
    defined |= {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    assert {source._RENAMED.get(w, w) for w in ops.EAGER} <= defined


def test_every_word_has_an_adjoint():
    assert set(ops.EAGER) | ARITHMETIC == set(adjoint.ADJOINT)


def neuron_of(*functions):
    """A neuron that gives each function of its input: one rule, since compiling one takes seconds."""

    class Each(Neuron):
        v = State(0.0)

        @staticmethod
        def rule(x, v):
            return tuple(f(x) for f in functions), v

    return Each()


UNARY = ["exp", "tanh", "sigmoid", "softplus", "abs", "sign", "floor", "round"]
CASES = {
    **{name: getattr(ops, name) for name in UNARY},
    "log": lambda x: ops.log(ops.abs(x) + 0.1),
    "sqrt": lambda x: ops.sqrt(ops.abs(x) + 0.1),
    "minimum": lambda x: minimum(x, 0.3),
    "maximum": lambda x: maximum(0.3 * x, x * x),
    "clamp": lambda x: clamp(x, -0.5, 0.5),
    "where": lambda x: where((x > 0.2) & ~(x > 1.0) | (x == 0.0), x * x, -x),
    "numbers": lambda x: where(x > 0.0, 0.1, 0.7) * x,
    "stop": lambda x: x * stop(x),
    "inject": lambda x: inject(x * x, 3.0 * x),
    "powers": lambda x: x**2 - 2.0 / (1.0 + x**3 * x),
    "ternary": lambda x: spike(x - 0.5) - spike(-x - 0.5, strict=True),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("backend", ["numba", "triton"])
def test_words_and_their_derivatives(backend, dtype):
    layer = neuron_of(*CASES.values())
    grid = [-30.0, -3.0, -1.5, -0.5, -0.3, -1e-3, 0.0, 1e-3, 0.2, 0.3, 0.5, 1.0, 1.5, 2.5, 30.0]
    x = torch.tensor(grid, dtype=dtype).reshape(1, 1, -1).requires_grad_()
    with rv.backend("reference"):
        true = layer(x)
    with rv.backend(backend):
        fast = layer(x)
    tolerance = 2e-6 if dtype == torch.float32 else 1e-12
    for case, y, z in zip(CASES, true, fast, strict=True):
        (a,), (b,) = (torch.autograd.grad(v.sum(), x, retain_graph=True) for v in (y, z))
        for what, got, wanted in (("value", z, y), ("derivative", b, a)):
            torch.testing.assert_close(
                got, wanted, rtol=tolerance, atol=tolerance, msg=lambda m, at=(case, what): f"{' '.join(at)}: {m}"
            )


@pytest.mark.parametrize("backend", ["numba", "triton"])
def test_every_surrogate_has_its_slope(backend):
    """In whole neurons: `test_agreement.py`, among the slow checks."""
    slopes = {name: make() for name, make in rv.surrogate.SURROGATES.items()}
    layer, u = neuron_of(*slopes.values()), torch.linspace(-2, 2, 33).reshape(1, 1, -1)
    with rv.backend("reference"):
        true = layer(u)
    with rv.backend(backend):
        fast = layer(u)
    for name, y, z in zip(slopes, true, fast, strict=True):
        torch.testing.assert_close(z, y, rtol=1e-5, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}")


def test_exponential_at_its_ends():
    x = torch.tensor([-200.0, -104.0, -87.5, 0.0, 87.9, 88.5, 89.0, torch.inf, -torch.inf, torch.nan]).reshape(1, 1, -1)
    y = neuron_of(ops.exp)(x)
    torch.testing.assert_close(y, torch.exp(x), rtol=1e-6, atol=1e-37, equal_nan=True)
