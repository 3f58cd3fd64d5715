"""A surrogate gradient is no derivative of a step, so finite differences cannot check it. They can check the smooth
twin: the same neuron whose spike is replaced by the function whose derivative is the surrogate. The adjoint under
test is the derived one, the list of operations that every backend's kernel is printed from."""

import inspect
import math
import pickle

import pytest
import torch

import ranvier as rv
from everything import NEURONS, drive
from ranvier import ops
from ranvier.derive.trace import Graph

ANTIDERIVATIVES = {
    "superspike": lambda u, k: u / (1 + k * u.abs()),
    "atan": lambda u, alpha: torch.atan(math.pi * alpha / 2 * u) / math.pi,
    "arctan": lambda u, k: torch.atan(math.pi * k * u) / (math.pi**2 * k),
    "boxcar": lambda u, width, height: height * u.clamp(-width / 2, width / 2),
    "triangular": lambda u, k: torch.sign(u) * (u.abs().clamp(max=1 / k) - k * u.abs().clamp(max=1 / k) ** 2 / 2),
    "tanh": lambda u, k: torch.tanh(k * u) / k,
    "sigmoid": lambda u, alpha: torch.sigmoid(alpha * u),
    "erf": lambda u, alpha: torch.erf(alpha * u) / 2,
    "piecewise_quadratic": lambda u, alpha: (
        torch.sign(u) * (alpha * u.abs().clamp(max=1 / alpha) - (alpha * u.abs().clamp(max=1 / alpha)) ** 2 / 2)
    ),
    "piecewise_exp": lambda u, alpha: torch.sign(u) * (1 - torch.exp(-alpha * u.abs())) / 2,
    "soft_sign": lambda u, alpha: alpha * u / (2 * (1 + alpha * u.abs())),
    "leaky_relu": lambda u, below, above: torch.where(u >= 0, above * u, below * u),
    "straight_through": lambda u: u,
    "nonzero_sign_log_abs": lambda u, alpha: torch.sign(u) * torch.log1p(alpha * u.abs()),
    "piecewise_leaky_relu": lambda u, width, leak: (
        torch.sign(u) * (u.abs().clamp(max=width) / (2 * width) + leak * (u.abs() - width).clamp(min=0))
    ),
    "fourier": lambda u, terms, period: (
        2 / math.pi * sum(torch.sin((2 * i + 1) * 2 * math.pi * u / period) / (2 * i + 1) for i in range(int(terms)))
    ),
    "s2nn": lambda u, alpha, beta: torch.where(
        u < 0, torch.sigmoid(alpha * u) - 0.5, beta * torch.log1p(u.clamp(min=0))
    ),
    "q_pseudo_spike": lambda u, alpha: torch.sign(u) * (1 - (1 + 2 * u.abs() / (alpha - 1)) ** (1 - alpha)) / 2,
    "fake_numerical_gradient": lambda u, alpha: torch.where(
        u.abs() <= 1 / alpha, alpha * u, torch.sign(u) * (1 + torch.log((alpha * u.abs()).clamp(min=1)))
    ),
    "log_tailed_relu": lambda u, alpha: torch.where(
        u <= 0, alpha * u, torch.where(u <= 1, u, 1 + torch.log(u.clamp(min=1)))
    ),
    "scaled_superspike": lambda u, alpha: alpha * u / (1 + u.abs()),
    "multi_gaussian": lambda u, h, s, sigma, scale: (
        scale
        * (
            (1 + h) * torch.erf(u / sigma / math.sqrt(2)) / 2
            - h * torch.erf((u - sigma) / (s * sigma) / math.sqrt(2)) / 2
            - h * torch.erf((u + sigma) / (s * sigma) / math.sqrt(2)) / 2
        )
    ),
}

ARITHMETIC = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "neg": torch.neg, "gt": torch.gt,
    "ge": torch.ge, "lt": torch.lt, "le": torch.le, "eq": torch.eq, "ne": torch.ne, "and": torch.logical_and,
    "or": torch.logical_or, "not": torch.logical_not,
}  # fmt: skip


def evaluate(graph: Graph, values, spike):
    """A graph on tensors, with `spike` for its spikes."""
    table = {
        **ops.EAGER,
        **ARITHMETIC,
        "spike": spike,
        "spike_strict": spike,
        "inject": lambda model, measured: model,
    }
    known = dict(zip(graph.inputs, values, strict=True))
    like = values[0]

    def value(a):
        return known[a] if isinstance(a, str) else torch.tensor(a, dtype=like.dtype)

    for op in graph.ops:
        args = [a if op.name == "clamp" and not isinstance(a, str) else value(a) for a in op.args]
        known[op.out] = table[op.name](*args)
    return [value(o).expand_as(like) for o in graph.outputs]


def antiderivative(surrogate):
    numbers = dict(surrogate.numbers)
    return lambda u: ANTIDERIVATIVES[surrogate.name](u, **numbers)


class Twin(torch.autograd.Function):
    """One step of a rule with smooth spikes; its derivative is the derived adjoint."""

    @staticmethod
    def forward(ctx, rule, spike, *values):
        ctx.rule, ctx.spike = rule, spike
        ctx.save_for_backward(*values)
        return tuple(evaluate(rule.step, values, spike))

    @staticmethod
    def backward(ctx, *grads):
        graph = ctx.rule.adjoint(ctx.rule.arguments)
        return None, None, *evaluate(graph, (*ctx.saved_tensors, *grads), ctx.spike)


def run(rule, spike, x, *rest):
    """Two steps, so that gradients flow through the states too."""
    states, params = rest[: len(rule.states)], rest[len(rule.states) :]
    outputs = []
    for x_t in x.unbind(0):
        result = Twin.apply(rule, spike, *x_t.unbind(0), *states, *params)
        outputs += result[: len(rule.outputs)]
        states = result[len(rule.outputs) :]
    return (*outputs, *states)


def check(neuron):
    rule = neuron.bound(())
    x = drive(neuron, 2, (1, 3), torch.float64)
    x = torch.stack(x if isinstance(x, tuple) else (x,), 1)
    states = [torch.rand(1, 3, dtype=torch.float64) * 0.4 + 0.05 for _ in rule.states]
    params = [
        p.double().expand(1, 3) + (0.0 if name in rule.numbers else 0.011)  # the surrogate's numbers are the twin's
        for name, p in zip(rule.params, neuron.values(x), strict=True)
    ]
    values = [v.requires_grad_() for v in (x, *states, *params)]
    assert torch.autograd.gradcheck(
        lambda *v: run(rule, antiderivative(neuron.surrogate), *v), values, atol=1e-6, rtol=1e-4
    )


@pytest.mark.parametrize("neuron", NEURONS, ids=lambda c: c.__name__)
def test_every_derived_adjoint_is_the_derivative_of_the_smooth_twin(neuron):
    check(neuron())


def changed(surrogate, name):
    """The same with one of its numbers changed."""
    return {k: (v + 2 if k in surrogate.fixed else 1.6 * v + 0.1) if k == name else v for k, v in surrogate.numbers}


MADE = [
    (name, number) for name, make in sorted(rv.surrogate.SURROGATES.items()) for number in (None, *dict(make().numbers))
]


@pytest.mark.parametrize(("name", "number"), MADE, ids=str)
def test_every_surrogate_is_the_derivative_of_its_antiderivative(name, number):
    """As it is made without arguments, and with each of its numbers changed."""
    assert name in ANTIDERIVATIVES, f"write the integral of surrogate.{name} into ANTIDERIVATIVES"
    surrogate = rv.surrogate.SURROGATES[name]()
    if number is not None:
        surrogate = rv.surrogate.SURROGATES[name](**changed(surrogate, number))
    u = torch.linspace(-1.37, 1.41, 40, dtype=torch.float64)
    step = 1e-6
    difference = (antiderivative(surrogate)(u + step) - antiderivative(surrogate)(u - step)) / (2 * step)
    torch.testing.assert_close(torch.as_tensor(surrogate(u)), difference, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", sorted(rv.surrogate.SURROGATES))
def test_the_smooth_twin_of_every_surrogate(name):
    check(rv.ALIF(surrogate=rv.surrogate.SURROGATES[name]()))


@pytest.mark.parametrize("within", [rv.surrogate.atan(2.0), rv.surrogate.fourier(3), rv.surrogate.straight_through()])
def test_a_damped_surrogate_is_a_number_times_another(within):
    damped = rv.surrogate.damped(within, 0.25)
    u = torch.linspace(-2.0, 2.0, 9)
    again = pickle.loads(pickle.dumps(damped))
    torch.testing.assert_close(torch.as_tensor(damped(u)), 0.25 * torch.as_tensor(within(u)))
    torch.testing.assert_close(again(u), damped(u))
    assert repr(again) == repr(damped) and "damping=0.25" in repr(damped)
    x, slopes = (0.6 * torch.rand(5, 2, 3)).requires_grad_(), []
    for surrogate, backend in ((damped, "numba"), (again, "reference"), (rv.surrogate.damped(within, 0.5), "numba")):
        neuron = rv.LIF(surrogate=surrogate, detach_reset=True)
        with rv.backend(backend):
            slopes.append(torch.autograd.grad(neuron(x).sum(), x)[0])
    torch.testing.assert_close(slopes[0], slopes[1])
    torch.testing.assert_close(2 * slopes[0], slopes[2])


def test_what_cannot_be_damped_is_refused():
    with pytest.raises(TypeError, match="wanted a surrogate"):
        rv.surrogate.damped(0.3)
    with pytest.raises(ValueError, match="damped already"):
        rv.surrogate.damped(rv.surrogate.damped(rv.surrogate.atan()))
    for damping in (0.0, -1.0, float("nan"), float("inf"), True):
        with pytest.raises(ValueError, match="above 0"):
            rv.surrogate.damped(rv.surrogate.atan(), damping)


def test_every_surrogate_is_listed_by_its_name():
    made = {k for k, f in vars(rv.surrogate).items() if inspect.isfunction(f) and f.__module__ == rv.surrogate.__name__}
    assert {k for k in made if not k.startswith("_")} - {"custom", "damped"} == set(rv.surrogate.SURROGATES)
    assert all(make().name == name for name, make in rv.surrogate.SURROGATES.items())


@pytest.mark.parametrize("name", sorted(set(rv.surrogate.SURROGATES) - {"fourier"}))  # a wave has no end
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_surrogate_is_finite_and_keeps_the_precision_however_far(name, dtype):
    u = torch.tensor([-math.inf, -1e30, 0.0, 1e30, math.inf], dtype=dtype)
    g = rv.surrogate.SURROGATES[name]()(u)
    assert g.dtype == dtype and g.shape == u.shape and g.isfinite().all()
