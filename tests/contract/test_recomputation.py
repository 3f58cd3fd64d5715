"""Recomputation instead of memory: the same values and gradients, under every verb."""

import pytest
import torch
from catalogue import tensors
from judge import close, equal, leaves, outcome, run, weighed
from torch import nn
from torch.utils.checkpoint import checkpoint

import ranvier as rv


def _module(recompute):
    """A network of one's own that recomputes its middle."""

    class Net(nn.Module):
        def __init__(self, first, middle, last):
            super().__init__()
            self.first, self.middle, self.last = first, middle, last

        def forward(self, x):
            return self.last(recompute(self.middle, self.first(x)))

    return Net


WAYS = {
    "plain": lambda layers, x: layers(x),
    "torch": lambda layers, x: checkpoint(layers, x, use_reentrant=False),
    "torch, reentrant": lambda layers, x: checkpoint(layers, x, use_reentrant=True),
    "ranvier": lambda layers, x: rv.checkpoint(layers, x),
}
ways = pytest.mark.parametrize("way", [way for way in WAYS if way != "plain"])


@ways
def test_recomputed_is_the_same(case, backend, way):
    x = leaves(case.x())
    if isinstance(x, tuple):
        pytest.skip("takes pairs")
    net = case.net()
    with rv.backend(backend):
        y = run(lambda v: WAYS[way](net, v), x)
        found = [v.detach() for v in tensors(y)], gradients_of(net, y, x)
    wanted = outcome(case.net(), case.x(), backend)
    equal(found[0], wanted[0])
    equal(found[1], wanted[1])


def gradients_of(net, y, x):
    """By backward, since reentrant recomputation serves no `autograd.grad`."""
    weighed(y).backward()
    return [torch.zeros_like(v) if v.grad is None else v.grad for v in (*tensors(x), *net.parameters())]


MIDDLES = {
    "LIF": rv.LIF,
    "Recurrent": lambda: rv.Recurrent(rv.LIF(threshold=0.3), 6),
    "Linear, LIF, Dropout": lambda: rv.Sequential(nn.Linear(6, 6), rv.LIF(threshold=0.3), rv.Dropout(0.5)),
    "Delay": lambda: rv.LearnedDelay(6, longest=3),
    "Synapses and neurons": lambda: rv.Sequential(rv.Lowpass(tau=0.5, dt=0.1), rv.CubaLIF()),
}


def _net(way, middle):
    torch.manual_seed(0)
    first = rv.Sequential(nn.Linear(3, 6), rv.LI(beta=0.5))
    return _module(WAYS[way])(first, MIDDLES[middle](), rv.Sequential(nn.Linear(6, 2), rv.LI()))


def _scan(net, x):
    """Two chunks, so that the second goes on from a state that wants gradients."""
    first, state = rv.scan(net, x[:4])
    second, state = rv.scan(net, x[4:], state)
    return [first, second, state]


def _steps(net, x):
    state, found = None, []
    for x_t in x:
        y_t, state = rv.step(net, x_t, state)
        found.append(y_t)
    return [*found, state]


VERBS = {
    "call": lambda net, x: net(x),
    "scan": _scan,
    "step": _steps,
    "record": lambda net, x: rv.record(net, x, "z"),
}


@ways
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("middle", MIDDLES)
def test_under_every_verb_with_state_recomputed_is_the_same_or_refused(way, verb, middle):
    """torch's own may refuse where the result would be wrong; Ranvier's is right everywhere."""
    x = torch.rand(9, 2, 3, generator=torch.Generator().manual_seed(0)) * 2
    found = []
    for one in ("plain", way):
        net, given = _net(one, middle), leaves(x)
        try:
            torch.manual_seed(5)
            y = VERBS[verb](net, given)
            found.append((tensors(y), gradients_of(net, y, given)))
        except (RuntimeError, ValueError) as error:
            assert way != "ranvier" and "ranvier.checkpoint" in str(error), error
            return
    equal(found[1][0], found[0][0])
    close(found[1][1], found[0][1], 1e-6)


def test_recomputation_keeps_less():
    """What it is for: of the layers within, only the input is kept."""
    x = torch.rand(20, 4, 6, requires_grad=True)
    torch.manual_seed(0)
    middle = rv.Sequential(*(m for _ in range(4) for m in (nn.Linear(6, 6), rv.LIF())))
    kept = []
    for recompute in (WAYS["plain"], WAYS["ranvier"]):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda v, s=sizes: s.append(v.numel()) or v, lambda v: v):
            recompute(middle, x)
        kept.append(sum(sizes))
    assert kept[1] <= x.numel() < kept[0]


def test_a_stream_and_no_grad_need_no_recomputation():
    net = _net("ranvier", "LIF")
    x = torch.rand(6, 2, 3)
    stream = rv.Stream(net)
    close([torch.stack([stream(x_t) for x_t in x])], [net(x).detach()])


def test_layers_run_once_in_the_eyes_of_a_verb():
    """The states that `scan` gives are those of the first run, and stay so while backward runs the layers again."""
    net, x = _net("ranvier", "Recurrent"), torch.rand(6, 2, 3)
    y, state = rv.scan(net, x)
    before = [v.detach().clone() for v in tensors(state)]
    y.sum().backward()
    equal(tensors(rv.detach(state)), before)
    _, wanted = rv.scan(_net("plain", "Recurrent"), x)
    assert state.keys() == wanted.keys()
    equal(before, tensors(rv.detach(wanted)))
