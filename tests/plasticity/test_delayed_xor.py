"""A task with late reward, learned by reward-modulated STDP with eligibility trace: XOR of two cues 20 ticks apart."""

import pytest
import torch
from torch.nn import functional

import ranvier
from ranvier.plasticity import Dense, Lateral, Trace, apply, rewarded

STEPS, GAP, BATCH, HIDDEN = 50, 20, 32, 40


def cues(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Spikes [T, B, 40]: 20 cells for each of two bits, shown at ticks 0 to 9 and 20 to 29; and the bits' XOR [B]."""
    bits = torch.randint(0, 2, (BATCH, 2), generator=generator)
    groups = functional.one_hot(bits, 2).flatten(1).repeat_interleave(10, 1)
    x = (torch.rand(STEPS, BATCH, 40, generator=generator) < 0.6) * groups
    x[10:, :, :20], x[:GAP, :, 20:], x[GAP + 10 :] = 0, 0, 0
    return x.float(), (bits[:, 0] != bits[:, 1]).long()


def learn(seed: int, batches: int = 60) -> list[float]:
    """The share of right answers in each batch of 32 episodes; reward comes once, at the last tick."""
    generator = torch.Generator().manual_seed(seed)
    # a hidden neuron hears one cell of the first cue, late by 20 ticks, and one of the second: both make it spike
    hidden = Dense(40, HIDDEN, delay=torch.where(torch.arange(40) < 20, GAP, 0).expand(HIDDEN, 40))
    hidden.weight.zero_()
    n = torch.arange(HIDDEN)  # ten neurons for each pair of bits
    hidden.weight[n, n % 20] = hidden.weight[n, 20 + n // 20 * 10 + n % 10] = 0.7
    both, choose = ranvier.LIF(beta=0.2), ranvier.Recurrent(ranvier.LIF(beta=0.95, reset="zero"), Lateral(10.0))
    weight, trace = torch.full((2, HIDDEN), 1.5 / HIDDEN), Trace(rho=0.9)
    curve, expected = [], 0.0
    for _ in range(batches):
        x, wanted = cues(generator)
        h = both(hidden(x))
        explore = 0.1 * torch.randn(STEPS, BATCH, 2, generator=generator)
        explore[:GAP], explore[GAP + 15 :] = 0, 0
        z = choose(functional.linear(h, weight) + explore)
        count = z.sum(0)
        right = (count.argmax(1) == wanted) & (count[:, 0] != count[:, 1])
        reward = torch.zeros(STEPS, BATCH)
        reward[-1] = right * 2.0 - 1.0 - expected
        expected += 0.1 * (right.float().mean().item() * 2 - 1 - expected)
        change = rewarded(h, z, trace(h), trace(z), reward, minus=0.0, decay=0.95)
        apply(weight, change, lr=0.02, bounds=(0.0, None), total=1.5)
        curve.append(right.float().mean().item())
    return curve


@pytest.mark.slow
def test_five_seeds_solve_delayed_xor():
    curves = torch.tensor([learn(seed) for seed in range(5)])
    print("\nshare of right answers by tens of batches")  # the table in docs/learning-without-backward.md
    for seed, row in enumerate(curves.unfold(1, 10, 10).mean(-1)):
        print(f"seed {seed}: " + "  ".join(f"{share:.2f} {'#' * round(20 * share):<20}" for share in row.tolist()))
    assert curves[:, :3].mean() < 0.75
    assert (curves[:, -15:].mean(1) > 0.85).all()
    assert curves[:, -15:].mean() > 0.9
