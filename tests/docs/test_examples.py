"""The programs in examples/ run."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def cart_pole():
    pytest.importorskip("gymnasium")
    return runpy.run_path(str(EXAMPLES / "cart_pole.py"))


def test_what_is_still_to_come(cart_pole):
    import torch

    ran = torch.tensor([[True, True], [True, False]])
    assert cart_pole["to_come"](ran, discount=0.5).tolist() == [[1.5, 1.0], [1.0, 0.0]]


def test_what_was_streamed_is_run_again_with_the_same_answers(cart_pole):
    import gymnasium
    import torch

    import ranvier as rv

    torch.manual_seed(0)
    net = cart_pole["policy"]()
    seen, actions, ran = cart_pole["play"](net, [gymnasium.make("CartPole-v1") for _ in range(3)], seed=0)
    assert seen.shape[:2] == actions.shape == ran.shape and ran[0].all() and ran[-1].any()
    stream = rv.Stream(net)
    streamed = torch.stack([stream(x_t) for x_t in seen])
    torch.testing.assert_close(streamed, net(seen).detach(), atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_a_spiking_policy_learns_to_balance(cart_pole):
    lengths = cart_pole["main"](updates=22)
    assert max(lengths[-5:]) > 5 * lengths[0] > 5
