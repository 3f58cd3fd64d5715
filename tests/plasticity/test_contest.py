"""The compiled contest against the same network said with the public rules."""

import pytest
import torch

from ranvier import data, record, scan
from ranvier.plasticity import Contest, Trace, apply, hebb, name, normalise, votes


def reference(net: Contest, spikes: torch.Tensor) -> torch.Tensor:
    """The contest, step by step, in torch."""
    beta, threshold, reset, refractory, inhibition, rise = net.constants
    plus, minus = net.rates
    (steps, batch, _), neurons = spikes.shape, len(net.theta)
    z, heard = torch.zeros(steps, batch, neurons), Trace(rho=net.rho, kind="nearest")(spikes)
    for b in range(batch):
        v, wait, spoke = torch.zeros(neurons), torch.zeros(neurons), torch.zeros(1, 1, neurons)
        for t in range(steps):
            x, trace, now = spikes[t, b].view(1, 1, -1), heard[t, b].view(1, 1, -1), z[t, b].view(1, 1, -1)
            v = v * beta + (wait == 0) * (net.weight @ x[0, 0])
            wait = (wait - 1).clamp(min=0)
            spoke = spoke * net.rho
            apply(net.weight, hebb(None, x, spoke), -minus, bounds=(0, 1))
            above = v - threshold - net.theta
            if above.max() >= 0:
                winner = int(above.argmax())
                v = v - inhibition
                v[winner], wait[winner], spoke[..., winner], now[..., winner] = reset, refractory, 1.0, 1.0
                apply(net.weight, hebb(None, trace, now), plus, bounds=(0, 1))
                net.theta[winner] += rise
        moved = z[:, b].sum(0) > 0
        rows = net.weight[moved]
        if len(rows):
            normalise(rows, net.total)
        net.weight[moved] = rows
        net.theta *= net.eta**steps
    return z


def spikes(batch: int, steps: int = 60, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return data.rate(torch.rand(batch, 30, generator=generator), steps, 0.3, generator=generator)


def small(**kwargs: float) -> Contest:
    return Contest(30, 7, **{"threshold": 6.0, "reset": 1.0, "inhibition": 8.0, **kwargs})


def test_agrees_with_the_rules():
    fast, slow = small(plus=0.02, minus=1e-3), small(plus=0.02, minus=1e-3)
    x = spikes(8)
    z = fast.learn(x)
    assert z.sum() > 20
    assert torch.equal(z, reference(slow, x))
    torch.testing.assert_close(fast.weight, slow.weight, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(fast.theta, slow.theta, rtol=1e-5, atol=1e-6)


def test_listening_learns_nothing_and_does_not_mix_samples():
    x, net = spikes(40), small()
    weight, theta = net.weight.clone(), net.theta.clone()
    whole = net(x)
    assert torch.equal(net.weight, weight) and torch.equal(net.theta, theta)
    assert torch.equal(whole, net(x))
    assert torch.equal(whole[:, 17:], net(x[:, 17:]))


def test_chunks_join():
    x, net = spikes(4), small()
    first, state = scan(net, x[:25])
    second, _ = scan(net, x[25:], state)
    assert torch.equal(torch.cat([first, second]), net(x))
    assert torch.equal(record(net, x, "z")[""], net(x))


def test_learning_in_pieces_is_learning_at_once():
    x, one, two = spikes(10), small(), small()
    one.learn(x)
    two.learn(x[:, :4])
    two.learn(x[:, 4:])
    assert torch.equal(one.weight, two.weight) and torch.equal(one.theta, two.theta)


def test_a_second_episode_after_a_fresh_start_equals_the_first():
    x, one, two = spikes(10), small(), small()
    assert torch.equal(one.learn(x), two.learn(x))


def test_weights_stay_in_bounds_and_normalised():
    net = small(plus=0.5)
    net.learn(spikes(30))
    assert net.weight.min() >= 0
    torch.testing.assert_close(net.weight.sum(1), torch.full((7,), net.total), rtol=1e-4, atol=0)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
def test_rate_encoder_is_poisson(rate: float):
    """Fano factor of the counts: 1 - p for independent steps, which is 1 in the limit of short steps."""
    counts = data.rate(torch.full((400, 50), rate), 200, generator=torch.Generator().manual_seed(1)).sum(0)
    assert counts.mean().item() == pytest.approx(200 * rate, rel=0.02)
    assert (counts.var() / counts.mean()).item() == pytest.approx(1 - rate, rel=0.05)


def test_names_and_votes():
    counts = torch.tensor([[4, 0, 1], [0, 3, 0]])
    names = name(counts, torch.tensor([1, 0]), 3)
    assert names.tolist() == [1, 0, 1]
    assert (counts.float() @ votes(names, 3).T).argmax(1).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Contest(4, 2)(torch.rand(3, 1, 5)), r"\[T, B, 4\]"),
        (lambda: Contest(4, 2)(torch.rand(3, 4)), r"\[T, B"),
        (lambda: Contest(4, 2).scan(torch.rand(3, 2, 4), {"v": torch.zeros(1, 2)}), "state=None"),
        (lambda: Contest(4, 2, beta=1.5), "beta"),
        (lambda: Contest(4, 2, reset=20.0), "reset"),
        (lambda: Contest(4, 2, refractory=0.5), "whole steps"),
    ],
)
def test_refuses(call, says: str):
    with pytest.raises(ValueError, match=says):
        call()


@pytest.mark.slow
def test_digits_without_labels():
    """>= 85 % of the test digits right with 100 neurons, labels used only to name the neurons."""
    splits, net = data.digits(), Contest(64, 100, threshold=12.0, reset=0.0, inhibition=30.0)
    generator = torch.Generator().manual_seed(0)
    train, test = (part.x.flatten(1) for part in (splits.train, splits.test))
    for epoch in range(10):
        order = torch.randperm(len(train), generator=generator)
        net.learn(data.rate(train[order], 100, 0.25, generator), rate=1 - epoch / 10)
    names = name(net(data.rate(train, 100, 0.25, generator)).sum(0), splits.train.labels, 10)
    counts = net(data.rate(test, 100, 0.25, generator)).sum(0)
    assert ((counts @ votes(names, 10).T).argmax(1) == splits.test.labels).float().mean() >= 0.85
