"""The page of results shows the figures that were measured, and nothing else."""

import importlib.util
import json
import sys
from pathlib import Path

from ranvier import models
from ranvier.recipes import RECIPES, named, override

PAGE = Path(__file__).parents[2] / "docs" / "results.py"


def book():
    spec = importlib.util.spec_from_file_location("results_book", PAGE)
    sys.modules["results_book"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_made_of_the_figures():
    results = book()
    known = json.loads(results.FIGURES.read_text())
    assert set(known) <= set(results.ENTRIES)
    assert results.PAGE.read_text() == results.page(known)


def test_every_command_names_a_recipe_and_its_settings():
    for entry in book().ENTRIES.values():
        name, *words = entry.command.split()
        changes = dict(w.split("=") for w in words if w != "--set")
        for value in entry.values:
            override(named(RECIPES, name), changes | ({entry.over: value} if entry.over else {}))


def test_other_pages_name_scripts_that_exist():
    root = PAGE.parents[1]
    for name, scripts in book().PAGES.items():
        assert (root / "docs" / f"{name}.md").is_file()
        for script in scripts:
            words = script.removeprefix("-m ranvier convert ").split()
            assert (root / words[0].partition(":")[0]).is_file()


def test_trained_networks_have_the_settings_of_their_rows():
    results = book()
    for name in models.names():
        plan = models.recipe(name)
        assert results.ENTRIES[name].others(plan) == []
        assert "lr" in results.ENTRIES[name].others(override(plan, {"lr": 7.0}))
