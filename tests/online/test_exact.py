"""Learning forward in time is exact within a neuron: it equals backpropagation through time, for every neuron."""

import pytest
import torch
from torch import nn

import ranvier as rv
from everything import NEURONS, drive


def learned(neuron):
    """Every parameter of a neuron that can be trained as one that is."""
    for k in neuron.learnable:
        value = getattr(neuron, k).detach().clone()
        delattr(neuron, k)
        neuron.register_parameter(k, nn.Parameter(value))
    return neuron


def gradients(net, x, weights):
    """The gradients of all parameters, of a loss that weighs every output of every step."""
    net.zero_grad()
    ys = net(x)
    ys = ys if isinstance(ys, tuple) else (ys,)
    sum((y * w).sum() for y, w in zip(ys, weights, strict=True)).backward()
    return {n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}


def compare(net, x, gradient="drtrl", tolerance=1e-10):
    """The gradients of a network equal those of its learner."""
    with torch.no_grad():
        ys = net(x)
    generator = torch.Generator().manual_seed(1)
    ys = ys if isinstance(ys, tuple) else (ys,)
    weights = [torch.randn(y.shape, generator=generator, dtype=y.dtype) for y in ys]
    true = gradients(net, x, weights)
    found = gradients(rv.online.Learner(net, gradient), x, weights)
    assert true.keys() <= found.keys() and true
    for name, got in found.items():
        g = true.get(name, torch.zeros_like(got))  # torch has no gradient where nothing depends on a parameter
        error = (got - g).norm().item()
        assert error <= tolerance * max(g.norm().item(), 1e-3), f"{name}: {error:.1e} of {g.norm():.1e}"
    return true


@pytest.mark.parametrize("kind", NEURONS, ids=lambda c: c.__name__)
def test_every_neuron_learns_forward_in_time_what_backpropagation_through_time_gives(kind):
    """Weights, bias and every parameter of the neuron, in double precision."""
    neuron = learned(kind()).double()
    x = drive(neuron, 13, (2, 3), torch.float64)
    with rv.backend("reference"):
        compare(rv.Sequential(neuron), x)
        if isinstance(x, torch.Tensor):
            linear = nn.Linear(3, 4).double()
            nn.init.uniform_(linear.weight, 0.0, 1.0)
            compare(rv.Sequential(linear, neuron), x)


def judged(net, x, gradient="drtrl", backend="numba"):
    with rv.backend(backend):
        return compare(net.double(), x.double(), gradient)


def hidden(neuron, **readout):
    return rv.Sequential(nn.Linear(4, 5), neuron, rv.Linear(5, 2), rv.LI(learn=("beta",), **readout))


def test_the_memory_of_a_linear_readout_is_followed():
    x = torch.rand(23, 3, 4) * 2
    judged(hidden(rv.ALIF(learn=("beta", "rho", "kappa"), shape=(5,))), x)
    current = rv.Sequential(nn.Linear(4, 5), rv.LIF(), nn.Identity(), nn.Linear(5, 2), rv.CubaLI(learn=("alpha",)))
    judged(current, x, backend="reference")
    judged(hidden(rv.LIF(detach_reset=True)), x, "eprop", backend="reference")
    judged(hidden(rv.LIF()), x[:6], backend="triton")


def test_traces_of_inputs_are_exact_where_nothing_is_reset():
    """One layer of linear states that all forget alike: K numbers are enough."""
    x = torch.rand(17, 3, 4)
    judged(rv.Sequential(nn.Linear(4, 5), rv.CubaLIF(reset="none", learn=("beta",))), x, "ottt", "reference")
    image = torch.rand(9, 2, 2, 5, 5)
    judged(rv.Sequential(rv.Conv2d(2, 3, 3), rv.LIF(detach_reset=True)), image, "ottt", "reference")


def test_convolutions():
    x = torch.rand(9, 2, 2, 6, 6) * 2
    net = rv.Sequential(
        nn.Conv2d(2, 3, 3, 2, 1, bias=False), rv.LIF(learn=("beta",)), nn.Flatten(), nn.Linear(27, 3), rv.LI()
    )
    judged(net, x)


def test_a_chunk_at_a_time_gives_what_the_whole_gives():
    net = hidden(rv.Recurrent(rv.ALIF(), 5)).double()
    learner, x = rv.online.Learner(net, "eprop"), torch.rand(12, 2, 4).double() * 2
    with rv.backend("reference"):
        chunked(net, learner, x)


def chunked(net, learner, x):
    learner(x).square().sum().backward()
    true = [p.grad.clone() for p in net.parameters()]
    for size in (1, 5):
        net.zero_grad()
        carried = None
        for chunk in x.split(size):
            y, carried = learner.scan(chunk, carried)
            y.square().sum().backward()
        for p, g in zip(net.parameters(), true, strict=True):
            torch.testing.assert_close(p.grad, g, rtol=1e-12, atol=1e-12)
