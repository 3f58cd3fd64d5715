"""The rules over whole sequences against the same rules written step by step, synapse by synapse."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

import ranvier
from ranvier.plasticity import (
    Conv2d,
    Dense,
    Trace,
    accumulate,
    apply,
    discounted,
    draw,
    eligibility,
    fede,
    hebb,
    normalise,
    oja,
    pair,
    rewarded,
    stdp,
    triplet,
    voltage,
)  # fmt: skip

T, B, IN, OUT = 12, 16, 5, 4
GOLDEN = Path(__file__).parents[1] / "golden"


def spikes(*shape: int, seed: int = 0) -> torch.Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < 0.4).double()


PRE, POST = spikes(T, B, IN), spikes(T, B, OUT, seed=1)
DECAY = Trace(rho=0.5).double()  # dyadic: sums are exact in float64, in whatever order
X, Y = DECAY(PRE), DECAY(POST)
SLOW_X, SLOW_Y = Trace(rho=0.75).double()(PRE), Trace(rho=0.75).double()(POST)
W = torch.rand(OUT, IN, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).mul(64).round() / 64
REWARD = spikes(T, B, seed=3) - spikes(T, B, seed=4)
V, V_MINUS, V_PLUS = (spikes(T, B, OUT, seed=s).mul(40).sub(70) for s in (5, 6, 7))


def outer(post: torch.Tensor, pre: torch.Tensor) -> torch.Tensor:
    """[B, OUT, IN] of one step."""
    return post.unsqueeze(-1) * pre.unsqueeze(-2)


def slow_rewarded(decay: float) -> torch.Tensor:
    e, dw = torch.zeros(B, OUT, IN, dtype=torch.float64), torch.zeros(B, OUT, IN, dtype=torch.float64)
    for t in range(T):
        e = eligibility(e, outer(POST[t], X[t]), outer(Y[t], PRE[t]), decay, 1.0, 0.5)
        dw += REWARD[t, :, None, None] * e
    return dw


def slow_triplet() -> torch.Tensor:
    dw = torch.zeros(B, OUT, IN, dtype=torch.float64)
    for t in range(T):
        before_y, before_x = SLOW_Y[t] - POST[t], SLOW_X[t] - PRE[t]
        dw += outer(POST[t] * (0.5 + 0.25 * before_y), X[t]) - outer(Y[t], PRE[t] * (0.125 + 0.5 * before_x))
    return dw


def slow_voltage() -> torch.Tensor:
    up = [outer((V[t] + 45).clamp(min=0) * (V_PLUS[t] + 70).clamp(min=0), X[t]) for t in range(T)]
    down = [outer((V_MINUS[t] + 70).clamp(min=0), PRE[t]) for t in range(T)]
    return sum(up) * 0.5 - sum(down) * 0.25  # type: ignore[return-value]


def slow_pair(up: torch.Tensor | float, down: torch.Tensor | float) -> torch.Tensor:
    return sum(up * outer(POST[t], X[t]) - 0.5 * down * outer(Y[t], PRE[t]) for t in range(T))  # type: ignore


# name: (the rule with a given reduction, its change per sample written step by step [B, OUT, IN])
RULES = {
    "additive": (lambda **k: pair(PRE, POST, X, Y, W, plus=1.0, minus=0.5, **k), lambda: slow_pair(1.0, 1.0)),
    "multiplicative": (
        lambda **k: pair(PRE, POST, X, Y, W, plus=1.0, minus=0.5, bound="multiplicative", **k),
        lambda: slow_pair(1 - W, W),
    ),
    "power": (
        lambda **k: pair(PRE, POST, X, Y, W, plus=1.0, minus=0.5, bound="power", mu=2.0, **k),
        lambda: slow_pair((1 - W) ** 2, W**2),
    ),
    "from spikes, additive": (
        lambda **k: stdp(PRE, POST, W, rho_pre=0.5, rho_post=0.5, plus=1.0, minus=0.5, **k),
        lambda: slow_pair(1.0, 1.0),
    ),
    "from spikes, multiplicative": (
        lambda **k: stdp(PRE, POST, W, rho_pre=0.5, rho_post=0.5, plus=1.0, minus=0.5, bound="multiplicative", **k),
        lambda: slow_pair(1 - W, W),
    ),
    "triplet": (
        lambda **k: triplet(PRE, POST, X, SLOW_X, Y, SLOW_Y, plus=(0.5, 0.25), minus=(0.125, 0.5), **k),
        slow_triplet,
    ),
    "mstdp": (lambda **k: rewarded(PRE, POST, X, Y, REWARD, minus=0.5, **k), lambda: slow_rewarded(0.0)),
    "mstdpet": (lambda **k: rewarded(PRE, POST, X, Y, REWARD, minus=0.5, decay=0.5, **k), lambda: slow_rewarded(0.5)),
    "oja": (
        lambda **k: oja(PRE, POST, W, **k),
        lambda: sum(outer(POST[t], PRE[t]) - POST[t].square().unsqueeze(-1) * W for t in range(T)),
    ),
    "voltage": (
        lambda **k: voltage(PRE, X, V, V_MINUS, V_PLUS, plus=0.5, minus=0.25, theta_minus=-70.0, theta_plus=-45.0, **k),
        slow_voltage,
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_sixteen_at_once_are_sixteen_single_runs_reduced_exactly(name: str):
    rule, slow = RULES[name]
    each = slow()
    assert each.shape == (B, OUT, IN) and each.any()
    assert torch.equal(rule(reduction="none"), each)
    assert torch.equal(rule(reduction="sum"), each.sum(0))
    assert torch.equal(rule(reduction="mean"), each.mean(0))


def test_fede_is_the_mean_of_the_steps_and_skips_empty_ones():
    x = X.clone()
    x[3] = 0.0
    each = torch.zeros(T, OUT, IN, dtype=torch.float64)
    for t in range(T):
        if x[t].max() > 0:
            n, d = (x[t] / x[t].max()).unsqueeze(1), W - 0.5
            each[t] = (torch.exp(-d) * (torch.exp(n) - 0.3) - torch.exp(d) * (torch.exp(1 - n) - 0.3)).mean(0)
    torch.testing.assert_close(fede(x, W, initial=0.5, a=0.3), each.sum(0))
    assert not fede(torch.zeros(3, 1, IN), W.float()).any()
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        fede(x, W, a=2.0)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv1d(2, 3, 3, padding=1), nn.Conv2d(2, 4, 3, stride=2, groups=2), nn.Conv3d(1, 2, 2), nn.Linear(5, 4),
        Dense(5, 4), Dense(5, 4, delay=2), Dense(5, 4, delay=torch.arange(20).view(4, 5) % 4),
        Conv2d(2, 3, 3, delay=1, padding=1),
    ],
    ids=lambda layer: f"{type(layer).__name__}",
)  # fmt: skip
def test_hebb_reaches_every_synapse(layer: nn.Module):
    """A spike of one input and one output, one step: only what connects them is eligible."""
    places = {"Conv1d": (2, 6), "Conv2d": (2, 6, 5), "Conv3d": (1, 4, 4, 4)}.get(type(layer).__name__, (5,))
    layer.requires_grad_(False)
    if getattr(layer, "bias", None) is not None:
        layer.bias.zero_()
    pre = (torch.rand(7, 2, *places) < 0.4).float()
    run = layer if hasattr(layer, "scan") else lambda x: layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])
    y = run(pre)
    post = torch.rand_like(y)
    change = hebb(layer, pre, post, "sum")
    # moving the weight by h along `change` moves sum(post y) by h |change|^2: y is linear in the weight
    before = (post.double() * y.double()).sum()
    layer.weight += 1e-2 * change
    after = (post.double() * run(pre).double()).sum()
    torch.testing.assert_close(after - before, 1e-2 * change.double().square().sum(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(hebb(layer, pre, post, "none").mean(0), hebb(layer, pre, post))


@pytest.mark.parametrize("delay", [0, 2, torch.arange(54).view(3, 2, 3, 3) % 4])
def test_spikes_and_traces_tell_the_same_through_any_synapse(delay):
    layer = Conv2d(2, 3, 3, delay=delay, padding=1)
    pre, post = spikes(9, 2, 2, 4, 4).float(), spikes(9, 2, 3, 4, 4, seed=1).float()
    x, y = Trace(rho=0.7)(pre), Trace(rho=0.8)(post)
    wanted = pair(pre, post, x, y, layer.weight, plus=0.3, minus=0.2, synapse=layer)
    got = stdp(pre, post, layer.weight, rho_pre=0.7, rho_post=0.8, plus=0.3, minus=0.2, synapse=layer)
    torch.testing.assert_close(got, wanted)


def test_discounted_carries_rewards_back():
    r = torch.randn(9, 3, dtype=torch.float64)
    wanted = torch.stack([sum(0.7 ** (s - t) * r[s] for s in range(t, 9)) for t in range(9)])  # type: ignore[misc]
    torch.testing.assert_close(discounted(r, 0.7, torch.zeros(9, 3, 1, dtype=torch.float64)), wanted)
    with pytest.raises(ValueError, match=r"\[T\] or \[T, B\]"):
        discounted(torch.zeros(2, 2, 2), 0.5)


def test_traces():
    z = torch.tensor([True, True, False, True]).view(4, 1, 1)
    kinds = {"additive": [1, 1.5, 0.75, 1.375], "saturating": [1, 1, 0.5, 1], "nearest": [1, 1, 0.5, 1],
             "euler": [0.5, 0.75, 0.375, 0.6875]}  # fmt: skip
    for kind, wanted in kinds.items():
        assert Trace(rho=0.5, kind=kind)(z).flatten().tolist() == wanted
    assert Trace(rho=0.75, kind="euler")(z).flatten().tolist() == [0.25, 0.4375, 0.328125, 0.49609375]
    with pytest.raises(ValueError, match="kind"):
        Trace(kind="other")


def test_delays_lose_nothing():
    x = (torch.rand(20, 2, 5) < 0.6).float()
    delay = torch.randint(0, 4, (4, 5))
    layer = Dense(5, 4, delay=delay)
    wanted = torch.zeros(20, 2, 4)
    for o in range(4):
        for i in range(5):
            d = int(delay[o, i])
            wanted[d:, :, o] += layer.weight[o, i] * x[: 20 - d, :, i]
    torch.testing.assert_close(layer(x), wanted)
    first, state = layer.scan(x[:1])
    rest, _ = layer.scan(x[1:].bool(), state)
    torch.testing.assert_close(torch.cat([first, rest]), wanted)


@pytest.mark.parametrize("dense", [0.6, 1.0])
def test_convolutions_are_torchs_and_their_delays_lose_nothing(dense):
    """Sustained input included: a spike at every step, and a delay for every synapse."""
    x = (torch.rand(12, 2, 2, 6, 5) < dense).float()
    delay = torch.randint(0, 4, (3, 2, 3, 3))
    layer = Conv2d(2, 3, 3, delay=delay, stride=(2, 1), padding=1)
    wanted = torch.zeros(12, 2, 3, 3, 5)
    for d in range(4):
        part = nn.functional.conv2d(x.flatten(0, 1), layer.weight * (delay == d), None, (2, 1), 1).unflatten(0, (12, 2))
        wanted[d:] += part[: 12 - d]
    torch.testing.assert_close(layer(x), wanted)
    first, state = layer.scan(x[:1].bool())
    rest, _ = layer.scan(x[1:], state)
    torch.testing.assert_close(torch.cat([first, rest]), wanted)


@pytest.mark.parametrize("delay", [-1, 1.5, True, torch.tensor([1, 2])])
def test_delays_refused(delay):
    with pytest.raises((ValueError, TypeError), match="delay"):
        Dense(5, 4, delay=delay)


def test_weights_are_written_within_bounds_and_totals():
    layer = nn.Linear(3, 2)
    apply(layer.weight, torch.tensor([[9.0, -9.0, 3.0], [6.0, 9.0, -9.0]]), lr=0.5, bounds=(0.0, None), total=2.0)
    assert layer.weight.min() >= 0 and layer.weight.grad is None
    torch.testing.assert_close(layer.weight.detach().sum(1), torch.tensor([2.0, 2.0]))
    connection = Dense(3, 2, total=1.5, bounds=(0.0, 1.0))
    connection.change(torch.rand(2, 3))
    torch.testing.assert_close(connection.weight.sum(1), torch.tensor([1.5, 1.5]))
    empty = torch.zeros(2, 3)
    normalise(empty, 1.0)
    assert not empty.any()
    with pytest.raises(ValueError, match="reduction"):
        apply(layer.weight, torch.zeros(4, 2, 3))


def test_membranes_of_a_run_decide_by_the_voltage_rule():
    """Clopath: the synapse whose spikes fall on a high membrane grows, the one on a membrane a little up shrinks."""
    x = torch.zeros(60, 1, 3)
    x[5::10, :, 0] = x[9::10, :, 1] = 1.0
    drive = torch.zeros(60, 1, 1)
    drive[5::10] = 40.0  # mV: the membrane jumps when input 0 spikes, and is nearly back at rest when input 1 does
    v = ranvier.LI(beta=0.6)(drive) - 70.0
    late, early = (Trace(rho=rho, kind="euler")(torch.cat([0 * v[:1], v[:-1] + 70.0])) - 70.0 for rho in (0.9, 0.7))
    change = voltage(x, Trace(rho=0.4)(x), v, late, early, theta_plus=-55.0)
    assert change[0, 0] > 0 > change[0, 1] and change[0, 2] == 0


def test_any_optimiser_takes_the_step():
    layer, change = nn.Conv2d(1, 2, 3), torch.randn(2, 1, 3, 3)
    before = layer.weight.detach().clone()
    accumulate(layer.weight, change / 2)
    accumulate(layer.weight, change / 2)
    torch.optim.SGD([layer.weight], lr=0.1).step()
    torch.testing.assert_close(layer.weight.detach(), before + 0.1 * change)


def test_distributions_by_name():
    weight = torch.empty(30, 40)
    for name in ("uniform", "neuron_scaled_uniform", "normal", "xavier_uniform", "xavier_normal", "kaiming_uniform",
                 "kaiming_normal", "constant"):  # fmt: skip
        draw(weight.fill_(math.nan), name)
        assert weight.isfinite().all()
    with pytest.raises(ValueError, match="distribution"):
        draw(weight, "cauchy")


@pytest.mark.parametrize(
    "case", json.loads((GOLDEN / "sj_learning.json").read_text())["cases"], ids=lambda c: c["learner"]
)
def test_spikingjelly_learners(case: dict):
    """SpikingJelly 2.0.0: STDPLearner, step by step, and MSTDPLearner, which rewards the step before."""
    x, z, w = (torch.tensor(case[k]) for k in ("x", "out_spikes", "weight"))
    taus, wanted = (case["params"]["tau_pre"], case["params"]["tau_post"]), torch.tensor(case["delta_w"])
    if case["learner"] == "MSTDPLearner":
        pre, post = (Trace(rho=math.exp(-1 / tau))(s) for tau, s in zip(taus, (x, z), strict=True))
        late = torch.tensor([*case["reward"][1:], 0.0])
        torch.testing.assert_close(
            w * rewarded(x, z, pre, post, late, reduction="sum"), wanted.sum(0), rtol=1e-5, atol=1e-6
        )
        return
    f = (lambda w: w) if case["params"]["f"] == "identity" else (lambda w: w.clamp(-1, 1))
    pre, post = (Trace(rho=1 - 1 / tau)(s) for tau, s in zip(taus, (x, z), strict=True))
    for t in range(len(x)):
        now = (a[t : t + 1] for a in (x, z, pre, post))
        got = pair(*now, w, plus=1.0, minus=1.0, bound=lambda w: (f(w), f(w)), reduction="sum")
        torch.testing.assert_close(got, wanted[t], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(pre[-1], torch.tensor(case["trace_pre"]), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(post[-1], torch.tensor(case["trace_post"]), rtol=1e-5, atol=1e-6)


def test_a_change_that_cannot_be_applied_leaves_the_weight():
    weight = torch.ones(2, 2)
    with pytest.raises(ValueError, match="NaN or infinite"):
        ranvier.plasticity.apply(weight, torch.full((2, 2), torch.nan))
    with pytest.raises(ValueError, match="low <= high"):
        ranvier.plasticity.apply(weight, torch.zeros(2, 2), bounds=(1.0, 0.0))
    for lr in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match="lr must be a finite number"):
            ranvier.plasticity.apply(weight, torch.ones(2, 2), lr)
    assert bool((weight == 1).all())
