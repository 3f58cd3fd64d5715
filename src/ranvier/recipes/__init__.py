"""Recipes: whole training runs, one file each, every number in them adjustable by name."""

from __future__ import annotations

from .digits import Digits
from .recipe import Recipe, from_config, named, override, settings, to_config, unknown
from .yinyang import YinYang

# By name, as the command line takes them.
RECIPES: dict[str, type[Recipe]] = {recipe.name: recipe for recipe in (Digits, YinYang)}

__all__ = [
    "RECIPES",
    "Digits",
    "Recipe",
    "YinYang",
    "from_config",
    "named",
    "override",
    "settings",
    "to_config",
    "unknown",
]
