"""What the derived gradient promises beyond agreement with autograd: a gradient of zero stays zero."""

import pytest
import torch

import ranvier as rv
from ranvier import Neuron, Param, State
from ranvier.derive.adjoint import unbounded
from ranvier.ops import exp, log, maximum, minimum, sqrt, where

BACKENDS = pytest.mark.parametrize("backend", ["numba", "triton"])


class Unread(Neuron):
    """A state that is written and never read: no number for a negative input."""

    p = Param(2.0)
    v = State(0.0)

    @staticmethod
    def rule(x, v, p):
        return x * p, (sqrt(x),)


class Branches(Neuron):
    """Four branches that are not taken where they are infinite or no number."""

    p = Param(2.0)
    v = State(0.0)

    @staticmethod
    def rule(x, v, p):
        root = where(x > 0.0, sqrt(x) * p, x)
        inverse = where(x == 0.0, p, 1.0 / x)
        steep = where(x > 20.0, p, exp(x * x) * p)
        capped = minimum(exp(5.0 * x), 100.0) + maximum(log(x + 1.0), -p)
        return (root, inverse, steep, capped), (0.5 * v + x,)


@BACKENDS
def test_a_state_that_nobody_reads_adds_nothing(backend):
    x = torch.tensor([-1.0, 4.0, -1.0, 9.0]).reshape(4, 1, 1).requires_grad_()
    with rv.backend("reference"):
        (true,) = torch.autograd.grad(Unread()(x).sum(), x)
    with rv.backend(backend):
        (got,) = torch.autograd.grad(Unread()(x).sum(), x)
    assert torch.equal(got, true) and torch.equal(got, torch.full_like(x, 2.0))


@BACKENDS
def test_a_branch_that_is_not_taken_adds_nothing(backend):
    values = [-2.0, -1.0, 0.0, 0.5, 4.0, 30.0]
    x = torch.tensor(values).reshape(1, 1, -1).requires_grad_()
    neuron = Branches(learn="p")
    with rv.backend(backend):
        outputs = neuron(x)
    wanted = (
        [1.0, 1.0, 1.0, 2 * 0.5 / 0.5**0.5, 0.5, 1 / 30.0**0.5],
        [-0.25, -1.0, 0.0, -4.0, -1 / 16, -1 / 900],
        [-8 * torch.tensor(4.0).exp(), -4 * torch.tensor(1.0).exp(), 0.0, 2 * torch.tensor(0.25).exp(), None, 0.0],
        [None, 5 * torch.tensor(-5.0).exp(), 6.0, 5 * torch.tensor(2.5).exp() + 1 / 1.5, 0.2, 1 / 31],
    )
    for y, true in zip(outputs, wanted, strict=True):
        (g,) = torch.autograd.grad(y.sum(), x, retain_graph=True)
        pairs = [(a.item(), float(b)) for a, b in zip(g.flatten(), true, strict=True) if b is not None]
        for a, b in pairs:
            assert a == pytest.approx(b, rel=1e-5), (g, true)
    (g,) = torch.autograd.grad(outputs[0].sum(), neuron.p)
    assert g.item() == pytest.approx(0.5**0.5 + 2.0 + 30.0**0.5, rel=1e-6)


def test_plain_neurons_pay_nothing_for_it():
    """What makes a gradient stay zero stands in steep rules only."""
    for neuron in (rv.LIF(reset="zero"), rv.ALIF(), rv.CubaLIF(), rv.PhysicalLIF()):
        rule = neuron.bound(())
        assert not unbounded(rule.step, rule.arguments[: len(rule.inputs) + len(rule.states)]), neuron
    rule = rv.EIF().bound(())
    assert unbounded(rule.step, rule.arguments[:2])
