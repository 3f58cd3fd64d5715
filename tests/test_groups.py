"""The groups in which Ranvier's names are found: each name in one, each shown where a reader looks."""

import inspect
import re
import subprocess
import sys

import pytest

import ranvier as rv
from everything import NEURONS

GROUPS = [rv.nn.neurons, rv.nn.layers, rv.verbs, rv.tools]


def shown(module):
    """The names in the tables of a module's text; `Norm1d (2d, 3d)` stands for three."""
    text = module.__doc__
    for name in re.findall(r"(\w+)1d \(2d, 3d\)", text):
        text += f" {name}2d {name}3d"
    return set(re.findall(r"\w+", text))


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.__name__)
def test_a_group_shows_all_its_names(group):
    assert set(group.__all__) <= shown(group)


def test_each_name_is_in_one_group_and_in_ranvier_itself():
    names = [k for g in GROUPS for k in g.__all__]
    assert len(names) == len(set(names)) and set(names) <= set(rv.__all__)
    assert set(rv.nn.__all__) <= set(rv.__all__)
    for group in [rv, rv.nn, *GROUPS]:
        assert all(hasattr(group, k) for k in group.__all__)


def test_every_neuron_is_in_a_group():
    assert {n.__name__ for n in NEURONS} <= {*rv.nn.neurons.__all__, *rv.nn.layers.__all__}


def test_dir_shows_the_groups_and_the_names_that_everybody_uses():
    shown = dir(rv)
    groups = {"nn", "verbs", "tools", "ops", "surrogate", "loss", "metric", "train", "data", "convert", "hardware"}
    assert groups | {"plasticity", "plot", "doctor", "recipes", "compat", "LIF", "scan"} <= set(shown) <= {
        *rv.__all__, "__doc__", "__name__", "__path__", "__version__",
    }  # fmt: skip
    assert len([k for k in shown if not inspect.ismodule(getattr(rv, k))]) < 30
    assert all(f"rv.{k}" in rv.__doc__ for k in groups)


def test_groups_that_are_imported_late_are_attributes():
    script = (
        "import ranvier as rv; rv.plot.raster, rv.plasticity.stdp, rv.compat.install, rv.recipes.RECIPES, rv.doctor"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_name_that_is_not_there_is_an_error():
    with pytest.raises(AttributeError, match="'Lif'"):
        _ = rv.Lif
