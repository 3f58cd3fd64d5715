"""Every op, its value and its derivative, over its whole domain, on every backend; a new op is found by itself."""

import inspect
import math
import operator
from pathlib import Path

import pytest
import torch

import ranvier as rv
from printed import printed
from ranvier import ops
from ranvier.backends import choose, reference
from ranvier.derive import source, trace
from ranvier.derive.operations import OPERATIONS
from ranvier.derive.rule import Rule
from ranvier.ops import spike, where

BACKENDS = Path(rv.__file__).parent / "backends"
ARITHMETIC = {"add", "sub", "mul", "div", "neg", *trace.CONDITIONS}
EVERYWHERE = pytest.mark.parametrize("backend", ["numba", "triton"])
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


@EVERYWHERE
def test_every_op_has_a_meaning_on_every_backend(backend):
    assert not source.undefined((BACKENDS / f"{backend}_ops.py").read_text())


def test_every_op_has_a_derivative():
    assert set(ops.EAGER) | ARITHMETIC == set(OPERATIONS)


BOUNDS = ((-0.5, 0.5), (-math.inf, 1.0), (0.0, math.inf), (1.0, -1.0))
COMPARED = {name: getattr(operator, name) for name in ("gt", "ge", "lt", "le", "eq", "ne")}


def with_number(f, number):
    return lambda a, b: f(a, number)


def found(name):
    """An op by name as a function of a and b, of which it takes as many as it has arguments."""
    f = getattr(ops, name)
    arguments = [p for p in inspect.signature(f).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    return f if len(arguments) == 2 else lambda a, b: f(a)


# What a rule can say of two inputs a and b: all of `ranvier.ops`, and Python's own.
SAID = {
    **{name: found(name) for name in ops.__all__ if name not in ("where", "clamp")},
    **{f"{name} with {c}": with_number(getattr(ops, name), c)
       for name in ("minimum", "maximum") for c in (0.5, math.inf, -math.inf)},
    **{f"clamp to {low} {high}": lambda a, b, lh=(low, high): ops.clamp(a, *lh) for low, high in BOUNDS},
    **{name: getattr(operator, name) for name in ("add", "sub", "mul", "truediv")},
    **{name: lambda a, b, f=f: where(f(a, b), a, b) for name, f in COMPARED.items()},
    **{f"{name} with 0.5": lambda a, b, f=f: where(f(a, 0.5), 2.0, 0.5) * b for name, f in COMPARED.items()},
    "neg": lambda a, b: -a,
    "square": lambda a, b: a**2,
    "cube": lambda a, b: a**3,
    "number over": lambda a, b: 2.0 / a,
    "over number": lambda a, b: a / 3.0,
    "number minus": lambda a, b: 1.0 - a,
    "and": lambda a, b: where((a > 0.2) & (b < 1.0), a, 0.0),
    "or": lambda a, b: where((a > 0.2) | (b < 1.0), a, 0.0),
    "not": lambda a, b: where(~(a > b), 1.0, a),
    "strict spike": lambda a, b: spike(a, strict=True),
    "product with a stopped one": lambda a, b: a * ops.stop(b),
    "injected sum": lambda a, b: ops.inject(a * a, a + b),
}  # fmt: skip

POSITIVE = [0.0, 1e-30, 1e-3, 0.2, 0.3, 0.5, 1.0, 1.5, 2.5, 20.0, 39.5, 50.0, 86.5, 88.5, 90.0, 710.0, 1e6, 1e30]
EDGES = [-math.inf, *(-p for p in reversed(POSITIVE)), *POSITIVE, math.inf, math.nan]


def pairs(dtype):
    """All pairs of edges, and a fine sweep of the first against one of the second."""
    edges = torch.tensor(EDGES, dtype=dtype)
    sweep = torch.linspace(-87.0, 88.0, 301, dtype=dtype)
    a, b = torch.cartesian_prod(edges, edges).unbind(1)
    return torch.cat([a, sweep]).reshape(1, 1, -1), torch.cat([b, sweep.flip(0) / 7]).reshape(1, 1, -1)


def rule_of(said):
    """One rule for many functions, since compiling one takes seconds."""

    def function(a, b):
        return tuple(f(a, b) for f in said), ()

    rule = Rule("Each", function, rv.surrogate.superspike(2.0), ("a", "b"), (), ())
    choose.op.register(rule)
    return rule


def check(names, true, fast, tolerance, smallest):
    """Relative errors, and no number where torch has none; an error says where it is."""
    wrong = []
    for name, w, g in zip(names, true, fast, strict=True):
        close = torch.isclose(g, w, rtol=tolerance, atol=smallest, equal_nan=True).flatten()
        if not bool(close.all()):
            n = int((~close).nonzero()[0])
            a, b, is_now, should = (v.flatten()[n].item() for v in (*pairs(w.dtype), g, w))
            places = int((~close).sum())
            wrong.append(f"{name} at ({a:.9g}, {b:.9g}) is {is_now:.9g}, wanted {should:.9g}; {places} such places")
    assert not wrong, "\n".join(wrong)


def values(said, backend, dtype):
    with rv.backend(backend):
        return choose.carry(rule_of(said.values()), pairs(dtype), [], [])[0]


@EVERYWHERE
@DTYPES
def test_every_op_over_its_whole_domain(backend, dtype):
    tolerance = (2e-6, 3e-38) if dtype == torch.float32 else (1e-12, 1e-300)
    check(SAID, values(SAID, "reference", dtype), values(SAID, backend, dtype), *tolerance)


@EVERYWHERE
@DTYPES
def test_every_surrogate_over_the_whole_line(backend, dtype):
    """In whole neurons: `test_agreement.py`, among the slow checks."""
    said = {name: lambda a, b, make=make: make()(a) for name, make in rv.surrogate.SURROGATES.items()}
    tolerance = (1e-5, 1e-6) if dtype == torch.float32 else (1e-10, 1e-12)
    check(said, values(said, "reference", dtype), values(said, backend, dtype), *tolerance)


@DTYPES
@pytest.mark.parametrize("name", SAID)
def test_every_derivative_over_its_whole_domain(name, dtype):
    """As printed, with torch's meaning of each op: what the backends make of the ops is checked above."""
    rule = rule_of([SAID[name]])
    given = [v.clone().requires_grad_() for v in pairs(dtype)]
    (y,), _ = reference.scan(rule, given, [], [])
    found = torch.autograd.grad(y.sum(), given, allow_unused=True) if y.requires_grad else (None, None)
    true = [torch.zeros_like(v) if g is None else g for v, g in zip(given, found, strict=True)]
    back = printed("back", rule.backward((True, True)), dtype)
    fast = [g.expand_as(y) for g in back(*pairs(dtype), torch.ones_like(y))]
    last = torch.finfo(dtype).eps
    smallest = 4 * last if name == "tanh" else 1e-300  # 1 - y^2 loses its last digits where y is close to 1
    check(("derivative by a", "derivative by b"), true, fast, 16 * last, smallest)


def side_by_side(said):
    """One rule for many functions, each of two inputs of its own: their derivatives do not meet."""

    def function(*inputs):
        return tuple(f(*inputs[2 * k : 2 * k + 2]) for k, f in enumerate(said)), ()

    names = tuple(f"{side}{k}" for k in range(len(said)) for side in "ab")
    rule = Rule("SideBySide", function, rv.surrogate.superspike(2.0), names, (), ())
    choose.op.register(rule)
    return rule


@pytest.mark.parametrize("backend", [pytest.param("numba", marks=pytest.mark.slow), "triton"])
@pytest.mark.parametrize("part", range(3))
def test_every_derivative_over_its_whole_domain_on_every_backend(backend, part):
    """In kernels, with their own meaning of each op."""
    said = dict([*SAID.items()][part::3])
    rule, found = side_by_side(said.values()), []
    for name in ("reference", backend):
        given = [v.clone().requires_grad_() for _ in said for v in pairs(torch.float64)]
        with rv.backend(name):
            outputs, _ = choose.carry(rule, given, [], [])
        sum(y.sum() for y in outputs).backward()
        found.append([torch.zeros_like(v) if v.grad is None else v.grad for v in given])
    names = [f"{name} by {side}" for name in said for side in "ab"]
    check(names, *found, 1e-12, 1e-14)


@EVERYWHERE
def test_the_derivatives_of_all_ops_together(backend):
    """Their sum, each weighted, over numbers of ordinary size: one kernel."""
    weight = {name: 0.5 + 0.1 * (k % 7) for k, name in enumerate(SAID)}
    rule = rule_of([lambda a, b: sum(w * SAID[name](a, b) for name, w in weight.items())])
    ordinary = torch.tensor([-2.5, -1.0, -0.5, 0.0, 0.2, 0.5, 1.0, 1.5, 3.0], dtype=torch.float64)
    a, b = torch.cartesian_prod(ordinary + 0.01, ordinary - 0.02).unbind(1)
    found = []
    for name in ("reference", backend):
        given = [v.reshape(1, 1, -1).clone().requires_grad_() for v in (a, b)]
        with rv.backend(name):
            (y,), _ = choose.carry(rule, given, [], [])
        found.append(torch.autograd.grad(y.sum(), given))
    for g, w in zip(*found, strict=True):
        torch.testing.assert_close(g, w, rtol=1e-10, atol=1e-10, equal_nan=True)
