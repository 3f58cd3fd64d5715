"""Store and recall: what is shown, and that it is learned forward in time."""

import pytest
import torch
from torch import Generator

import ranvier as rv
from ranvier.recipes import RECIPES, StoreRecall


def test_the_stored_bit_is_the_label_and_recall_comes_last():
    recipe = StoreRecall()
    train = recipe.splits().train
    slot = train.x[:, -1].long()
    assert torch.equal(train.x[torch.arange(640), slot].long(), train.labels) and slot.max() == recipe.slots - 2
    x = recipe.encode(train.x[:50], Generator().manual_seed(0))
    assert x.shape == (120, 50, 40) and set(x.unique().tolist()) == {0.0, 1.0}
    shown = x.unflatten(0, (6, 20)).unflatten(3, (4, 10)).sum((1, 4))  # [slots, B, groups]
    assert (shown[-1, :, 3] > 0).all() and (shown[:-1, :, 3] == 0).all() and (shown[-1, :, :2] == 0).all()
    assert torch.equal(shown[:, :, 2].argmax(0), slot[:50])
    with pytest.raises(ValueError, match="slots \\* shown"):
        StoreRecall(steps=100)
    with pytest.raises(ValueError, match="must be one of"):
        StoreRecall(gradient="exact").build()


@pytest.mark.slow
@pytest.mark.parametrize("feedback", ["symmetric", "random"])
def test_eprop_remembers_over_a_hundred_steps(feedback, tmp_path):
    from rich.console import Console

    result = rv.train.run("store-recall", tmp_path / "run", epochs=20, feedback=feedback, console=Console(quiet=True))
    assert result.accuracy > 0.95


@pytest.mark.slow
def test_digits_by_eprop(tmp_path):
    from rich.console import Console

    assert "digits" in RECIPES
    result = rv.train.run("digits", tmp_path / "run", gradient="eprop", console=Console(quiet=True))
    assert result.accuracy > 0.97
