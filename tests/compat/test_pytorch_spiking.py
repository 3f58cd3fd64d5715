"""Against what pytorch-spiking 0.1.0 gave (tests/golden), and where it is mended on purpose."""

import importlib
import inspect
import json
from pathlib import Path

import pytest
import torch
from torch import nn

import ranvier
from ranvier.compat import pytorch_spiking as ps

GOLDEN = Path(__file__).parents[1] / "golden"
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "identity": lambda x: x, "leaky_relu_0.3": nn.LeakyReLU(0.3)}


def cases(name, bug=False):
    found = json.loads((GOLDEN / f"pytorch_spiking_{name}.json").read_text())["cases"]
    return [pytest.param(c, id=c["name"]) for c in found if c["known_bug"] == bug]


def tensor(t):
    return torch.tensor(t["data"], dtype=getattr(torch, t["dtype"])).reshape(t["shape"])


def close(a, b, tolerance=1e-5):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=1e-6, check_dtype=False)


@pytest.mark.parametrize("case", cases("activation"))
def test_spiking_activation(case):
    p = dict(case["params"])
    state, mode = tensor(p.pop("initial_state")), p.pop("mode")
    layer = ps.SpikingActivation(ACTIVATIONS[p.pop("activation")], initial_state=state, **p).train(mode == "train")
    x = tensor(case["inputs"]["x"]).requires_grad_()
    y = layer(x)
    close(y, tensor(case["outputs"]["y"]))
    assert y.dtype == x.dtype  # B8: the original gives the dtype of the state
    after = ranvier.scan(layer, x)[1][""]["v"]
    close(after, tensor(case["outputs"]["initial_state_tensor_after_call"]))
    assert torch.equal(layer.initial_state, state)  # B1
    if "grad_output" in case["inputs"]:
        y.backward(tensor(case["inputs"]["grad_output"]).to(y.dtype))
        close(x.grad, tensor(case["outputs"]["grad_x"]))
        assert x.grad.dtype == x.dtype


@pytest.mark.parametrize("case", cases("lowpass"))
def test_lowpass(case):
    p, wanted = dict(case["params"]), case["outputs"]
    mode, double = p.pop("mode"), p.pop("module_cast_to_double")
    level = {"initial_level": tensor(p.pop("initial_level"))} if "initial_level" in p else {}
    layer = ps.Lowpass(**p, **level).train(mode == "train")
    layer = layer.double() if double else layer
    assert layer.smoothing_init == pytest.approx(wanted["smoothing_init"], rel=1e-10)
    assert list(layer.state_dict()) == ["level_var", "smoothing_var"]
    for name in ("level_var", "smoothing_var"):
        close(getattr(layer, name), tensor(wanted[name]))
    x = tensor(case["inputs"]["x"]).requires_grad_()
    y = layer(x)
    close(y, tensor(wanted["y"]), 1e-10 if double else 1e-5)
    if "grad_output" in case["inputs"]:
        y.backward(tensor(case["inputs"]["grad_output"]))
        close(x.grad, tensor(wanted["grad_x"]))
        close(layer.level_var.grad, tensor(wanted["grad_level_var"]))
        close(layer.smoothing_var.grad, tensor(wanted["grad_smoothing_var"]))


@pytest.mark.parametrize("case", cases("pool_and_nets"))
def test_nets(case):
    first, last = nn.Linear(2, 3), nn.Linear(3, 2)
    p, wanted = {k: tensor(v) for k, v in case["params"].items()}, case["outputs"]
    for layer, w, b in ((first, "W0", "b0"), (last, "W1", "b1")):
        layer.load_state_dict({"weight": p[w], "bias": p[b]})
    x = tensor(case["inputs"]["x"]).requires_grad_()
    spikes = ps.SpikingActivation(nn.ReLU(), dt=0.25, initial_state=torch.full((2, 3), 0.5))
    net = nn.Sequential(first, spikes, ps.Lowpass(0.5, 3, dt=0.25, return_sequences=False), last)
    y = net(x)
    close(y, tensor(wanted["y"]))
    y.sum().backward()
    close(x.grad, tensor(wanted["grad_x"]))
    close(first.weight.grad, tensor(wanted["grad_W0"]))
    close(first.bias.grad, tensor(wanted["grad_b0"]))
    close(last.weight.grad, tensor(wanted["grad_W1"]))


@pytest.mark.parametrize("case", cases("activation", bug=True))
def test_the_given_state_is_left_alone(case):  # B1
    state = tensor(case["params"]["initial_state"])
    layer = ps.SpikingActivation(torch.relu, dt=0.5, initial_state=state)
    x = tensor(case["inputs"]["x"])
    for name in ("y1", "y2"):
        close(layer(x), tensor(case["corrected"][name]))
    assert torch.equal(state, tensor(case["corrected"]["state_after_second"]))


def test_names_and_defaults():
    layer = ps.SpikingActivation(torch.relu)
    assert layer.dt == 1e-3 and layer.initial_state is None
    assert layer.spiking_aware_training and layer.return_sequences
    low = ps.Lowpass(0.1, 4)
    assert (low.tau, low.units, low.dt) == (0.1, 4, 1e-3) and low.apply_during_training and low.return_sequences
    assert ps.TemporalAvgPool().dim == 1 and ps.modules.Lowpass is ps.Lowpass


def test_functional():
    x, start = torch.full((2, 5, 3), 600.0), torch.full((2, 3), 0.5)
    last = ps.functional.spiking_activation(x, torch.relu, 0.001, start)
    every = ps.functional.SpikingActivation.apply(x, torch.relu, 0.001, start, True, True)
    assert every.shape == (2, 5, 3) and torch.equal(last, every[:, -1])
    rates = ps.functional.spiking_activation(x, torch.relu, spiking_aware_training=False, training=True)
    assert torch.equal(rates, x[:, -1])


def test_attributes_are_read_at_each_call():
    layer, x = ps.SpikingActivation(torch.relu, initial_state=torch.full((1, 1), 0.5)), torch.full((1, 10, 1), 3.7)
    assert layer(x).sum() == 0
    layer.dt = 1.0
    assert layer(x).mean().item() == pytest.approx(3.7)
    layer.return_sequences, layer.initial_state = False, torch.zeros(1)
    assert layer(x).shape == (1, 1) and layer.initial_state.tolist() == [0.0]
    layer.spiking_aware_training = False
    assert layer.train()(x).item() == pytest.approx(3.7)


def test_parameters_of_the_activation_learn():  # B6
    prelu = nn.PReLU()
    ps.SpikingActivation(prelu, dt=0.1)(torch.randn(2, 6, 5)).sum().backward()
    assert prelu.weight.grad is not None


def test_states_broadcast_move_and_are_not_saved():  # B9, B10
    layer = ps.SpikingActivation(torch.relu, initial_state=torch.full((1, 3), 0.5))
    assert layer(torch.ones(2, 4, 3)).shape == (2, 4, 3)
    assert layer.double().initial_state.dtype == torch.float64 and not layer.state_dict()
    assert layer(torch.ones(2, 0, 3)).shape == (2, 0, 3)
    layer.return_sequences = False
    assert torch.equal(layer(torch.ones(2, 0, 3)), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="positive number of seconds"):
        ps.SpikingActivation(torch.relu, dt=0.0)


def test_lowpass_errors_and_passing_through():
    with pytest.raises(ValueError, match="tau must be a positive number"):
        ps.Lowpass(0.0, 3)
    x = torch.rand(2, 4, 3)
    layer = ps.Lowpass(0.1, 3, apply_during_training=False)
    assert layer(x) is x and not torch.equal(layer.eval()(x), x)


def test_pool():
    x = torch.rand(2, 4, 3)
    assert torch.equal(ps.TemporalAvgPool()(x), x.mean(1)) and torch.equal(ps.TemporalAvgPool(-1)(x), x.mean(-1))


def test_modules_and_functional_are_modules():
    functional = importlib.import_module("ranvier.compat.pytorch_spiking.functional")
    modules = importlib.import_module("ranvier.compat.pytorch_spiking.modules")
    assert functional is ps.functional and modules.Lowpass is ps.Lowpass
    taken = list(inspect.signature(functional.SpikingActivation.forward).parameters)
    assert taken[:3] == ["ctx", "inputs", "activation"] and taken[-1] == "training"


def test_a_function_of_ones_own_may_call_forward_and_backward():
    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * ps.functional.SpikingActivation.forward(ctx, x, torch.relu, 0.5, torch.zeros(2, 3), True, True)

        @staticmethod
        def backward(ctx, grad):
            return ps.functional.SpikingActivation.backward(ctx, 2 * grad)[0]

    x = torch.rand(2, 5, 3, requires_grad=True)
    y = Doubled.apply(x)
    y.sum().backward()
    assert torch.equal(y, 2 * ps.functional.spiking_activation(x, torch.relu, 0.5, torch.zeros(2, 3), True, True))
    assert torch.equal(x.grad, torch.full_like(x, 2.0))


def test_levels_may_differ_within_a_batch():
    levels, x = torch.rand(4, 3), torch.rand(4, 6, 3)
    layer = ps.Lowpass(0.1, 3, dt=0.05, initial_level=levels)
    single = [ps.Lowpass(0.1, 3, dt=0.05, initial_level=levels[b : b + 1]) for b in range(4)]
    y = layer(x)
    torch.testing.assert_close(y, torch.cat([one(x[b : b + 1]) for b, one in enumerate(single)]))
    y.square().sum().backward()
    for b, one in enumerate(single):
        one(x[b : b + 1]).square().sum().backward()
        torch.testing.assert_close(layer.level_var.grad[b], one.level_var.grad[0])
    torch.testing.assert_close(layer.smoothing_var.grad, sum(one.smoothing_var.grad for one in single))


def test_levels_broadcast_over_further_axes():
    x = torch.rand(4, 6, 2, 3)
    flat = ps.Lowpass(0.1, 3, dt=0.05, initial_level=torch.rand(4, 3))
    y = flat(x)
    assert torch.equal(y[:, :, 0], flat(x[:, :, 0])) and torch.equal(y[:, :, 1], flat(x[:, :, 1]))
    assert ps.Lowpass(0.1, 3, initial_level=torch.tensor(0.5))(x).shape == x.shape
    with pytest.raises(ValueError, match="one row for each"):
        flat(x[:2])
