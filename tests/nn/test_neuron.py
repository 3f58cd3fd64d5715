"""Neurons: their arguments, their parameters, and what they refuse."""

import copy
import pickle

import pytest
import torch
from torch import nn

import ranvier as rv


def test_parameters_are_scalars_and_constant_unless_asked():
    layer = rv.LIF(beta=0.8)
    assert list(layer.parameters()) == [] and layer.beta.shape == ()
    layer = rv.LIF(learn=("beta",), shape=(5,))
    assert dict(layer.named_parameters()).keys() == {"beta"} and layer.beta.shape == (5,)
    assert set(layer.state_dict()) == {"beta", "threshold"}


@pytest.mark.parametrize(
    "given, error, message",
    [
        ({"bata": 1.0}, TypeError, "LIF has no \\['bata'\\]; it has \\['beta', 'threshold'"),
        ({"beta": float("nan")}, ValueError, "LIF: beta must be finite"),
        ({"beta": float("inf")}, ValueError, "LIF: beta must be finite"),
        ({"beta": 1.5}, ValueError, "LIF: beta must lie between 0 and 1, got 1.5"),
        ({"beta": "half"}, TypeError, "LIF: beta must be a number or a tensor, got 'half'"),
        ({"learn": ("gamma",)}, ValueError, "learn names \\['gamma'\\], but its parameters are"),
        ({"reset": "sub"}, ValueError, "reset must be one of \\['subtract', 'zero', 'none'\\], got 'sub'"),
        ({"surrogate": "atan"}, TypeError, "surrogate must be one of ranvier.surrogate"),
        ({"beta": torch.ones(3), "shape": (4,)}, ValueError, "does not broadcast to shape=\\(4,\\)"),
    ],
)
def test_arguments_that_are_refused(given, error, message):
    with pytest.raises(error, match=message):
        rv.LIF(**given)


def test_a_neuron_without_spikes_takes_no_surrogate():
    with pytest.raises(ValueError, match="LI has no spikes"):
        rv.LI(surrogate=rv.surrogate.atan())


@pytest.mark.parametrize(
    "x, error, message",
    [
        (torch.rand(4, 3), ValueError, "\\[T, B, \\*features\\], got shape \\(4, 3\\).*ranvier.step.*ranvier.Stream"),
        (torch.ones(4, 3, 2, dtype=torch.int64), TypeError, "must be floating point, got torch.int64"),
        (torch.ones(4, 3, 2, dtype=torch.bool), TypeError, "must be floating point, got torch.bool"),
        ([[[1.0]]], TypeError, "must be a tensor|must be|takes 1 inputs"),
        ((torch.rand(4, 3, 2),) * 2, ValueError, "LIF takes 1 inputs \\('x',\\), got 2"),
    ],
)
def test_inputs_that_are_refused(x, error, message):
    with pytest.raises(error, match=message):
        rv.LIF()(x)


def test_parameters_must_fit_the_neurons():
    with pytest.raises(ValueError, match="parameter 'beta' has shape \\(5,\\), but the neurons have shape \\(4,\\)"):
        rv.LIF(shape=(5,))(torch.rand(2, 3, 4))


def test_a_state_of_another_batch_is_refused():
    layer = rv.LIF()
    _, state = layer.scan(torch.rand(4, 3, 2))
    with pytest.raises(
        ValueError, match="state 'v' is \\(3, 2\\) but the input of a step is \\(5, 2\\); pass state=None"
    ):
        layer.step(torch.rand(5, 2), state)
    with pytest.raises(ValueError, match="state must be a dictionary of \\['v'\\], got \\['a'\\]"):
        layer.step(torch.rand(3, 2), {"a": torch.zeros(3, 2)})
    with pytest.raises(ValueError, match="step wants x_t \\[B, \\*features\\]"):
        layer.step(torch.rand(5))


def test_two_inputs_and_two_outputs():
    class Pair(rv.Neuron):
        v = rv.State(0.0)

        @staticmethod
        def rule(push, pull, v):
            v = 0.9 * v + push - pull
            z = rv.ops.spike(v - 1.0)
            return (z, v), v * (1.0 - z)

    push, pull = torch.rand(6, 2, 3), torch.rand(6, 2, 3) * 0.2
    z, v = Pair()((push, pull))
    with rv.backend("reference"):
        z_true, v_true = Pair()((push, pull))
    assert torch.equal(z, z_true) and torch.equal(v, v_true)
    with pytest.raises(ValueError, match="must have one shape"):
        Pair()((push, pull[:, :1]))


def test_a_state_may_begin_at_a_parameter():
    class Resting(rv.Neuron):
        rest = rv.Param(-0.5)
        v = rv.State("rest")

        @staticmethod
        def rule(x, v, rest):
            v = 0.5 * (v - rest) + rest + x
            return v, v

    layer = Resting(learn="rest")
    y = layer(torch.zeros(3, 1, 2))
    assert torch.equal(y, torch.full((3, 1, 2), -0.5))
    y.sum().backward()
    torch.testing.assert_close(layer.rest.grad, torch.tensor([6.0]))


def test_copies_and_pickles_run():
    layer = rv.ALIF(learn=("beta",), surrogate=rv.surrogate.superspike(10.0))
    x = torch.rand(5, 2, 3)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x), layer(x)) and repr(twin) == repr(layer)


def test_state_dicts_and_functional_calls():
    layer = rv.LIF(learn=("beta",))
    other = rv.LIF(beta=0.1, learn=("beta",))
    other.load_state_dict(layer.state_dict())
    x = torch.rand(5, 2, 3)
    assert torch.equal(other(x), layer(x))
    changed = torch.func.functional_call(layer, {"beta": torch.tensor(0.0)}, (x,))
    assert torch.equal(changed, rv.LIF(beta=0.0)(x))


def test_gradients_that_arrive_only_at_the_final_state():
    layer = rv.LIF(learn=("beta",))
    x = torch.rand(5, 2, 3, requires_grad=True)
    _, state = layer.scan(x)
    state["v"].sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0 and layer.beta.grad is not None


def test_inputs_of_any_layout():
    layer, x = rv.LIF(learn=("beta",)), torch.rand(2, 6, 3)
    turned = x.transpose(0, 1)
    assert torch.equal(layer(turned), layer(turned.contiguous()))
    constant = torch.rand(2, 3, requires_grad=True)
    shown = constant.expand(6, 2, 3)
    y = layer(shown)
    assert torch.equal(y, layer(shown.contiguous()))
    y.sum().backward()
    assert constant.grad is not None and constant.grad.shape == (2, 3)


def test_second_derivatives_belong_to_the_reference():
    x = torch.rand(5, 2, 3, requires_grad=True)
    (g,) = torch.autograd.grad(rv.LIF()(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match='backend\\("reference"\\)'):
        g.sum().backward()
    with rv.backend("reference"):
        y = rv.LIF()(x)
    (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    g.sum().backward()
    assert x.grad is not None


def test_networks_compile_without_a_graph_break():
    net = rv.Sequential(nn.Linear(4, 8), rv.LIF(learn=("beta",)), rv.Recurrent(rv.ALIF(), 8), nn.Linear(8, 2), rv.LI())
    x = torch.rand(3, 2, 4)
    fast = torch.compile(net, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(fast(x), net(x))
    fast(x).sum().backward()
    compiled = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    net(x).sum().backward()
    torch.testing.assert_close(compiled, [p.grad for p in net.parameters()])


def test_under_autocast():
    net = rv.Sequential(nn.Linear(4, 8), rv.LIF(), nn.Linear(8, 2), rv.LI())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = rv.scan(net, torch.rand(3, 2, 4))
    assert y.dtype == torch.bfloat16 and state["3"]["v"].dtype == torch.float32
    y.float().sum().backward()


def test_decay():
    torch.testing.assert_close(rv.decay(torch.tensor([1.0, 2.0]), 1.0), torch.exp(torch.tensor([-1.0, -0.5])))
    for tau, dt in ((0.0, 1.0), (1.0, 0.0), (1.0, -1.0), (float("nan"), 1.0)):
        with pytest.raises(ValueError, match="must be a positive number of seconds"):
            rv.decay(tau, dt)


def test_a_surrogate_may_change_and_compiles_once():
    x = torch.rand(9, 2, 3)
    layer, known = rv.LIF(surrogate=rv.surrogate.superspike(1.0)), set()
    for k in range(1, 51):
        layer.surrogate = rv.surrogate.superspike(float(k))
        known.add(layer.bound(()).key)
        if k % 25 == 0:
            found = []
            for backend in ("numba", "reference"):
                leaf = x.clone().requires_grad_()
                with rv.backend(backend):
                    layer(leaf).sum().backward()
                found.append(leaf.grad)
            torch.testing.assert_close(*found)
    assert len(known) == 1
