"""Nets broken on purpose, and what the doctor says of them."""

import pytest
import torch
from torch import nn

import ranvier as rv
from ranvier.doctor import diagnose
from ranvier.train import loss


def net_of(*neurons, scale=1.0, width=24):
    torch.manual_seed(0)
    layers, inputs = [], 6
    for neuron in neurons:
        linear = nn.Linear(inputs, width)
        nn.init.uniform_(linear.weight, -0.4 * scale, 0.7 * scale)
        nn.init.zeros_(linear.bias)
        layers += [linear, neuron]
        inputs = width
    return rv.Sequential(*layers, nn.Linear(width, 3), rv.LI(beta=0.95))


def examine(net, steps=30, x=None):
    torch.manual_seed(1)
    x = torch.rand(steps, 16, 6) if x is None else x
    return diagnose(net, x, torch.randint(3, (16,)), loss.mean_crossentropy())


def found(diagnosis, path=None):
    return {f.name for f in diagnosis.findings if path is None or f.path == path}


def test_a_healthy_net():
    diagnosis = examine(net_of(rv.LIF(beta=0.8), rv.LIF(beta=0.8), scale=0.7))
    assert diagnosis.well, str(diagnosis)
    assert "no problem was found" in str(diagnosis) and [v.path for v in diagnosis.layers] == ["1", "3"]


def test_dead_layers_cut_the_gradient():
    square = rv.surrogate.boxcar(0.5)
    diagnosis = examine(net_of(rv.LIF(surrogate=square), rv.LIF(threshold=99.0, surrogate=square)))
    assert "dead" in found(diagnosis, "3") and "no gradient" in found(diagnosis, "1")
    assert "lower threshold" in str(diagnosis)


def test_saturated():
    assert "saturated" in found(examine(net_of(rv.LIF(), rv.LIF(), scale=20.0)), "1")


def test_firing_drifts():
    up = examine(net_of(rv.LIF(beta=0.98, threshold=8.0), scale=0.5), steps=45)
    assert "firing drifts up" in found(up)
    fading = torch.rand(45, 16, 6) * torch.linspace(1, 0, 45).view(-1, 1, 1) ** 4
    assert "firing drifts down" in found(examine(net_of(rv.LIF(beta=0.5)), x=fading))


def test_gradient_through_time():
    late = examine(net_of(rv.LIF()), x=torch.rand(40, 16, 6))
    assert late.layers[0].through_time > 1e-3

    def last_step(y, labels):
        return nn.functional.cross_entropy(y[-1], labels)

    net = net_of(rv.LIF(beta=0.3))
    net[3] = rv.LI(beta=0.3)
    x = torch.rand(40, 16, 6)
    diagnosis = diagnose(net, x, torch.randint(3, (16,)), last_step)
    assert "gradient vanishes through time" in found(diagnosis)

    torch.manual_seed(0)
    wild = rv.Recurrent(rv.LIF(beta=0.9, surrogate=rv.surrogate.straight_through()), 24)
    nn.init.normal_(wild.feedback.weight, 0.0, 1.0)
    diagnosis = diagnose(net_of(wild), x, torch.randint(3, (16,)), last_step)
    assert found(diagnosis) & {"gradient explodes through time", "not finite"}


def test_gradient_with_depth():
    narrow = rv.surrogate.superspike(1000.0)
    neurons = [rv.LIF(beta=0.5, surrogate=narrow) for _ in range(4)]
    assert "gradient vanishes with depth" in found(examine(net_of(*neurons, scale=0.6)), "1")
    steep = [rv.LIF(beta=0.0, surrogate=rv.surrogate.straight_through()) for _ in range(4)]
    assert "gradient explodes with depth" in found(examine(net_of(*steep, scale=20.0)), "1")


def test_not_finite():
    net = net_of(rv.LIF())
    x = torch.rand(20, 16, 6)
    x[3, 2] = float("nan")
    assert "not finite" in found(examine(net, x=x))


def test_leaves_no_trace_and_refuses():
    net = net_of(rv.LIF())
    before = {k: v.clone() for k, v in net.state_dict().items()}
    examine(net)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    with pytest.raises(ValueError, match="no spiking layers"):
        diagnose(nn.Linear(3, 3), torch.rand(2, 2, 3))
    with pytest.raises(ValueError, match="both"):
        diagnose(net, torch.rand(2, 2, 6), labels=torch.zeros(2).long())
