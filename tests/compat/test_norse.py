"""What Norse 1.1.0 gave (tests/golden/norse.json), and what is given here under its names."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import ranvier
from ranvier.compat.norse import torch as norse

CASES = json.loads((Path(__file__).parents[1] / "golden" / "norse.json").read_text())
SEQUENCES = ("LIF", "LI", "LSNN", "LIFAdEx", "IAF", "LIFRecurrent", "LSNNRecurrent")


@pytest.fixture(autouse=True)
def _reference():
    with ranvier.backend("reference"):
        yield


def close(a, b):
    torch.testing.assert_close(a, torch.tensor(b).reshape(a.shape), rtol=2e-5, atol=5e-6)


def built(case, sequence):
    p = getattr(norse, case["kw"]["params"])(**case["kw"]["p"])
    name = case["name"].removesuffix("Cell") if sequence else case["name"]
    layer = getattr(norse, name)(*case["kw"].get("sizes", ()), p=p)
    layer.load_state_dict({k: torch.tensor(v) for k, v in case["state"].items()})
    return layer


def ways():
    for case in CASES:
        yield case, False
        if case["name"].removesuffix("Cell") in SEQUENCES:
            yield case, True


@pytest.mark.parametrize("case, sequence", list(ways()), ids=lambda v: v["name"] if isinstance(v, dict) else str(v))
def test_cells(case, sequence):
    layer, x = built(case, sequence), torch.tensor(case["x"]).reshape(case["shape"]).requires_grad_()
    if sequence:
        z, state = layer(x)
        loss = (z * torch.tensor(case["w"]).reshape(z.shape)).sum()
        assert torch.equal(z, torch.tensor(case["z"]).reshape(z.shape)) or case["name"] == "LICell"
        assert torch.isfinite(torch.autograd.grad(loss, x)[0]).all()
    else:
        state, zs, vs = None, [], []
        for x_t in x.unbind(0):
            z_t, state = layer(x_t, state)
            zs.append(z_t)
            vs.append(state.v)
        z, v = torch.stack(zs), torch.stack(vs)
        close(z, case["z"])
        close(v, case["v"])
        ((z * torch.tensor(case["w"]).reshape(z.shape)).sum() + 0.1 * v.sum()).backward()
        torch.testing.assert_close(x.grad, torch.tensor(case["grad"]).reshape(x.shape), rtol=1e-4, atol=1e-5)
        for k, g in case["grads"].items():
            found = dict(layer.named_parameters())[k].grad
            torch.testing.assert_close(found, torch.tensor(g).reshape(found.shape), rtol=1e-4, atol=1e-5)
    assert list(state._asdict()) == list(case["last"])
    for k, value in case["last"].items():
        close(getattr(state, k), value)


def test_states_are_handed_on():
    net = norse.SequentialState(nn.Linear(3, 4), norse.LIF(), nn.Linear(4, 2), norse.LI())
    x = torch.rand(6, 2, 3)
    y, state = net(x)
    first, half = net(x[:3])
    torch.testing.assert_close(torch.cat([first, net(x[3:], half)[0]]), y)
    assert [type(s).__name__ for s in state] == ["NoneType", "LIFFeedForwardState", "NoneType", "LIState"]
    hidden, _ = norse.SequentialState(nn.Linear(3, 4), norse.LIF(), return_hidden=True)(x)
    assert len(hidden) == 1 and hidden[0].shape == (6, 2, 4)
    with pytest.raises(ValueError, match="need as many states"):
        net(x, [None])


def test_lift():
    x = torch.rand(5, 2, 1, 6, 6)
    conv, cell = nn.Conv2d(1, 2, 3), norse.LIFCell()
    y, _ = norse.SequentialState(norse.Lift(conv), norse.LIF())(x)
    steps, _ = norse.SequentialState(norse.Lift(conv), norse.Lift(cell))(x)
    assert y.shape == (5, 2, 2, 4, 4) and torch.equal(y, steps)


def test_parameters_learn_and_may_be_set():
    v_th = torch.tensor(0.5, requires_grad=True)
    layer, x = norse.LIF(norse.LIFParameters(v_th=v_th)), 3 * torch.rand(20, 2, 3)
    z, _ = layer(x)
    z.sum().backward()
    assert v_th.grad != 0
    layer.p = norse.LIFParameters(v_th=100.0)
    assert layer(x)[0].sum() == 0
    layer.dt = 0.0
    assert layer(x)[1].v.abs().sum() == 0
    with pytest.raises(ValueError, match="method"):
        norse.LIFCell(norse.LIFParameters(method="tanh"))
    with pytest.raises(TypeError, match="unknown arguments"):
        norse.LIFCell(adjoint=True)
    with pytest.raises(ValueError, match="state 'v'"):
        norse.LIFCell()(torch.rand(4, 3), norse.LIFFeedForwardState(torch.zeros(2, 3), torch.zeros(2, 3)))


def test_encoders():
    x = torch.tensor([0.0, 2.0, 5.0])
    assert norse.ConstantCurrentLIFEncoder(30)(x).sum(0).tolist() == [0, 4, 10]
    assert norse.SpikeLatencyLIFEncoder(30)(x).sum(0).tolist() == [0, 1, 1]
    torch.manual_seed(0)
    drawn = norse.PoissonEncoder(50)(x / 5)
    torch.manual_seed(0)
    assert torch.equal(drawn, (torch.rand(50, 3) < 0.1 * x / 5).float())
    assert set(norse.SignedPoissonEncoder(500)(-torch.ones(2)).unique().tolist()) == {-1.0, 0.0}
    spikes = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    assert norse.SpikeLatencyEncoder()(spikes).tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
