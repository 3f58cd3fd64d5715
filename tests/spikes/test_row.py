"""Two threads, each with samples of its own, compute what one thread does."""

import copy

import pytest
import torch
from torch import nn

import ranvier as rv
from ranvier.backends import threads
from ranvier.spikes import product, row

NETS = {
    "dense": lambda: rv.Sequential(nn.Linear(6, 11), rv.LIF(), nn.Linear(11, 5), rv.LI()),
    "events": lambda: rv.Sequential(rv.Linear(70, 33), rv.LIF(), rv.Linear(33, 6, bias=False), rv.ALIF()),
    "learned": lambda: rv.Sequential(
        rv.Linear(6, 5), rv.LIF(learn=("beta", "threshold"), shape=5), nn.Linear(5, 4), rv.LI()
    ),
    "as many neurons as samples": lambda: rv.Sequential(nn.Linear(6, 4), rv.Recurrent(rv.ALIF(learn="rho"), 4)),
    "recurrent": lambda: rv.Sequential(rv.Linear(6, 9), rv.Recurrent(rv.LIF(), 9), nn.Linear(9, 3), rv.LI()),
}


@pytest.fixture(autouse=True, params=["short", "chunks"])
def _two_threads(request, monkeypatch):
    if threads._openmp() is None:
        pytest.skip("torch does not use OpenMP here")
    monkeypatch.setattr(row, "LEAST", 1)
    if request.param == "chunks":
        monkeypatch.setattr(product, "SMALL", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def given(net, steps=9, batch=4):
    torch.manual_seed(1)
    width = net[0].in_features
    return (torch.rand(steps, batch, width) < 0.2).float() if width == 70 else 3 * torch.rand(steps, batch, width)


def played(net, x, state=None):
    x = x.clone().requires_grad_()
    y, after = rv.scan(net, x, state)
    torch.manual_seed(2)
    ends = [v for v in after.values() for v in (v.values() if isinstance(v, dict) else [v])]
    (y * torch.rand_like(y)).sum().add(sum(v.square().sum() for v in ends if isinstance(v, torch.Tensor))).backward()
    return [y.detach(), x.grad, *(p.grad for p in net.parameters())]


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("batch", [2, 3, 4])
def test_equal_to_one_thread(kind, batch):
    torch.manual_seed(0)
    net = NETS[kind]()
    x = given(net, batch=batch)
    two = played(copy.deepcopy(net), x)
    torch.set_num_threads(1)
    torch.testing.assert_close(two, played(net, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", NETS)
def test_every_verb_gives_the_same_bits(kind):
    torch.manual_seed(0)
    net = NETS[kind]()
    x = given(net)
    y, state = rv.scan(net, x)
    *_, recorded = rv.record(net, x, "z").values()
    with torch.inference_mode():
        assert torch.equal(net(x), y)
    assert torch.equal(net(x), y) and torch.equal(recorded, y)
    again = rv.scan(net, x, state)[0]
    torch.set_num_threads(1)
    torch.testing.assert_close(again, rv.scan(net, x, state)[0], rtol=1e-5, atol=1e-5)


def test_initial_states_get_their_gradients():
    torch.manual_seed(0)
    net = NETS["recurrent"]()
    x, found = given(net), []
    for count in (2, 1):
        torch.set_num_threads(count)
        _, state = rv.scan(net, x[:3])
        leaves = [v.detach().requires_grad_() for v in _tensors(state)]
        rest = iter(leaves)
        y, _ = rv.scan(net, x[3:], _replaced(state, rest))
        found.append(torch.autograd.grad(y.square().sum(), leaves, allow_unused=True))
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)


def _tensors(state):
    return [t for v in state.values() for t in _tensors(v)] if isinstance(state, dict) else [state]


def _replaced(state, values):
    return {k: _replaced(v, values) for k, v in state.items()} if isinstance(state, dict) else next(values)


class Ignored(torch.autograd.Function):
    """A sum whose gradient is None: nothing comes back."""

    @staticmethod
    def forward(ctx, y):
        return y.sum()

    @staticmethod
    def backward(ctx, g):
        return None


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("kind", NETS)
def test_no_gradient_that_comes_back_is_a_zero(kind, count):
    torch.set_num_threads(count)
    net = NETS[kind]()
    x = given(net).requires_grad_()
    y, _ = rv.scan(net, x)
    Ignored.apply(y).backward()
    assert all(p.grad is None or not p.grad.any() for p in (x, *net.parameters()))


@pytest.mark.parametrize("kind", NETS)
def test_strides_of_the_input_change_no_bit(kind):
    torch.manual_seed(0)
    net = NETS[kind]()
    x = given(net)
    apart = torch.cat([x, x], 2)[..., : x.shape[2]], x.transpose(0, 1).contiguous().transpose(0, 1)
    for other in apart:
        assert not other.is_contiguous()
        pairs = zip(played(copy.deepcopy(net), other), played(copy.deepcopy(net), x), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_a_changed_input_is_noticed():
    net = NETS["dense"]()
    x = given(net)
    y = net(x)
    x += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_nan_stays_in_its_sample():
    net = NETS["dense"]()
    x = given(net)
    y = net(x)
    x[:, 1] = torch.nan
    assert torch.equal(net(x)[:, [0, 2, 3]], y[:, [0, 2, 3]])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_gradients_of_threads_are_added_before_they_are_rounded(dtype):
    """A parameter of few bits gets the gradient that it would have in float32, rounded once."""
    torch.manual_seed(0)
    layer, x = nn.Linear(3, 8), 3 * torch.randn(7, 6, 3)

    def gradient(beta):
        neuron = rv.LIF(learn="beta", shape=8)
        neuron.beta.data = beta
        rv.Sequential(layer, neuron, nn.Linear(8, 4, bias=False).requires_grad_(False))(x).square().sum().backward()
        return neuron.beta.grad

    beta = torch.linspace(0.1, 0.9, 8).to(dtype)
    torch.manual_seed(1)
    found = gradient(beta)
    torch.manual_seed(1)
    assert torch.equal(found, gradient(beta.float()).to(dtype))
