"""explain, saved_memory and compare_gradients know what learns forward in time; what cannot be is refused."""

import copy
import pickle

import pytest
import torch
from torch import nn

import ranvier as rv
from ranvier import Neuron, State
from ranvier.derive.trace import RuleError
from ranvier.online import Learner


@pytest.fixture(autouse=True)
def _reference(request):
    """Nothing to compile, but where a backend is told of."""
    if "memory" in request.node.name or "empty" in request.node.name:
        yield
        return
    with rv.backend("reference"):
        yield


def network():
    torch.manual_seed(0)
    return rv.Sequential(rv.Linear(4, 8), rv.LIF(), rv.Linear(8, 2), rv.LI())


X = torch.rand(20, 3, 4, generator=torch.Generator().manual_seed(0)) * 2


def test_memory_and_explanation_say_which_traces():
    net = network()
    assert "carries exact traces 2 x 3 x 8 x 4" in str(rv.saved_memory(Learner(net, "eprop"), X))
    assert "carries traces of inputs 1 x [3, 4]" in str(rv.saved_memory(Learner(net, "ottt"), X))
    assert "carries no traces" in str(rv.saved_memory(Learner(net, "sltt"), X))
    said = str(rv.explain(Learner(net, {"1": "ottt", "3": "bptt"}), X))
    assert "learns by ottt" in said and "traces of inputs 1 x [3, 4]" in said and "learns by bptt" in said
    assert "numba" in said


def test_all_gradients_beside_each_other():
    net = network()
    found = rv.compare_gradients(net, X, lambda y: y.square().mean())
    assert list(found.rows[0].norms) == ["bptt", "drtrl", "eprop", "ostl", "ottt", "sltt"] and not found.refused
    assert all(row.cosines["drtrl"] > 0.99999 for row in found.rows)
    assert found.rows[0].cosines["sltt"] < 0.999 and all(p.grad is None for p in net.parameters())
    adaptive = rv.Sequential(nn.Linear(4, 8), rv.ALIF())
    found = rv.compare_gradients(adaptive, X, lambda y: y.square().mean())
    assert list(found.refused) == ["ottt"] and "not a linear function" in str(found)


def test_each_layer_by_a_gradient_of_its_own():
    """Backpropagation through time in the readout alone, nothing of time below."""
    net, mixed = network().double(), {}
    for gradient in ("sltt", "bptt", {"1": "sltt", "3": "bptt"}):
        net.zero_grad()
        Learner(net, gradient)(X.double()).square().mean().backward()
        mixed[str(gradient)] = [p.grad.clone() for p in net.parameters()]
    alone, through, both = mixed.values()
    assert all(torch.allclose(a, b) for a, b in zip(both[2:], through[2:], strict=True))
    assert not torch.allclose(both[2], alone[2]) and not torch.allclose(both[0], through[0])


def test_a_learner_is_the_network():
    net = network()
    learner = Learner(net, "eprop")
    assert learner.state_dict().keys() == net.state_dict().keys() and learner[0] is net[0]
    with torch.no_grad():
        assert torch.equal(learner(X), net(X)) and torch.equal(rv.scan(learner, X)[0], net(X))
    assert torch.equal(learner(X).detach(), net(X).detach())
    other = pickle.loads(pickle.dumps(learner))
    copy.deepcopy(learner)(X).sum().backward()
    other(X).sum().backward()
    learner.gradient = "bptt"
    learner(X).sum().backward()
    assert net[0].weight.grad.norm() > 0 and other[0].weight.grad.norm() > 0
    random = Learner(net, "eprop", feedback="random")
    assert random.feedback_1.shape == (2, 8) and "feedback_1" in random.state_dict()


def test_hooks_layers_that_stand_twice_and_empty_sequences():
    linear, neuron, seen = nn.Linear(4, 4), rv.LIF(learn=("beta",)), []
    net = rv.Sequential(linear, neuron, linear, neuron)
    learner = Learner(net, "eprop")
    assert torch.equal(learner(X).detach(), net(X).detach())
    neuron.register_forward_hook(lambda module, given, y: seen.append(y.shape))
    linear.register_forward_pre_hook(lambda module, given: seen.append(given[0].shape))
    learner(X).sum().backward()
    assert seen == [(60, 4), X.shape] * 2 and neuron.beta.grad is not None
    for empty in (X[:0], X[:, :0]):
        learner.zero_grad()
        learner(empty).sum().backward()
        assert not linear.weight.grad.any()


def test_an_input_that_is_changed_before_its_gradient_is_refused():
    x = X.clone()
    y = Learner(network(), "eprop")(x)
    x.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


class Steps(Neuron):
    """Through its output no gradient passes."""

    v = State(0.0)

    @staticmethod
    def rule(x, v):
        v = 0.9 * v + x
        z = rv.ops.floor(v)
        return z, (v,)


def test_what_no_trace_follows_is_refused_with_the_line_or_the_cure():
    linear = nn.Linear(4, 8)
    with pytest.raises(RuleError, match=r"(?s)no gradient passes.*z = rv.ops.floor\(v\).*Say spike"):
        Learner(rv.Sequential(linear, Steps()), "eprop")(X)
    with pytest.raises(RuleError, match=r"(?s)layer '1' \(QIF\).*u = .*|v = v \+.*drtrl"):
        Learner(rv.Sequential(linear, rv.QIF()), "ottt")(X)
    with pytest.raises(ValueError, match=r"decay of its own.*eprop"):
        Learner(rv.Sequential(linear, rv.LIF(beta=torch.rand(8), shape=(8,))), "ottt")(X)
    with pytest.raises(ValueError, match=r"Linear.*through BatchNorm1d.*straight before"):
        Learner(rv.Sequential(linear, nn.BatchNorm1d(8), rv.LIF()), "eprop")(X)
    with pytest.raises(ValueError, match=r"Delay.*'1': \"bptt\""):
        Learner(rv.Sequential(linear, rv.Delay(torch.tensor([0, 1] * 4)), rv.LIF()), "eprop")(X)
    with pytest.raises(ValueError, match="must be one of"):
        Learner(network(), "rtrl")
    with pytest.raises(ValueError, match=r"must name the layers \['1', '3'\]"):
        Learner(network(), {"1": "eprop"})
    with pytest.raises(ValueError, match="TimedLIF"):
        Learner(network(), "eventprop")
    with pytest.raises(ValueError, match=r'belongs to gradient="eprop"'):
        Learner(network(), "drtrl", feedback="random")
    with pytest.raises(TypeError, match="layers in a row"):
        Learner(nn.Linear(4, 4))
    with pytest.raises(ValueError, match=r"entries for \['7'\]"):
        Learner(network()).scan(X, {"7": {}})
    with pytest.raises(RuntimeError, match=r"layer 1 \(Linear, LIF\): mat1"):
        Learner(network())(X[:, :, :3])
    with pytest.raises(ValueError, match=r"\[T, B, \*features\]"):
        Learner(network())(X[0])
    with pytest.raises(ValueError, match="holds no traces"):
        rv.scan(Learner(network()), X)
    with pytest.raises(ValueError, match="groups=1"):
        Learner(rv.Sequential(nn.Conv2d(2, 2, 3, groups=2), rv.LIF()))(torch.rand(2, 1, 2, 5, 5))
    with pytest.raises(ValueError, match="features"):
        Learner(rv.Sequential(nn.Conv2d(2, 2, 3), rv.LIF(), nn.Flatten(), nn.LazyLinear(2)), feedback="random")


def test_timed_spikes_by_exact_gradients():
    maps = [rv.TimedMap(nn.Linear(2, 6, bias=False)), rv.TimedMap(nn.Linear(6, 2, bias=False))]
    nn.init.uniform_(maps[0].module.weight, 4.0, 12.0)
    net = rv.Sequential(maps[0], rv.TimedLIF(gradient="surrogate"), maps[1], rv.TimedLI())
    x = rv.encode_times(torch.rand(5, 2) * 10e-3, 30, net[1])
    found = []
    for model in (rv.Sequential(*copy.deepcopy(net)), Learner(net, "eventprop")):
        model[1].switch("eventprop")
        model(x).amax(0).square().mean().backward()
        found.append(model[0].module.weight.grad)
    assert torch.equal(*found)
