"""A stream gives what repeated steps give, whether its network is compiled as a whole or not."""

import copy
import pickle

import pytest
import torch
from torch import nn

import ranvier as rv

NETS = {
    "linear": lambda: rv.Sequential(nn.Linear(9, 17), rv.LIF(), rv.Linear(17, 5, bias=False), rv.LI()),
    "recurrent": lambda: rv.Sequential(nn.Linear(9, 7), rv.Recurrent(rv.ALIF(), 7), nn.Linear(7, 3)),
    "recurrent last": lambda: rv.Sequential(nn.Linear(9, 7), rv.Recurrent(rv.LIF(threshold=0.2), 7)),
    "neuron first": lambda: rv.Sequential(rv.LIF(), nn.Linear(9, 4), rv.CubaLIF(learn=("beta",), shape=4)),
    "double": lambda: rv.Sequential(nn.Linear(9, 4), rv.LIF(), nn.Linear(4, 2), rv.LI()).double(),
}
OTHERS = {
    "residual": lambda: rv.Sequential(nn.Linear(9, 9), rv.LIF(), nn.Dropout(0.0), nn.Linear(9, 2)),
    "physical": lambda: rv.Sequential(nn.Linear(9, 4), rv.PhysicalLIF()),
    "one neuron": lambda: rv.LIF(),
}


def inputs(net, steps=12, batch=2):
    dtype = next(iter([*net.parameters(), *net.buffers()])).dtype
    return torch.rand(steps, batch, 9, generator=torch.Generator().manual_seed(1), dtype=dtype) * 2


def stepped(net, x, state=None):
    outputs = []
    with torch.no_grad():
        for x_t in x:
            y, state = rv.step(net, x_t, state)
            outputs.append(y)
    return torch.stack(outputs), state


def equal(one, other):
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [*NETS, *OTHERS])
def test_a_stream_is_repeated_steps(name):
    net = {**NETS, **OTHERS}[name]()
    x, stream = inputs(net), rv.Stream(net)
    (y, state) = stepped(net, x)
    equal(torch.stack([stream(x_t) for x_t in x]), y)
    equal(stream.state, state)
    assert (stream._bound is not None) == (name in NETS)
    stream.reset()
    assert stream.state is None
    equal(torch.stack([stream(x_t) for x_t in x]), y)
    other = copy.deepcopy(stream), pickle.loads(pickle.dumps(stream))
    last = stream(x[0])
    for one in other:
        equal(one(x[0]), last)
    stream.state = state
    equal(stream(x[0]), last)
    assert not last.requires_grad


def test_a_stream_hears_of_every_change():
    net = NETS["linear"]()
    x, stream = inputs(net), rv.Stream(net)
    stream(x[0]), stream(x[0])

    def same():
        state = stream.state
        equal(stream(x[1]), stepped(net, x[1:2], state)[0][0])

    with torch.no_grad():
        net[0].weight.mul_(2)
    same()
    net[2].weight.data.mul_(3)
    same()
    net[1].threshold.fill_(0.3)
    same()
    net[0].weight = nn.Parameter(torch.rand(17, 9))
    same()
    net[1] = rv.LIF(beta=0.5)
    same()
    seen = []
    handle = net[0].register_forward_hook(lambda *_: seen.append(1))
    same()
    assert len(seen) == 2
    handle.remove()
    same()
    net[0].forward = lambda v: nn.functional.linear(v, net[0].weight) + 1
    same()
    del net[0].forward
    run = net[1].run
    net[1].run = lambda *given: (run(*given)[0] * 0 + 2, *run(*given)[1:])
    same()
    del net[1].run
    net[2].bias = nn.Parameter(torch.rand(5))
    same()
    with rv.backend("reference"):
        same()
    equal(stream(x[1]).shape, (2, 5))
    state = stream.state
    stream.state = None
    assert stream(x[0, :1]).shape == (1, 5)
    stream.state = state
    with pytest.raises(ValueError, match="begin a new batch"):
        stream(x[0, :1])


def test_outputs_are_the_caller_s():
    net = NETS["recurrent last"]()
    x, stream = inputs(net), rv.Stream(net)
    y = stepped(net, x)[0]
    for k, x_t in enumerate(x):
        z = stream(x_t)
        equal(z, y[k])
        z.fill_(5.0)


def test_a_stream_hears_of_a_new_neuron_within_a_recurrent_layer():
    net = NETS["recurrent last"]()
    x, stream = inputs(net), rv.Stream(net)
    stream(x[0]), stream(x[1])
    net[1].neuron = rv.LIF(beta=0.1, threshold=0.4)
    state = stream.state
    equal(stream(x[2]), stepped(net, x[2:3], state)[0][0])
