"""A stream that learns: step by step what chunks teach, exactly restored, in memory that does not grow."""

import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import ranvier as rv
from ranvier.online import Learner, Learning, bound

KINDS = {
    "recurrent, e-prop": (
        lambda: rv.Recurrent(rv.ALIF(learn=("beta", "kappa"), shape=(6,)), 6),
        dict(gradient="eprop"),
    ),
    "random feedback": (lambda: rv.LIF(learn=("threshold",)), dict(gradient="eprop", feedback="random")),
    "D-RTRL": (lambda: rv.RestLIF(learn=("rest", "leak")), dict(gradient="drtrl")),
    "traces of inputs": (rv.CubaLIF, dict(gradient="ottt")),
    "adaptive feedback": (rv.LIF, dict(gradient="eprop", feedback="adaptive")),
}


def network(neuron):
    torch.manual_seed(4)
    net = rv.Sequential(rv.Linear(5, 6), neuron(), nn.Linear(6, 2), rv.LI(beta=0.8))
    nn.init.uniform_(net[0].weight, 0.0, 1.0)
    return net.double()


def data(steps=30):
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(steps, 3, 5, generator=generator, dtype=torch.float64)
    return x, torch.rand(steps, 3, 2, generator=generator, dtype=torch.float64)


def adam(parameters):
    return torch.optim.Adam(parameters, lr=1e-2)


def ended(stream):
    return [p.detach().clone() for p in stream.lesson.learner.parameters()]


SLOW = pytest.mark.slow  # each compiles kernels of its own
FEW = [k if k in ("recurrent, e-prop", "D-RTRL") else pytest.param(k, marks=SLOW) for k in KINDS]


@pytest.mark.parametrize("kind", FEW)
def test_a_stream_learns_what_the_learner_says(kind):
    """Outputs, weights and states, with targets now and then, equal those of `Learner.scan` and an optimiser."""
    make, how = KINDS[kind]
    x, target = data()
    torch.manual_seed(1)
    stream = rv.Stream(network(make), learn=Learning(nn.functional.mse_loss, adam, every=2, **how))
    torch.manual_seed(1)
    learner = Learner(network(make), **how)
    learner.load_state_dict(stream.lesson.learner.state_dict())
    optimiser, carried = adam([p for p in learner.parameters() if p.requires_grad]), None
    losses = 0
    for t in range(len(x)):
        told = t % 3 != 1
        y_t = stream(x[t], target[t] if told else None)
        y, carried = learner.scan(x[t : t + 1], carried)
        torch.testing.assert_close(y_t, y[0].detach(), rtol=1e-9, atol=1e-9)
        if told:
            nn.functional.mse_loss(y[0], target[t]).backward()
            losses += 1
            if losses % 2 == 0:
                optimiser.step()
                optimiser.zero_grad()
    assert losses == stream.lesson.losses
    for a, b in zip(ended(stream), learner.parameters(), strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=1e-8, atol=1e-8)
    for path, state in stream.state.items():
        for k, v in state.items():
            torch.testing.assert_close(v, carried[path]["state"][k], rtol=1e-8, atol=1e-8)


def test_the_prepared_step_is_taken_where_it_can_be():
    stream = rv.Stream(network(rv.ALIF), learn=Learning(nn.functional.mse_loss, adam))
    x, target = data(3)
    stream(x[0], target[0])
    assert isinstance(stream.lesson._bound, bound.Bound)
    other = rv.Stream(rv.Sequential(nn.Linear(5, 4), rv.LIF(), rv.Dropout(0.5), nn.Linear(4, 2)).double(),
                      learn=Learning(nn.functional.mse_loss, adam))  # fmt: skip
    other(x[0], target[0])
    assert other.lesson._bound is None


LEARNER = """
import os, sys, torch, ranvier as rv
from torch import nn
sys.path.insert(0, {tests!r})
from test_learning import KINDS, adam, data, network
make, how = KINDS[{kind!r}]
stream = rv.Stream(network(make), learn=rv.online.Learning(nn.functional.mse_loss, adam, every=3, **how))
begin, place = 0, {place!r}
if os.path.exists(place):
    begin, saved = torch.load(place, weights_only=True)
    stream.load_state_dict(saved)
x, target = data(60)
for t in range(begin, 60):
    stream(x[t], target[t] if t % 4 else None)
    if t % 7 == 6 and {saves}:
        torch.save((t + 1, stream.state_dict()), place + ".new")
        os.replace(place + ".new", place)
    if t == {dies}:
        os.kill(os.getpid(), 9)
torch.save([p.detach() for p in stream.lesson.learner.parameters()], place + ".end")
"""


@pytest.mark.parametrize("kind", ["recurrent, e-prop", pytest.param("traces of inputs", marks=SLOW)])
def test_a_learner_killed_in_mid_stream_goes_on_to_the_same_weights_bit_for_bit(kind, tmp_path):
    def run(place, dies=-1, saves=True):
        script = LEARNER.format(tests=str(Path(__file__).parent), kind=kind, place=str(place), dies=dies, saves=saves)
        return subprocess.run([sys.executable, "-c", script], check=False, env=None).returncode

    assert run(tmp_path / "whole", saves=False) == 0
    assert run(tmp_path / "killed", dies=40) == -signal.SIGKILL
    assert run(tmp_path / "killed") == 0
    ends = [torch.load(tmp_path / f"{name}.end", weights_only=True) for name in ("whole", "killed")]
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_late_rewards():
    """The optimiser steps by the reward times the gradients of all steps before, older ones discounted."""
    net = network(rv.LIF)
    stream = rv.Stream(net, learn=Learning(nn.functional.mse_loss, lambda p: torch.optim.SGD(p, lr=1.0), discount=0.5))
    learner, carried, total = Learner(network(rv.LIF), "eprop"), None, None
    x, target = data(6)
    for t in range(6):
        stream(x[t], target[t])
        learner.zero_grad()
        y, carried = learner.scan(x[t : t + 1], carried)
        nn.functional.mse_loss(y[0], target[t]).backward()
        grads = [p.grad for p in learner.parameters()]
        total = grads if total is None else [0.5 * a + b for a, b in zip(total, grads, strict=True)]
    before = [p.detach().clone() for p in net.parameters()]
    stream.reward(-0.3)
    for p, start, g in zip(net.parameters(), before, total, strict=True):
        torch.testing.assert_close(p.detach(), start + 0.3 * g)


def test_memory_does_not_grow():
    stream = rv.Stream(network(rv.ALIF), learn=Learning(nn.functional.mse_loss, adam))
    x, target = data(100)

    def peak(steps):
        for t in range(steps):
            stream(x[t % 100], target[t % 100])
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    early = peak(1000)
    assert peak(3000) - early < 1000  # KB


def test_what_cannot_be_is_refused_with_the_cure():
    x, target = data(1)
    net = network(rv.LIF)
    with pytest.raises(ValueError, match="goes back through time"):
        rv.Stream(net, learn=Learning(nn.functional.mse_loss, adam, gradient="bptt"))
    with pytest.raises(TypeError, match="function of the parameters"):
        Learning(nn.functional.mse_loss, adam(net.parameters()))
    with pytest.raises(ValueError, match="learn=Learning"):
        rv.Stream(net)(x[0], target[0])
    with pytest.raises(ValueError, match="discount"):
        rv.Stream(net, learn=Learning(nn.functional.mse_loss, adam)).reward(1.0)
