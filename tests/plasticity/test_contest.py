"""The compiled contest against the same network said with the public rules, and the draw of its spikes."""

import pytest
import torch

from ranvier.plasticity import Contest, Trace, apply, hebb, name, normalise, poisson, vote


def reference(net: Contest, chance: torch.Tensor, steps: int, seed: int) -> torch.Tensor:
    """The contest, tick by tick, in torch."""
    beta, threshold, reset, refractory, inhibition, rise = net.constants
    plus, minus = net.rates
    neurons, counts = len(net.theta), torch.zeros(len(chance), len(net.theta), dtype=torch.int32)
    for b in range(len(chance)):
        spikes = poisson(chance[b : b + 1], steps, seed, first=b)  # [T, 1, I]
        heard = Trace(rho=net.rho, kind="nearest")(spikes)
        v, wait, spoke = torch.zeros(neurons), torch.zeros(neurons), torch.zeros(1, 1, neurons)
        for t in range(steps):
            x, trace = spikes[t : t + 1], heard[t : t + 1]
            v = v * beta + (wait == 0) * (net.weight @ x[0, 0])
            wait = (wait - 1).clamp(min=0)
            spoke = spoke * net.rho
            apply(net.weight, hebb(None, x, spoke), -minus, bounds=(0, 1))
            above = v - threshold - net.theta
            if above.max() >= 0:
                winner = int(above.argmax())
                v = v - inhibition
                v[winner], wait[winner], spoke[..., winner] = reset, refractory, 1.0
                z = torch.zeros(1, 1, neurons)
                z[..., winner] = 1.0
                apply(net.weight, hebb(None, trace, z), plus, bounds=(0, 1))
                net.theta[winner] += rise
                counts[b, winner] += 1
        moved = counts[b] > 0
        rows = net.weight[moved]
        if len(rows):
            normalise(rows, net.total)
        net.weight[moved] = rows
        net.theta *= net.eta**steps
    return counts


def test_agrees_with_the_rules():
    chance = torch.rand(8, 30, generator=torch.Generator().manual_seed(3)) * 0.3
    kwargs = {"threshold": 6.0, "reset": 1.0, "inhibition": 8.0, "plus": 0.02, "minus": 1e-3}
    fast, slow = Contest(30, 7, **kwargs), Contest(30, 7, **kwargs)
    counts = fast.learn(chance, 60, seed=5)
    assert counts.sum() > 20
    assert torch.equal(counts, reference(slow, chance, 60, seed=5))
    torch.testing.assert_close(fast.weight, slow.weight, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(fast.theta, slow.theta, rtol=1e-5, atol=1e-6)


def test_forward_learns_nothing_and_does_not_mix_samples():
    chance, net = torch.rand(40, 30) * 0.3, Contest(30, 7, threshold=6.0, reset=1.0)
    weight = net.weight.clone()
    whole = net(chance, 60)
    assert torch.equal(net.weight, weight)
    assert torch.equal(whole, net(chance, 60))
    assert torch.equal(whole[17:], net(chance[17:], 60, first=17))


def test_learning_in_pieces_is_learning_at_once():
    chance = torch.rand(10, 30) * 0.3
    one, two = Contest(30, 7, threshold=6.0, reset=1.0), Contest(30, 7, threshold=6.0, reset=1.0)
    one.learn(chance, 60)
    two.learn(chance[:4], 60)
    two.learn(chance[4:], 60, first=4)
    assert torch.equal(one.weight, two.weight) and torch.equal(one.theta, two.theta)


def test_weights_stay_in_bounds_and_normalised():
    net = Contest(30, 4, threshold=6.0, reset=1.0, plus=0.5)
    net.learn(torch.rand(30, 30) * 0.3, 60)
    assert net.weight.min() >= 0
    torch.testing.assert_close(net.weight.sum(1), torch.full((4,), net.total), rtol=1e-4, atol=0)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
def test_poisson_has_the_statistics_of_independent_ticks(rate: float):
    """Fano factor of the counts: 1 - p for independent ticks (1 in the limit of short ticks)."""
    counts = poisson(torch.full((400, 50), rate), 200, seed=1).sum(0)
    assert counts.mean() == pytest.approx(200 * rate, rel=0.02)
    assert (counts.var() / counts.mean()).item() == pytest.approx(1 - rate, rel=0.05)


def test_names_and_votes():
    counts = torch.tensor([[4, 0, 1], [0, 3, 0]])
    names = name(counts, torch.tensor([1, 0]), 3)
    assert names.tolist() == [1, 0, 1]
    assert vote(counts, names, 3).argmax(1).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Contest(4, 2)(torch.rand(3, 5)), "4 inputs"),
        (lambda: Contest(4, 2)(torch.rand(3, 4) + 1), r"in \[0, 1\]"),
        (lambda: Contest(4, 2)(torch.rand(4)), r"\[B, I\]"),
        (lambda: Contest(4, 2, beta=1.5), "beta"),
        (lambda: Contest(4, 2, reset=20.0), "reset"),
        (lambda: Contest(4, 2, refractory=0.5), "whole ticks"),
    ],
)
def test_refuses(call, says: str):
    with pytest.raises(ValueError, match=says):
        call()


@pytest.mark.slow
def test_digits_without_labels():
    """>= 85 % of the test digits right with 100 neurons, labels used only to name the neurons."""
    from ranvier import data

    splits, net = data.digits(), Contest(64, 100, threshold=12.0, reset=0.0, inhibition=30.0)
    train, test = (part.x.flatten(1) * 0.25 for part in (splits.train, splits.test))
    for epoch in range(10):
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(epoch))
        net.learn(train[order], 100, rate=1 - epoch / 10, first=epoch * len(train))
    names = name(net(train, 100, seed=1), splits.train.labels, 10)
    right = vote(net(test, 100, seed=2), names, 10).argmax(1) == splits.test.labels
    assert right.float().mean() >= 0.85
