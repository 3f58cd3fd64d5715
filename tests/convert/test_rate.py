"""Spikes carry the rate they were made from."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import ranvier
from ranvier import SpikingActivation
from ranvier.convert import MeanOverTime, rate_penalty, steps_of, sweep

whole = st.integers(-3000, 3000)


@settings(deadline=None, max_examples=60)
@given(st.lists(whole, min_size=1, max_size=60), st.integers(0, 1023), st.sampled_from((1.0, 0.25, 2.0**-10)))
def test_spikes_and_rates_never_differ_by_a_whole_spike(rates, start, dt):
    # rates * dt and voltages are multiples of 2**-10, so the float arithmetic is exact and the law is strict
    x = torch.tensor(rates).reshape(-1, 1, 1) * 2.0**-10 / dt
    y = SpikingActivation(nn.Identity(), dt, start=start * 2.0**-10)(x)
    assert abs((y.double() * dt).sum() - (x.double() * dt).sum()) < 1


@pytest.mark.parametrize("activation", (torch.relu, torch.tanh, nn.LeakyReLU(0.3), nn.Softplus()))
@pytest.mark.parametrize("dt", (1.0, 0.1, 0.001))
def test_counts_follow_rates_within_one(activation, dt):
    x = 5 * torch.randn(200, 3, 33, generator=torch.Generator().manual_seed(0))
    y = SpikingActivation(activation, dt)(x)
    owed = (activation(x).double() * dt).sum(0) - (y.double() * dt).sum(0)
    assert owed.abs().max() < 1 + 1e-4  # float32 rounding of 200 additions


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64, torch.bfloat16))
@pytest.mark.parametrize("shape", ((1, 1, 1), (7, 2, 33), (40, 1, 3, 5)))
def test_machines_agree(dtype, shape):
    x = (20 * torch.randn(shape, generator=torch.Generator().manual_seed(1))).to(dtype)
    layer = SpikingActivation(nn.ReLU(), 0.01, start=0.5)
    fused, state = ranvier.scan(layer, x)
    with ranvier.backend("reference"):
        slow, slow_state = ranvier.scan(layer, x)
    assert fused.dtype == dtype and torch.equal(fused, slow) and torch.equal(state[""]["v"], slow_state[""]["v"])


def test_relu_within_the_rule_equals_relu_outside():
    x = 20 * torch.randn(50, 2, 9, generator=torch.Generator().manual_seed(2))
    x[0, 0, 0] = math.nan
    inside, outside = (SpikingActivation(f, 0.01, start=0.5)(x) for f in (torch.relu, lambda x: torch.relu(x)))
    assert torch.equal(inside.nan_to_num(7), outside.nan_to_num(7)) and inside[:, 0, 0].isnan().all()


@pytest.mark.parametrize("activation", (torch.relu, nn.ReLU(), nn.Identity(), torch.tanh, nn.PReLU(), nn.LeakyReLU()))
def test_gradient_is_that_of_the_rates(activation):
    x = torch.randn(6, 2, 5, requires_grad=True)
    g = torch.randn(6, 2, 5)
    (spikes,) = torch.autograd.grad(SpikingActivation(activation, 0.1)(x), x, g)
    (rates,) = torch.autograd.grad(activation(x), x, g)
    torch.testing.assert_close(spikes, rates)


def test_parameters_within_the_activation_learn():
    prelu, x = nn.PReLU(), torch.randn(6, 2, 5)
    SpikingActivation(prelu, 0.1)(x).sum().backward()
    assert prelu.weight.grad.item() == pytest.approx(x[x < 0].sum().item(), rel=1e-5)


@pytest.mark.parametrize("activation", (torch.tanh, torch.relu))
def test_second_derivatives_exist(activation):
    x = torch.randn(6, 2, 5, dtype=torch.float64, requires_grad=True)
    g = torch.ones(6, 2, 5, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(SpikingActivation(activation, 0.1)(x), x, g, create_graph=True)
    second = torch.autograd.grad(first.sum(), (x, g), allow_unused=True, materialize_grads=True)
    (rates,) = torch.autograd.grad(activation(x), x, g, create_graph=True)
    wanted = torch.autograd.grad(rates.sum(), (x, g), allow_unused=True, materialize_grads=True)
    torch.testing.assert_close(second, wanted)


def test_heights_are_exact():
    y = SpikingActivation(nn.Identity(), 0.001)(500 * torch.randn(40, 2, 5))
    assert torch.equal(y, (y * 0.001).round() / 0.001)


def test_the_given_start_is_copied_and_never_written():
    start = torch.tensor([[0.25, 0.5]])
    layer = SpikingActivation(torch.relu, 0.5, start=start)
    x = torch.full((3, 1, 2), 0.7)
    assert torch.equal(layer(x), layer(x)) and torch.equal(start, torch.tensor([[0.25, 0.5]]))
    start.fill_(0.9)
    assert torch.equal(layer.start, torch.tensor([[0.25, 0.5]]))
    assert layer.to(torch.float64).start.dtype == torch.float64 and list(layer.state_dict()) == ["start"]


def test_random_start_is_unbiased_and_repeats_with_a_generator():
    x = torch.full((4, 200, 100), 0.3)
    draw = [SpikingActivation(torch.relu, 1.0, generator=torch.Generator().manual_seed(3))(x) for _ in range(2)]
    assert torch.equal(*draw)
    torch.testing.assert_close(draw[0].mean((1, 2)), torch.full((4,), 0.3), rtol=0, atol=0.02)


def test_swapping_trains_on_rates():
    layer, x = SpikingActivation(torch.tanh, 0.5, start=0.0, aware=False), torch.rand(4, 2, 3)
    assert torch.equal(layer(x), torch.tanh(x))
    assert set(layer.eval()(x).unique().tolist()) <= {0.0, 2.0}


def test_chunks_join():
    layer, x = SpikingActivation(torch.relu, 0.5, start=0.25), torch.rand(20, 2, 3)
    first, state = ranvier.scan(layer, x[:7])
    second, _ = ranvier.scan(layer, x[7:], state)
    assert torch.equal(torch.cat([first, second]), layer(x))


def test_the_voltage_can_be_recorded():
    layer, x = SpikingActivation(torch.relu, 0.25, start=0.0), torch.ones(3, 1, 1)
    assert ranvier.record(layer, x, "v")[""].flatten().tolist() == [0.25, 0.5, 0.75]


def test_no_steps_give_no_spikes():
    assert SpikingActivation(torch.relu)(torch.zeros(0, 2, 3)).shape == (0, 2, 3)


def test_sweep_and_penalty():
    net = nn.Sequential(SpikingActivation(torch.relu, start=0.5), MeanOverTime())
    x = torch.full((10, 1, 1), 3.7)
    found = sweep(net, (1.0, 0.001), lambda n: n(x).item())
    assert found == {1.0: pytest.approx(3.7), 0.001: 0.0} and net[0].dt == 0.001
    z = torch.tensor([[[0.0, 10.0]], [[20.0, 10.0]]], requires_grad=True)
    penalty = rate_penalty(z, 20.0)
    assert penalty.item() == 200.0
    penalty.backward()
    assert torch.equal(z.grad, torch.full((2, 1, 2), -10.0))
    with pytest.raises(ValueError, match="no SpikingActivation"), steps_of(nn.Linear(1, 1), 0.1):
        pass


@pytest.mark.parametrize("dt", (0, -1.0, math.nan, math.inf, True, "1"))
def test_dt_must_be_a_time(dt):
    with pytest.raises(ValueError, match="positive number of seconds"):
        SpikingActivation(torch.relu, dt)


def test_errors_name_the_next_step():
    with pytest.raises(TypeError, match="must be callable"):
        SpikingActivation("relu")
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        SpikingActivation(torch.relu, start=1.0)
    with pytest.raises(ValueError, match="keep the shape"):
        SpikingActivation(nn.Linear(3, 2))(torch.rand(2, 2, 3))
    with pytest.raises(ValueError, match="does not broadcast"):
        SpikingActivation(torch.relu, start=torch.zeros(5))(torch.rand(2, 2, 3))
    with pytest.raises(ValueError, match="state=None"):
        SpikingActivation(torch.relu).scan(torch.rand(2, 2, 3), {"v": torch.rand(3)})
    with pytest.raises(ValueError, match="sequence"):
        SpikingActivation(torch.relu)(torch.rand(2, 3))
    with pytest.raises(TypeError, match="floating point"):
        SpikingActivation(torch.relu)(torch.ones(2, 2, 3, dtype=torch.long))
