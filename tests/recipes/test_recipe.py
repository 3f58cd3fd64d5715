import tomllib

import pytest
import torch

from ranvier.recipes import RECIPES, Digits, from_config, named, override, settings, to_config
from ranvier.recipes.digits import Wobble, wobble
from ranvier.train.batches import batches
from ranvier.train.folder import Folder


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_builds_a_net_for_its_data(name):
    recipe = named(RECIPES, name)
    try:
        splits = recipe.splits()
    except FileNotFoundError as absent:  # sets that must be fetched first
        pytest.skip(str(absent))
    given, labels = next(iter(batches(splits.train, 3, time_first=recipe.time_first)))
    x = recipe.encode(given, torch.Generator().manual_seed(0))
    traces = recipe.build()(x)
    steps = recipe.steps // getattr(recipe, "every", 1)  # some average several steps of a recording to one
    assert traces.shape == (steps, 3, int(splits.train.labels.max()) + 1)
    assert recipe.loss()(traces, labels).isfinite()


@pytest.mark.parametrize("name", RECIPES)
def test_config_there_and_back(name, tmp_path):
    fresh = named(RECIPES, name)
    width = next(k for k, v in settings(fresh).items() if k.startswith("net.") and type(v) is int)
    recipe = override(fresh, {"epochs": "3", width: 17, "lr": "5e-4"})
    Folder.create(tmp_path / "run").write_config(to_config(recipe))
    text = (tmp_path / "run" / "config.toml").read_text()
    assert from_config(RECIPES, tomllib.loads(text)) == recipe


def test_override_keeps_types_and_the_original():
    recipe = Digits()
    changed = override(recipe, {"lr": "1", "net.hidden": "256", "wobble.degrees": 5})
    assert (changed.lr, changed.net.hidden, changed.wobble.degrees) == (1.0, 256, 5.0)
    assert isinstance(changed.lr, float) and isinstance(changed.wobble.degrees, float)
    assert recipe == Digits() and settings(recipe)["net.hidden"] == 128


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"net.hiden": 3}, r"no field 'net.hiden'; did you mean 'net.hidden'\? There are: data, encoding"),
        ({"net": 3}, "no field 'net'"),
        ({"epochs.x": 3}, "no field 'epochs.x'"),
        ({"name": "x"}, "no field 'name'"),
        ({"net.hidden": "3.5"}, "net.hidden wants a whole number, got '3.5'"),
        ({"lr": "fast"}, "lr wants a number, got 'fast'"),
        ({"lr": "nan"}, "lr must be a finite number >= 0"),
        ({"lr": "inf"}, "lr must be a finite number >= 0"),
        ({"smoothing": 1.5}, "smoothing must be a number from 0 to 1"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"data": "digit"}, "no data 'digit'; did you mean 'digits'"),
        ({"encoding": "morse"}, "There are: constant, rate, latency"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        override(Digits(), change)


def test_unknown_recipe_is_refused():
    with pytest.raises(ValueError, match=r"no recipe 'digit'; did you mean 'digits'\? There are: digits"):
        named(RECIPES, "digit")
    with pytest.raises(ValueError, match=r"no recipe '\?'"):
        from_config(RECIPES, {"epochs": 3})


@pytest.mark.parametrize("encoding", ["constant", "rate", "latency"])
def test_digits_may_be_encoded_in_any_way(encoding):
    recipe = override(Digits(), {"encoding": encoding, "steps": 4})
    x = torch.rand(2, 1, 8, 8)
    assert recipe.encode(x, torch.Generator().manual_seed(0)).shape == (4, 2, 1, 8, 8)


def test_no_wobble_leaves_pictures_alone():
    x = torch.rand(3, 1, 8, 8)
    still = wobble(x, Wobble(0.0, 0.0, 0.0, 0.0), torch.Generator().manual_seed(0))
    torch.testing.assert_close(still, x)


def test_wobble_shifts_by_pixels_and_repeats():
    x = torch.zeros(50, 1, 9, 9)
    x[:, :, 4, 4] = 1.0
    moved = wobble(x, Wobble(0.0, 2.0, 0.0, 0.0), torch.Generator().manual_seed(1))
    again = wobble(x, Wobble(0.0, 2.0, 0.0, 0.0), torch.Generator().manual_seed(1))
    assert torch.equal(moved, again)
    torch.testing.assert_close(moved.sum((1, 2, 3)), torch.ones(50))  # nothing is lost, only moved
    places = (moved.sum(2) * torch.arange(9)).sum((1, 2))  # the centre of mass along x
    assert 1.0 < (places - 4).abs().max() <= 2.0


@pytest.mark.parametrize(
    "name, change",
    [("spoken-digits", {"encoding": "rate"}), ("sequential-mnist", {"steps": 100}), ("yinyang", {"encoding": "rate"}),
     ("yinyang-in-the-loop", {"encoding": "latency"})],
)  # fmt: skip
def test_settings_without_an_effect_are_refused(name, change):
    with pytest.raises(
        ValueError, match=f"{name} encodes its data in its own way and does not use {next(iter(change))}"
    ):
        override(named(RECIPES, name), change)
