"""Recipes: whole training runs, one file each, every number in them adjustable by name."""

from ranvier.recipes.digits import Digits
from ranvier.recipes.fashion import FashionMNIST
from ranvier.recipes.loop import YinYangInTheLoop
from ranvier.recipes.recipe import Recipe, from_config, named, override, settings, to_config
from ranvier.recipes.yinyang import YinYang

# By name, as the command line takes them.
RECIPES: dict[str, type[Recipe]] = {r.name: r for r in (Digits, FashionMNIST, YinYang, YinYangInTheLoop)}

__all__ = [
    "RECIPES",
    "Digits",
    "FashionMNIST",
    "Recipe",
    "YinYang",
    "YinYangInTheLoop",
    "from_config",
    "named",
    "override",
    "settings",
    "to_config",
]
