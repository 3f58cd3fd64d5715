"""What depends on parameters alone is done once a call, and changes nothing but the time it takes."""

import pytest
import torch

import ranvier as rv
from everything import NEURONS
from ranvier import Neuron, Param, State
from ranvier.ops import exp, sigmoid, spike


class Mixed(Neuron):
    """Two dear functions of parameters, one within the other; a cheap one; and a parameter called like an operation."""

    tau, t0, threshold = Param(5.0), Param(0.3), Param(1.0)
    v, w = State(0.0), State("t0")

    @staticmethod
    def rule(x, v, w, tau, t0, threshold):
        a = exp(-1.0 / tau)
        v = a * v + (1.0 - a) * x * sigmoid(t0 + a)
        z = spike(v - threshold * 0.3)
        return z, (v - z * t0, 0.5 * w + t0 * z)


def test_the_parts_of_a_rule():
    hoisted, rest = Mixed().bound(()).hoisted
    assert [op.name for op in hoisted.ops] == ["div", "exp", "add", "sigmoid"] or len(hoisted.ops) == 5
    assert hoisted.taken == ("tau_", "t0_") and hoisted.given[:2] == ("t0_", "threshold_") and len(hoisted.given) == 5
    assert not {"exp", "sigmoid", "div"} & {op.name for op in rest.step.ops} and rest.hoisted is None
    assert rv.LIF().bound(()).hoisted is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_same_as_in_every_step(dtype):
    torch.manual_seed(0)
    given = dict(tau=torch.rand(5) * 9 + 1, t0=torch.rand(3, 1), threshold=torch.tensor(0.9))
    neuron = Mixed(learn=("tau", "t0", "threshold"), **given)
    found = []
    for backend in ("numba", "reference"):
        neuron.zero_grad()
        x = (3 * torch.rand(40, 2, 3, 5, generator=torch.Generator().manual_seed(1))).to(dtype).requires_grad_()
        with rv.backend(backend):
            y, state = rv.scan(neuron, x)
        (y.float().square().sum() + state[""]["w"].sum().float()).backward()
        found.append([y, x.grad, *(p.grad for p in neuron.parameters()), *state[""].values()])
    assert torch.equal(found[0][0], found[1][0])
    for fused, slow in zip(*found, strict=True):
        torch.testing.assert_close(fused, slow, rtol=1e-2 if dtype == torch.bfloat16 else 1e-4, atol=1e-4)


def test_one_number_for_all_is_left_to_the_kernel():
    from ranvier.backends.op import _hoisted

    one, each = rv.Lowpass(0.02, 1e-3), rv.Lowpass(0.02, 1e-3, learn="tau", shape=7)
    for layer, whole in ((one, True), (each, False)):
        rule = layer.bound(())
        given, params = _hoisted(rule, [layer.smoothing, layer.level], torch.float32)
        assert (given is rule) is whole and len(params) == (2 if whole else 1)
    mixed = Mixed(tau=torch.rand(5) + 1.0)  # some are one number, some differ: all are done before the first step
    assert _hoisted(mixed.bound(()), mixed.values(torch.zeros(1)), torch.float32)[0] is mixed.bound(()).hoisted[1]


def test_every_rule_can_be_split():
    """What the rest is given are numbers: a condition on parameters is said again there."""
    for neuron in NEURONS:
        hoisted = neuron().bound(()).hoisted
        assert hoisted is None or hoisted[1].step.ops


def test_a_spike_of_a_parameter_keeps_its_surrogate():
    """It is not hoisted: torch, which differentiates what is hoisted, knows no surrogate."""

    class Gate(Neuron):
        gate = Param(0.2)
        v = State(0.0)

        @staticmethod
        def rule(x, v, gate):
            v = v * exp(-spike(gate)) + x
            return v, v

    neuron = Gate(gate=torch.tensor([-0.3, 0.2]), learn="gate")
    x = torch.rand(5, 3, 2)
    found = []
    for backend in ("numba", "reference"):
        with rv.backend(backend):
            found.append(torch.autograd.grad(neuron(x).sum(), neuron.gate)[0])
    torch.testing.assert_close(*found)
    assert found[0].all()


def test_compiled():
    torch.manual_seed(0)
    net = rv.Sequential(rv.Lowpass(0.02, 1e-3, learn="tau", shape=6), rv.Alpha(torch.rand(6) + 0.01))
    x = torch.rand(20, 3, 6)
    assert torch.equal(torch.compile(net, fullgraph=True, backend="aot_eager")(x), net(x))
