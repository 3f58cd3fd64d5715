"""Recurrent nets over a thousand steps and more learn, and their gradients stay within bounds."""

import math

import pytest
import torch
from torch import nn

import ranvier as rv

KINDS = ("LIF", "ALIF", "SEAdLIF", "BRF", "delays")
# Inputs of these two are multiplied by 1 - alpha and by dt.
GAIN = {"SEAdLIF": 40.0, "BRF": 60.0}


def recurrent_net(kind, neurons=64, detach_feedback=True):
    layer = rv.init.recurrent(getattr(rv, kind, rv.LIF), neurons, detach_feedback=detach_feedback)
    first = rv.DelayedLinear(16, neurons, 30) if kind == "delays" else nn.Linear(16, neurons)
    with torch.no_grad():
        first.weight *= GAIN.get(kind, 3.0)
    return rv.Sequential(first, layer, nn.Linear(neurons, 4), rv.LI(beta=0.95))


def cue(steps, batch, draw):
    """Which of four groups of inputs fired more in the first quarter? x [T, B, 16], labels [B]."""
    labels = torch.randint(4, (batch,), generator=draw)
    rates = torch.full((steps, batch, 16), 0.03)
    group = nn.functional.one_hot(labels, 4).repeat_interleave(4, 1)  # [B, 16]
    rates[: steps // 4] += 0.12 * group
    return (torch.rand(steps, batch, 16, generator=draw) < rates).float(), labels


def learned(kind, seed, updates, steps, batch=16, dtype=torch.float32):
    """Norms of the gradient and losses of a run of plain Adam."""
    torch.manual_seed(seed)
    net, draw, norms, losses = recurrent_net(kind).to(dtype), torch.Generator().manual_seed(seed), [], []
    adam, loss = torch.optim.Adam(net.parameters(), 2e-3), rv.loss.mean_crossentropy()
    for _ in range(updates):
        x, labels = cue(steps, batch, draw)
        adam.zero_grad()
        found = loss(net(x.to(dtype)), labels)
        found.backward()
        norms.append(torch.stack([p.grad.norm() for p in net.parameters() if p.grad is not None]).norm().item())
        losses.append(found.item())
        adam.step()
    return norms, losses


def sound(norms, losses, part):
    few = max(1, len(losses) // 10)
    first, last = sum(losses[:few]) / few, sum(losses[-few:]) / few
    return all(map(math.isfinite, norms)) and max(norms) < 1e3 and last < part * first


@pytest.mark.parametrize("kind", ["ALIF"])
def test_a_recurrent_net_learns_over_a_thousand_steps(kind):
    norms, losses = learned(kind, seed=0, updates=30, steps=1000)
    assert sound(norms, losses, 0.9), (max(norms), losses[:3], losses[-3:])


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("steps", [1000, 2000])
@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_updates(kind, steps, seed):
    norms, losses = learned(kind, seed, 1000, steps)
    assert sound(norms, losses, 0.9), (max(norms), losses[:3], losses[-3:])


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_on_the_reference_in_double_precision(kind):
    with rv.backend("reference"):
        norms, losses = learned(kind, 0, 100, 1000, dtype=torch.float64)
    assert sound(norms, losses, 0.99), (max(norms), losses[:3], losses[-3:])


def test_what_is_given_is_not_drawn():
    layer = rv.init.recurrent(rv.ALIF, 8, rho=0.9, learn="kappa", detach_reset=False, detach_feedback=False)
    assert layer.neuron.rho.numel() == 1 or bool((layer.neuron.rho == 0.9).all())
    assert layer.neuron.beta.shape == (8,) and len(layer.neuron.beta.unique()) == 8
    assert not layer.detach_feedback and not layer.neuron.settings["detach_reset"]


@pytest.mark.parametrize("kind", [rv.PhysicalLIF, rv.IF, rv.LIF(), nn.Linear, "LIF"], ids=str)
def test_neurons_without_a_decay_are_refused(kind):
    with pytest.raises(TypeError, match="build the neuron and pass it to Recurrent"):
        rv.init.recurrent(kind, 8)


def test_a_time_constant_that_is_given_is_not_drawn_either():
    assert bool((rv.init.recurrent(rv.LIF, 4, tau=50.0).neuron.beta == math.exp(-1 / 50)).all())


@pytest.mark.parametrize("neurons", [0, -3, 2.5, True])
def test_a_number_of_neurons_is_wanted(neurons):
    with pytest.raises(ValueError, match="whole number above 0"):
        rv.init.recurrent(rv.LIF, neurons)


def test_detached_feedback_is_what_learning_forward_in_time_computes():
    """D-RTRL carries no influence through other neurons: its gradient is that of backpropagation with detached
    feedback."""
    torch.manual_seed(0)
    layer = rv.Recurrent(rv.LIF(), 6, detach_feedback=True)
    net = rv.Sequential(rv.Linear(6, 6), layer, rv.Linear(6, 2), rv.LI()).double()
    x, weights = 2 * torch.rand(9, 2, 6, dtype=torch.float64), list(net.parameters())
    found = torch.autograd.grad(rv.online.Learner(net, "drtrl")(x).square().sum(), weights)
    for a, b in zip(found, torch.autograd.grad(net(x).square().sum(), weights), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("times", [(0.0, 5.0), (10.0, 5.0), (1.0, math.inf), (math.nan, 1.0)])
def test_times_that_cannot_be_spread_are_refused(times):
    with pytest.raises(ValueError, match="shortest <= longest"):
        rv.init.spread(4, *times)
    with pytest.raises(ValueError, match="shortest <= longest"):
        rv.init.recurrent(rv.LIF, 4, shortest=times[0], longest=times[1])


def test_a_published_neuron_stays_within_its_ranges():
    """Beyond them its own loop of membrane and adaptation grows without end."""
    neuron = rv.SEAdLIF.published(6)
    adam = torch.optim.Adam(neuron.parameters(), 0.5)
    for sign in (1.0, -1.0):
        for _ in range(20):
            adam.zero_grad()
            sum((sign * p).sum() for p in neuron.parameters()).backward()
            adam.step()
        neuron(torch.rand(2, 1, 6))
        for name in ("alpha", "beta", "a", "b"):
            low, high = neuron.bounds(name)
            value = neuron.value(name).detach()
            assert bool((value >= low - 1e-6).all() and (value <= high + 1e-6).all())


def test_what_the_doctor_advises_helps():
    """A loop that multiplies: found, and gone by what is advised first."""

    def diagnosed(**how):
        torch.manual_seed(0)
        layer = rv.Recurrent(rv.LIF(detach_reset=True), 64, **how)
        nn.init.orthogonal_(layer.feedback.weight, gain=4.0)
        net = rv.Sequential(layer, nn.Linear(64, 4), rv.LI())
        x, labels = 0.3 * torch.rand(300, 4, 64), torch.arange(4)
        return rv.doctor.diagnose(net, x, labels, rv.loss.mean_crossentropy())

    (finding,) = [f for f in diagnosed().findings if "explodes through time" in f.name]
    assert "detach_feedback=True" in finding.advice
    assert not any("explodes" in f.name for f in diagnosed(detach_feedback=True).findings)
