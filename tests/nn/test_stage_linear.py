"""A linear layer and its neurons, chunk of time by chunk of time: the same as one after the other."""

import copy

import pytest
import torch
from torch import nn

import ranvier as rv
from everything import NEURONS
from ranvier.nn.stage_linear import LinearStage
from ranvier.spikes import chunked, product

ONE_INPUT = [c for c in NEURONS if LinearStage.begin([nn.Linear(2, 2), c()])]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Several chunks, by events where they are few, even for what a test has time for."""
    monkeypatch.setattr(chunked, "CHUNK", 1 << 8)
    monkeypatch.setattr(chunked, "SHARED", 1 << 8)  # of several threads
    monkeypatch.setattr(chunked, "ROWS", 8)
    monkeypatch.setattr(product, "SMALL", 1)


def both(net, x, still_gradient=False):
    """Output and gradients of the stage, and of the layers one after the other, from the same weights."""
    found = []
    for one, backend in ((net, "numba"), (copy.deepcopy(net), "reference")):
        given = x.clone().requires_grad_()
        with rv.backend(backend):
            y = one(given)
        generator = torch.Generator().manual_seed(2)
        like = y[:1] if still_gradient else y
        y.backward(torch.rand(like.shape, generator=generator, dtype=y.dtype).expand(y.shape))
        found.append((y.detach(), given.grad, [p.grad for p in one.parameters()]))
    return found


def spikes(density, *shape):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(0)) < density).float()


def test_most_neurons_can_be_driven():
    assert len(ONE_INPUT) > 25


@pytest.mark.parametrize("kind", ONE_INPUT, ids=lambda c: c.__name__)
def test_every_neuron(kind):
    torch.manual_seed(0)
    one, other = both(rv.Sequential(nn.Linear(5, 11), kind()), 3 * torch.rand(13, 3, 5))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("linear", [nn.Linear, rv.Linear], ids=["dense", "events"])
@pytest.mark.parametrize("width", [1, 7, 31, 63, 65, 300])
@pytest.mark.parametrize("density", [0.0, 0.05, 0.22, 1.0])
def test_odd_widths_and_densities(linear, width, density):
    torch.manual_seed(0)
    net = rv.Sequential(linear(70, width), rv.LIF(), linear(width, 5, bias=False), rv.LIF(threshold=0.3), rv.LI())
    (y, *grads), (z, *others) = both(net, spikes(density, 12, 3, 70))
    assert torch.equal(y, z)
    torch.testing.assert_close(grads, others, rtol=1e-4, atol=1e-5)


def test_learned_parameters_and_a_gradient_that_is_the_same_at_every_step():
    torch.manual_seed(0)
    lif = rv.LIF(learn=("beta", "threshold"), shape=9)
    net = rv.Sequential(rv.Linear(40, 9), lif, rv.Linear(9, 4), rv.LI(learn="beta")).double()
    x = 2 * torch.rand(23, 3, 40, dtype=torch.float64)
    torch.testing.assert_close(*both(net, x, still_gradient=True), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("neuron", [rv.LIF, rv.ALIF], ids=["LIF", "ALIF"])
@pytest.mark.parametrize(("features", "neurons", "batch"), [(70, 33, 5), (40, 1, 3), (65, 130, 9)])
@pytest.mark.parametrize("still", [True, False], ids=["the same gradient at every step", "any gradient"])
def test_spikes_that_return(neuron, features, neurons, batch, still):
    torch.manual_seed(0)
    layer = rv.Recurrent(neuron(learn="beta", shape=neurons), neurons)
    net = rv.Sequential(rv.Linear(features, neurons), layer, *(() if still else (rv.Linear(neurons, 4), rv.LI())))
    (y, *grads), (z, *others) = both(net, 2 * spikes(0.4, 21, batch, features), still)
    torch.testing.assert_close(y, z, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(grads, others, rtol=1e-4, atol=1e-5)


def test_of_recurrent_neurons_too_nothing_is_hidden():
    net, seen = rv.Sequential(rv.Linear(6, 8), rv.Recurrent(rv.LIF(), 8)), []
    x = torch.rand(9, 2, 6)
    y = net(x)
    net[1].neuron.register_forward_hook(lambda *_: seen.append(1))
    torch.testing.assert_close(net(x), y)
    torch.testing.assert_close(rv.record(net, x, "z")["1"], y)
    (row,) = rv.saved_memory(rv.Sequential(rv.Linear(6, 8), rv.Recurrent(rv.LIF(), 8)), x).rows
    assert row[:2] == ("0-1", "Linear, Recurrent") and row[3].startswith("float32 [9, 2, 8], int64 [18, 1]")


def test_compact_surrogates_send_few_gradients_back():
    torch.manual_seed(0)
    lif = rv.LIF(surrogate=rv.surrogate.boxcar(0.1))
    one, other = both(
        rv.Sequential(rv.Linear(64, 80), lif, rv.Linear(80, 33), copy.deepcopy(lif)), spikes(0.5, 20, 4, 64)
    )
    assert torch.equal(one[0], other[0])
    torch.testing.assert_close(one[1:], other[1:], rtol=1e-4, atol=1e-5)


def test_graded_input():
    torch.manual_seed(0)
    x = spikes(0.1, 12, 3, 70) * torch.rand(12, 3, 70)
    (y, *grads), (z, *others) = both(rv.Sequential(rv.Linear(70, 40), rv.LIF()), x)
    assert torch.equal(y, z)
    torch.testing.assert_close(grads, others, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["hooked", "still", "two axes of features", "one sample, one step", "half"])
def test_what_a_stage_cannot_do_is_done_one_by_one(kind):
    torch.manual_seed(0)
    net, x = rv.Sequential(rv.Linear(6, 8), rv.LIF(), rv.Linear(8, 3), rv.LI()).double(), torch.rand(9, 2, 6).double()
    if kind == "hooked":
        seen = []
        net[2].register_forward_hook(lambda m, a, y: seen.append(a[0].shape))
    elif kind == "still":
        x = x[:1].expand(9, 2, 6)
    elif kind == "two axes of features":
        x = torch.rand(9, 2, 4, 6).double()
    elif kind == "one sample, one step":
        x = x[:1, :1]
    else:
        net, x = net.bfloat16(), x.bfloat16()
        y = net(x)
        assert y.dtype == torch.bfloat16 and y.shape == (9, 2, 3)
        return
    torch.testing.assert_close(*both(net, x), rtol=1e-9, atol=1e-10)
    assert kind != "hooked" or seen == [(18, 8)] * 2


def test_the_verbs_see_single_layers():
    net = rv.Sequential(rv.Linear(6, 8), rv.LIF(), rv.Linear(8, 3), rv.LI())
    x = torch.rand(9, 2, 6)
    assert {path: v.shape for path, v in rv.record(net, x, "v").items()} == {"1": (9, 2, 8), "3": (9, 2, 3)}
    torch.testing.assert_close(rv.record(net, x, "z")["3"], net(x))


def test_without_gradients_nothing_is_kept():
    net = rv.Sequential(rv.Linear(6, 8), rv.LIF())
    x = torch.rand(9, 2, 6)
    with torch.no_grad():
        y = net(x)
    assert not y.requires_grad and torch.equal(y, net(x).detach())


def test_states_are_tensors_of_their_own():
    net = rv.Sequential(rv.Linear(6, 8), rv.LIF(), rv.Linear(8, 3), rv.LI())
    y, state = rv.scan(net, torch.rand(9, 2, 6))
    state["1"]["v"].zero_()
    (y.sum() + state["3"]["v"].sum()).backward()


def test_second_derivatives_are_refused():
    """When they are prepared: a stage keeps bits instead of its input, so nothing could tie a gradient to that."""
    x, net = torch.rand(9, 2, 6, requires_grad=True), rv.Sequential(nn.Linear(6, 8), rv.LIF())
    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.autograd.grad(net(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.autograd.functional.hessian(lambda v: net(v).square().mean(), x)
    with rv.backend("reference"):
        assert torch.autograd.functional.hessian(lambda v: net(v).square().mean(), x).any()


def test_wrong_widths_say_so():
    net = rv.Sequential(rv.Linear(6, 8), rv.LIF(), rv.Linear(9, 3), rv.LIF())
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        net(torch.rand(9, 2, 6))
    with pytest.raises(ValueError, match="'beta' has shape"):
        rv.Sequential(nn.Linear(6, 8), rv.LIF(beta=torch.rand(7)))(torch.rand(9, 2, 6))


def test_threads_agree():
    net = rv.Sequential(rv.Linear(300, 130), rv.LIF(), rv.Linear(130, 10), rv.LI())
    x, threads, found = spikes(0.1, 40, 32, 300), torch.get_num_threads(), []
    try:
        for count in (1, 2, 2):
            torch.set_num_threads(count)
            net.zero_grad()
            y = net(x)
            y.square().sum().backward()
            found.append((y.detach(), [p.grad.clone() for p in net.parameters()]))
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)
    assert all(torch.equal(a, b) for a, b in zip(found[1][1], found[2][1], strict=True))
