"""Norms, dropout, delays, attention, returning layers, voting, initialisation, ready-made nets."""

import copy

import pytest
import torch
from torch import nn

import ranvier as rv


def sequence(*shape: int) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(*shape)


@pytest.mark.parametrize(
    ("make", "shape", "says"),
    [
        (lambda: rv.ThresholdBatchNorm2d(3), (4, 2, 3), r"\[T, B, C, H, W\]"),
        (lambda: rv.TemporalEffectiveBatchNorm1d(3, steps=4), (4, 2, 3, 4, 4), r"\[T, B, C\] or"),
        (lambda: rv.TemporalEffectiveBatchNorm1d(3, steps=3), (4, 2, 3), "reaches step 4"),
        (lambda: rv.BatchNormThroughTime1d(3, steps=3), (4, 2, 3), "reaches step 4"),
        (lambda: rv.BatchNormThroughTime3d(3, steps=4), (4, 2, 3, 4, 4), r"\[T, B, C, D, H, W\]"),
        (lambda: rv.NeuNorm(2, 3, 3), (4, 1, 2, 4, 4), r"\[T, B, 2, 3, 3\]"),
        (lambda: rv.Dropout(1.0), (), r"\[0, 1\)"),
        (lambda: rv.Dropout2d(-0.1), (), r"\[0, 1\)"),
        (lambda: rv.DropConnectLinear(3, 2, p=1.0), (), r"\[0, 1\)"),
        (lambda: rv.DropConnectLinear(3, 2, act=torch.tanh), (), "give samples"),
        (lambda: rv.DropConnectLinear(3, 2), (4, 2, 5), r"\[T, B, 3\]"),
        (lambda: rv.Delay(-1), (), "not negative"),
        (lambda: rv.Delay(torch.tensor([1.5])), (), "whole numbers"),
        (lambda: rv.LearnedDelay(3, longest=2, delay=3.0), (), "delay must lie between 0 and 2, got 3"),
        (lambda: rv.LearnedDelay(3, kernel="cubic"), (), "gaussian"),
        (lambda: rv.DelayedLinear(3, 2), (4, 2, 5), r"\[T, B, 3\]"),
        (lambda: rv.GroupMean(3), (4, 2, 10), "multiple of votes=3"),
        (lambda: rv.GroupMean(0), (), "at least 1"),
        (lambda: rv.SpikingSelfAttention(8, heads=3), (), "multiple of heads"),
        (lambda: rv.SpikingSelfAttention(8, heads=2), (4, 2, 8), r"\[T, B, 8, L\]"),
        (lambda: rv.QKAttention(8, kind="both"), (), "token"),
        (lambda: rv.SpikeDrivenSelfAttention(8, heads=2), (4, 2, 8, 5), r"\[T, B, 8, H, W\]"),
        (lambda: rv.TemporalAttention(4, reduction=5), (), "between 1 and 4"),
        (lambda: rv.TemporalAttention(4), (5, 2, 3), r"\[4, B"),
        (lambda: rv.MultiDimensionalAttention(4, 8, axes=()), (), "axes"),
        (lambda: rv.MultiDimensionalAttention(4, 8, kernel=5), (), "3 or 7"),
        (lambda: rv.MultiDimensionalAttention(4, 8), (4, 2, 3, 5, 5), r"\[T, B, 8, H, W\]"),
        (lambda: rv.LinearRecurrent(rv.LIF(), 3, 2), (4, 2, 3), "got a step of"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_layout(make, shape, says):
    with pytest.raises(ValueError, match=says):
        make()(sequence(*shape))


def test_threshold_norm_begins_at_the_threshold():
    layer = rv.ThresholdBatchNorm2d(2, threshold=0.5, alpha=2.0)
    y = layer(sequence(4, 3, 2, 5, 5))
    torch.testing.assert_close(y.transpose(0, 2).flatten(1).std(1), torch.ones(2), rtol=0.05, atol=0)
    with pytest.raises(ValueError, match="affine=True"):
        rv.ThresholdBatchNorm1d(2, affine=False)


@pytest.mark.parametrize("p", [0.2, 0.7])
def test_dropout_drops_its_share_and_keeps_the_mean(p):
    y = rv.Dropout(p)(torch.ones(2, 40, 500))
    assert y.unique().tolist() == pytest.approx([0.0, 1 / (1 - p)])
    assert (y == 0).float().mean().item() == pytest.approx(p, abs=0.02)


def test_dropout_hands_its_mask_over():
    layer, x = rv.Dropout(0.5), torch.ones(6, 4, 50)
    first, state = rv.scan(layer, x[:2])
    second, _ = rv.scan(layer, x[2:], state)
    assert torch.equal(first[0], second[-1])
    assert not torch.equal(layer(x), layer(x))
    assert torch.equal(layer.eval()(x), x)
    with pytest.raises(ValueError, match="state=None"):
        rv.scan(layer.train(), x[:, :2], state)


def test_drop_connect_is_exact_and_differentiable_in_evaluation():
    layer, x = rv.DropConnectLinear(6, 4, p=0.3).eval(), sequence(3, 2, 6)
    sampled = rv.DropConnectLinear(6, 4, p=0.3, samples=40_000).eval()
    sampled.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x), sampled(x), rtol=0.05, atol=0.01)
    for p, given in ((0.0, x), (0.3, torch.zeros_like(x))):
        plain = rv.DropConnectLinear(6, 4, p=p, bias=False).eval()
        given = given.clone().requires_grad_()
        y = plain(given)
        y.sum().backward()
        assert bool(torch.isfinite(given.grad).all()) and bool(torch.isfinite(plain.weight.grad).all())
        torch.testing.assert_close(y, torch.relu(given @ plain.weight.t()), rtol=1e-5, atol=1e-6)
    double = rv.DropConnectLinear(3, 2, p=0.4).double().eval()
    assert torch.autograd.gradcheck(double, (torch.rand(2, 1, 3, dtype=torch.float64, requires_grad=True),))


def test_delays_of_their_own():
    x = torch.arange(1.0, 6.0).view(5, 1, 1).expand(5, 2, 3)
    y = rv.Delay(torch.tensor([0, 1, 3]))(x)
    assert y[:, 0].t().tolist() == [[1, 2, 3, 4, 5], [0, 1, 2, 3, 4], [0, 0, 0, 1, 2]]


@pytest.mark.parametrize("kernel", ["interpolated", "gaussian"])
def test_a_delay_is_learned(kernel):
    torch.manual_seed(0)
    x = torch.randn(60, 4, 1).cumsum(0) / 5  # smooth enough to show the way
    wanted = rv.Delay(4)(x)
    layer = rv.LearnedDelay(1, longest=8, kernel=kernel, width=1.0, delay=1.3)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.1)
    for _ in range(120):
        optimiser.zero_grad()
        ((layer(x) - wanted) ** 2).mean().backward()
        optimiser.step()
    assert layer.whole().item() == 4
    assert torch.equal(layer.rounded()(x), wanted)


def test_delayed_linear_with_whole_delays_is_a_sum_of_delays():
    layer, x = rv.DelayedLinear(3, 2, longest=4).round_(), sequence(7, 2, 3)
    delays = layer.whole()
    y = layer.bias + sum(
        layer.weight[:, i] * torch.stack([rv.Delay(int(d))(x[..., i : i + 1])[..., 0] for d in delays[:, i]], -1)
        for i in range(3)
    )
    torch.testing.assert_close(layer(x), y)
    assert torch.autograd.gradcheck(
        rv.DelayedLinear(2, 2, longest=2).double(), (torch.rand(3, 1, 2, dtype=torch.float64, requires_grad=True),)
    )


def test_returning_layers_take_modules_with_memory():
    inner = rv.Sequential(nn.Linear(3, 3), rv.LIF())
    layer, x = rv.ElementwiseRecurrent(inner, lambda y, x_t: x_t - y), sequence(6, 2, 3)
    y, state = rv.scan(layer, x)
    first, half = rv.scan(layer, x[:3])
    second, end = rv.scan(layer, x[3:], half)
    torch.testing.assert_close(torch.cat([first, second]), y)
    torch.testing.assert_close(end, state)
    with pytest.raises(ValueError, match="one shape"):
        rv.ElementwiseRecurrent(nn.Linear(3, 2))(x)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: rv.SpikingSelfAttention(4, heads=2), (5, 2, 4, 3)),
        (lambda: rv.QKAttention(4, heads=2), (5, 2, 4, 3)),
        (lambda: rv.QKAttention(4, heads=2, kind="channel"), (5, 2, 4, 3)),
        (lambda: rv.SpikeDrivenSelfAttention(4, heads=2), (5, 2, 4, 3, 3)),
    ],
)
def test_spiking_attention_streams(layer, shape):
    net, x = layer().eval(), 2 * sequence(*shape)
    y, after = rv.scan(net, x)
    steps, state = [], None
    for x_t in x:
        y_t, state = rv.step(net, x_t, state)
        steps.append(y_t)
    torch.testing.assert_close(torch.stack(steps), y)
    torch.testing.assert_close(state, after)
    net.train()(x).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_attention_weights_steps_between_0_and_1():
    x = sequence(4, 2, 8, 5, 5)
    for layer in (rv.TemporalAttention(4, reduction=2), rv.MultiDimensionalAttention(4, 8)):
        y = layer(x)
        assert y.shape == x.shape and bool((y <= x).all()) and bool((y >= 0).all())


def test_standardised_weights_give_unit_variance():
    torch.manual_seed(0)
    y = rv.StandardisedLinear(200, 50, bias=False)(torch.randn(500, 200))
    assert y.std().item() == pytest.approx(1.0, rel=0.05)
    assert rv.StandardisedConv2d(3, 4, 3, gain=False).gain is None


def test_fluctuation_driven_weights_reach_their_aim():
    torch.manual_seed(0)
    linear = nn.Linear(400, 200, bias=False)
    rv.init.fluctuation_driven_(linear.weight, rate=0.05, beta=0.9, alpha=0.8, xi=2.0)
    x = (torch.rand(200, 2, 400) < 0.05).float()
    v = rv.CubaLI(alpha=0.8, beta=0.9)(linear(x))[60:]
    assert v.std((0, 1)).mean().item() == pytest.approx(0.5, rel=0.15)  # of each neuron over time


def test_a_calibrated_deep_net_is_alive():
    torch.manual_seed(0)
    layers = [m for _ in range(6) for m in (nn.Linear(40, 40), rv.LIF(beta=0.5))]
    net, x = rv.Sequential(*layers), sequence(10, 8, 40)
    rates = rv.init.calibrate_(net, x)
    assert len(rates) == 6 and all(0.02 < r < 0.9 for r in rates.values())
    net(x).sum().backward()
    assert net[0].weight.grad.abs().max() > 0


def test_calibration_drives_recurrent_neurons_too():
    torch.manual_seed(0)
    net = rv.Sequential(nn.Linear(10, 30), rv.Recurrent(rv.LIF(), 30), nn.Linear(30, 20), rv.LIF(), nn.Linear(20, 3))
    back = net[1].feedback.weight.clone()
    rates = rv.init.calibrate_(net, 0.1 * sequence(20, 8, 10))
    assert list(rates) == ["1", "3"] and all(0.02 < r < 0.9 for r in rates.values())
    assert torch.equal(net[1].feedback.weight, back)


@pytest.mark.parametrize("kind", ["conv", "attention"])
def test_recipe_net_under_compile(kind):
    from ranvier.recipes import RECIPES, named, override

    torch.manual_seed(0)
    small = {"net.kind": kind, "net.channels": 4, "net.heads": 2, "net.positions": False}
    eager = override(named(RECIPES, "fashion-mnist"), small).build()
    other = copy.deepcopy(eager)
    torch._dynamo.reset()
    compiled, x = torch.compile(other, fullgraph=True, backend="aot_eager"), sequence(3, 2, 1, 8, 8)
    found = [net(x) for net in (eager, compiled)]
    for y in found:
        y.square().sum().backward()
    torch.testing.assert_close(found[1], found[0])
    for p, q in zip(other.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-4)
