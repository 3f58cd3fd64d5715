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


@pytest.fixture
def heidelberg():
    return runpy.run_path(str(EXAMPLES / "heidelberg_digits.py"))


def test_synthetic_digits_are_written_as_shd(heidelberg, tmp_path):
    pytest.importorskip("h5py")
    import numpy as np

    from ranvier.data.heidelberg import read_shd, read_speakers

    words = [heidelberg["Word"](label, speaker, 0) for label, speaker in ((3, 1), (19, 0))]
    heidelberg["write"](tmp_path / "a.h5", words, [(np.array([0.25, 0.5]), np.array([699, 0])), (np.array([]),) * 2])
    first, second = read_shd(tmp_path / "a.h5")
    assert first.times.tolist() == [0.25, 0.5] and first.places.tolist() == [699, 0]
    assert [first.label, second.label] == [3, 19] and not len(second.times)
    assert read_speakers(tmp_path / "a.h5").tolist() == [1, 0]


def test_nerve_fibres_rest_after_a_spike(heidelberg):
    import numpy as np

    blocked, p = 5, 0.1
    arrived = heidelberg["fibres"](np.full((3, 20_000), p), 40, blocked, 0)
    assert abs(arrived.mean() / 40 - p / (1 + blocked * p)) < 1e-3  # a fibre spikes every blocked + 1 / p steps
    assert np.convolve(arrived[0], np.ones(blocked + 1), "valid").max() <= 40
    assert np.array_equal(heidelberg["fibres"](np.ones((1, 12)), 40, blocked, 0)[0], [40, 0, 0, 0, 0, 0] * 2)
    assert not heidelberg["fibres"](np.zeros((1, 100)), 40, blocked, 0).any()


def test_what_is_missing_is_told_with_its_command(heidelberg, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(heidelberg["missing"].__globals__, "find_spec", lambda name: name == "h5py" or None)
    assert heidelberg["missing"]() == ["apt-get install espeak-ng", "pip install lauscher==1.0.1"]
