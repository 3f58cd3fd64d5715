"""`net(x)`, `scan` and `record` give the same bits; chunks, steps and streams too where no product rounds."""

import copy

import pytest
import torch
from catalogue import tensors
from judge import close, equal, floats, run
from random_rows import draw
from torch import nn

import ranvier as rv

NETS, GROUPS = 500, 20
groups = pytest.mark.parametrize("group", range(GROUPS))


def nets(group):
    """Random networks without faults, each in both modes."""
    for seed in range(group, NETS, GROUPS):
        found = draw(seed, faults=False, rich=True)
        yield seed, found.net().train(), found.x
        yield seed, found.net().eval(), found.x


def alike(net, x):
    """Output and buffers of a fresh copy, by each of the verbs."""
    last = list(net.named_children())[-1]
    ways = {
        "call": lambda one: one(x),
        "call without gradients": lambda one: _without(one, x),
        "scan": lambda one: rv.scan(one, x)[0],
        "call of a used network": lambda one: one(x) if one.training else (one(x), run(one, x))[1],
    }
    if isinstance(last[1], rv.Temporal):
        ways["record"] = lambda one: rv.record(one, x, "z")[last[0]]
    for way, go in ways.items():
        one = copy.deepcopy(net)
        yield way, [v.detach() for v in tensors(run(go, one))], [*one.buffers()]


def _without(net, x):
    with torch.no_grad():
        return net(x)


@groups
def test_random_rows_give_the_same_bits_by_every_verb(group):
    for seed, net, x in nets(group):
        (_, wanted, buffers), *others = alike(net, x)
        for way, found, after in others:
            try:
                equal(found, wanted)
                equal(after, buffers)
            except AssertionError as error:
                raise AssertionError(
                    f"seed {seed}, {'training' if net.training else 'evaluation'}, {way}: {error}"
                ) from error


def test_every_case_gives_the_same_bits_by_every_verb(case, backend):
    x = case.x()
    one, other, third, seen = case.net(), case.net(), case.net(), []
    name = next((n for m in one.modules() if isinstance(m, rv.Temporal) for n in m.records if n == "z"), None)
    with rv.backend(backend):
        found = [tensors(run(one, x)), tensors(run(lambda v: rv.scan(other, v)[0], x))]
        if name is not None:
            third.register_forward_hook(lambda m, given, y: seen.append(y))
            run(lambda v: rv.record(third, v, name), x)
    for y in [*found[1:], *map(tensors, seen)]:
        equal([v.detach() for v in y], [v.detach() for v in found[0]])


PRODUCTS = nn.Linear, nn.Conv2d, rv.Recurrent, nn.LayerNorm, rv.ALIF


def _goes_on(net):
    """Whether a network treats every step by itself: in evaluation, with no statistics of what it is given."""
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    return not net.training and all(m.track_running_stats for m in norms)


def _pieces(net, x):
    """The sequence in chunks, step by step, and by a stream."""
    at = max(1, len(x) // 2)
    first, state = rv.scan(net, x[:at])
    second, state = rv.scan(net, x[at:], state)
    yield "chunks", torch.cat([first, second]), state
    state, steps = None, []
    for x_t in x:
        y_t, state = rv.step(net, x_t, state)
        steps.append(y_t)
    yield "steps", torch.stack(steps), state
    stream = rv.Stream(net)
    steps = torch.stack([stream(x_t).clone() for x_t in x])
    yield "stream", steps, stream.state


@groups
def test_random_rows_give_the_same_in_pieces(group):
    """In float64, where no rounding decides over a spike."""
    for seed, net, x in nets(group):
        if not _goes_on(net):
            continue
        net, x = net.double(), x.double()
        y, after = rv.scan(net, x)
        products = any(isinstance(m, PRODUCTS) for m in net.modules())
        judged = (lambda a, b: close(a, b, 1e-10)) if products else equal
        for way, pieces, state in _pieces(net, x):
            try:
                judged([pieces.detach()], [y.detach()])
                assert state.keys() == after.keys(), f"{state.keys()}, not {after.keys()}"
                for path in after:
                    judged(floats(rv.detach(state[path])), floats(rv.detach(after[path])))
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, {way}: {error} | {draw(seed, faults=False, rich=True)}") from error


@groups
def test_few_spikes_differ_in_pieces(group):
    """In float32, a potential within rounding of its threshold may spike on one side only."""
    off = 0
    for _, net, x in nets(group):
        if not _goes_on(net) or x.dtype != torch.float32:
            continue
        y = net(x).detach()
        for _, pieces, _ in _pieces(net, x):
            off += bool(((pieces - y).abs() > 1e-5 * y.abs().max().clamp_min(1.0)).any())
    assert off <= 1
