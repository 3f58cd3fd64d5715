"""Recipes for recordings of different length."""

import pickle

import pytest
import torch

import ranvier as rv
from ranvier.recipes import JapaneseVowels, Smartwatch, SpokenDigits, override
from ranvier.recipes.signal import NEURONS, spread


def recordings(lengths=(29, 7, 12), features=12):
    x = torch.randn(len(lengths), 29, features, generator=torch.Generator().manual_seed(0))
    for b, n in enumerate(lengths):
        x[b, n:] = torch.nan
    return x


@pytest.mark.parametrize("neuron", NEURONS)
def test_padding_changes_no_answer(neuron):
    recipe = override(JapaneseVowels(), {"net.hidden": 9, "net.neuron": neuron})
    torch.manual_seed(0)
    net, x = recipe.build().eval(), recordings()
    with rv.backend("reference"):
        whole = net(recipe.encode(x, torch.Generator()))
        alone = net(recipe.encode(x[1:2, :7], torch.Generator()))
    assert whole.shape == (29, 3, 9)
    torch.testing.assert_close(whole[:7, 1:2], alone)
    assert whole[7:, 1].isnan().all()
    labels = torch.tensor([0, 1, 2])
    score, predictions = recipe.metric()(whole, labels)
    assert predictions[1] == alone.sum(0).argmax() and 0 <= score <= 1
    lengths = torch.tensor([29, 7, 12])
    assert recipe.loss()(whole, labels) == rv.loss.mean_crossentropy(recipe.smoothing)(whole, labels, lengths)


def test_what_is_shown_in_training():
    recipe, x = JapaneseVowels(), recordings()
    still = {"noise": 0.0, "stretch": 0.0, "offset": 0.0}
    same = override(recipe, still).augment(x, torch.Generator().manual_seed(0))
    assert torch.equal(same.isnan(), x.isnan()) and torch.equal(same.nan_to_num(), x.nan_to_num())
    slow = override(recipe, still | {"stretch": 0.5}).augment(x, torch.Generator().manual_seed(0))
    lengths = rv.lengths_of(slow.transpose(0, 1))
    assert lengths[1] != 7 and 4 <= lengths[1] <= 14
    noisy = override(recipe, still | {"noise": 0.3}).augment(x, torch.Generator().manual_seed(0)) - x
    assert torch.equal(noisy.isnan(), x.isnan()) and abs(noisy[0].std() - 0.3) < 0.1
    moved = override(recipe, still | {"offset": 0.5}).augment(x, torch.Generator().manual_seed(0)) - x
    assert torch.equal(moved.isnan(), x.isnan()) and 0.3 < moved[:, 0].std() < 0.7
    torch.testing.assert_close(moved[0], moved[0, :1].expand(29, -1))
    shown = recipe.encode(x, torch.Generator())
    assert shown.shape == (29, 3, 24) and torch.equal(shown[:, 0, :12], x[0])
    torch.testing.assert_close(shown[5, 0, 12:], x[0, 5] - x[0, 4])


def test_a_watch_is_turned_without_changing_lengths_of_vectors():
    x = torch.randn(5, 40, 6, generator=torch.Generator().manual_seed(0))
    still = {"noise": 0.0, "stretch": 0.0}
    torch.testing.assert_close(override(Smartwatch(), still | {"turn": 0.0}).augment(x, torch.Generator()), x)
    turned = override(Smartwatch(), still | {"turn": 0.5}).augment(x, torch.Generator().manual_seed(0))
    assert (turned - x).abs().amax((1, 2)).min() > 0.1
    torch.testing.assert_close(turned.unflatten(2, (2, 3)).norm(dim=3), x.unflatten(2, (2, 3)).norm(dim=3))


def test_a_faster_exercise_ends_earlier_and_turns_faster():
    recipe = override(Smartwatch(), {"noise": 0.0, "turn": 0.0, "stretch": 0.4})
    x = torch.ones(50, 200, 6)
    shown = recipe.augment(x, torch.Generator().manual_seed(0))
    lengths, speeds = rv.lengths_of(shown.transpose(0, 1)), shown[:, 0, 3]
    assert lengths.max() == 200 and lengths.min() < 160 and speeds.min() < 0.7
    fast = speeds > 1
    torch.testing.assert_close(lengths[fast].float(), (199 / speeds[fast]).floor() + 1)
    assert (lengths[~fast] == 200).all() and torch.equal(shown[:, 0, :3], x[:, 0, :3])
    assert recipe.encode(shown, torch.Generator()).shape == (50, 50, 12)


def test_settings():
    beta = spread(1000, 2.0, 200.0)
    tau = -1 / beta.log()
    assert 2 <= tau.min() < 3 and 150 < tau.max() <= 200.1 and 15 < tau.median() < 27
    with pytest.raises(ValueError, match=r"net.neuron must be one of lif, alif, silif, brf, got 'x'"):
        override(SpokenDigits(), {"net.neuron": "x"}).build()
    with pytest.raises(ValueError, match="fold is 0 to 4"):
        override(Smartwatch(), {"fold": 9}).splits()
    assert pickle.loads(pickle.dumps(JapaneseVowels())) == JapaneseVowels()


@pytest.mark.long
@pytest.mark.parametrize("recipe, wanted", [(SpokenDigits(epochs=20), 0.98), (JapaneseVowels(), 0.97)])
def test_recordings_are_learned(recipe, wanted, tmp_path):
    from ranvier.train.engine import new_net
    from ranvier.train.folder import Folder

    try:
        splits = recipe.splits()
    except FileNotFoundError as absent:
        pytest.skip(str(absent).splitlines()[-1].strip())
    net = new_net(recipe, splits.train.x[:1])
    recipe.fit(net, splits.train, splits.validation, Folder.create(tmp_path / "run"), accelerator="cpu")
    with torch.no_grad():
        traces = net.eval()(recipe.encode(splits.test.x, torch.Generator()))
    assert recipe.metric()(traces, splits.test.labels)[0] > wanted
