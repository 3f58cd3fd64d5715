"""A task with late reward, learned by reward-modulated STDP with eligibility trace: XOR of two cues 20 steps apart."""

import pytest
import torch
from torch import Generator

from ranvier.recipes import DelayedXOR, override
from ranvier.train.engine import new_net
from ranvier.train.folder import Folder

PLAN = DelayedXOR()
PAIRS = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


def test_cues_stand_where_they_should():
    x = override(PLAN, {"max_rate": 1.0}).encode(PAIRS, Generator())
    assert x.shape == (50, 4, 40)
    for sample, (first, second) in enumerate(PAIRS.int().tolist()):
        wanted = torch.zeros(50, 40)
        wanted[0:10, 10 * first : 10 * first + 10] = 1.0
        wanted[20:30, 20 + 10 * second : 30 + 10 * second] = 1.0
        assert torch.equal(x[:, sample], wanted)
    with pytest.raises(ValueError, match="gap"):
        override(PLAN, {"gap": 45})


def test_before_learning_it_knows_nothing_and_every_pair_is_heard():
    net = new_net(PLAN, PAIRS[:1])
    x = PLAN.encode(PAIRS.repeat(8, 1), Generator().manual_seed(0))
    heard = net[1](net[0](x)).sum(0)  # spikes of hidden neurons
    groups = torch.arange(40) % 20 // 10 * 2 + torch.arange(40) // 20  # the pair of bits that each stands for
    for sample, (first, second) in enumerate(PAIRS.int().tolist()):
        mine = heard[sample::4].sum(0)
        assert mine[groups == 2 * first + second].sum() > 0 and mine[groups != 2 * first + second].sum() == 0
    assert torch.equal(net[2].weight[0], net[2].weight[1])


def fit(plan: DelayedXOR, folder: Folder, epochs: int | None = None):
    splits, net = plan.splits(), new_net(plan, PAIRS[:1])
    plan = plan if epochs is None else override(plan, {"epochs": epochs})
    return plan.fit(net, splits.train, splits.validation, folder), net


def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path):
    plan = override(PLAN, {"epochs": 2})
    whole, stopped = Folder.create(tmp_path / "whole"), Folder.create(tmp_path / "stopped")
    rows, _ = fit(plan, whole)
    fit(plan, stopped, 1)
    again, _ = fit(plan, stopped)
    assert whole.weights.read_bytes() == stopped.weights.read_bytes()
    assert [r["expected_reward"] for r in rows] == pytest.approx([r["expected_reward"] for r in again])


@pytest.mark.slow
def test_five_seeds_solve_it(tmp_path):
    curves = []
    for seed in range(5):
        rows, net = fit(override(PLAN, {"seed": seed}), Folder.create(tmp_path / str(seed)))
        test = PLAN.splits().test
        x = PLAN.encode(test.x, Generator().manual_seed(1))
        assert PLAN.metric()(net(x), test.labels)[0] > 0.95
        curves.append([r["train_accuracy"] for r in rows])
    curves = torch.tensor(curves)
    print("\nshare of right answers while learning, in pairs of epochs (10 batches of 32 episodes)")
    for seed, row in enumerate(curves.unfold(1, 2, 2).mean(-1)):  # the table in docs/learning-without-backward.md
        print(f"seed {seed}: " + "  ".join(f"{share:.2f} {'#' * round(20 * share):<20}" for share in row.tolist()))
    assert curves[:, 0].mean() < 0.75
    assert (curves[:, -3:].mean(1) > 0.85).all() and curves[:, -3:].mean() > 0.9
