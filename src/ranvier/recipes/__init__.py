"""Recipes: whole training runs, one file each, every number in them adjustable by name."""

from ranvier.recipes.digits import Digits
from ranvier.recipes.digits_stdp import DigitsSTDP, MnistSTDP
from ranvier.recipes.recipe import Recipe, from_config, named, override, settings, to_config
from ranvier.recipes.yinyang import YinYang

# By name, as the command line takes them.
RECIPES: dict[str, type[Recipe]] = {recipe.name: recipe for recipe in (Digits, DigitsSTDP, MnistSTDP, YinYang)}

__all__ = [
    "RECIPES",
    "Digits",
    "DigitsSTDP",
    "MnistSTDP",
    "Recipe",
    "YinYang",
    "from_config",
    "named",
    "override",
    "settings",
    "to_config",
]
