"""Recipes: complete training runs, one file each; every number in them can be set by name."""

from ranvier.recipes.delayed_xor import DelayedXOR
from ranvier.recipes.digits import Digits
from ranvier.recipes.digits_stdp import DigitsSTDP, MnistSTDP
from ranvier.recipes.fashion import FashionMNIST
from ranvier.recipes.heidelberg import HeidelbergDigits
from ranvier.recipes.loop import YinYangInTheLoop
from ranvier.recipes.recipe import Recipe, from_config, named, override, settings, to_config
from ranvier.recipes.recordings import JapaneseVowels, SequentialMNIST, Smartwatch, SpokenDigits
from ranvier.recipes.store_recall import StoreRecall
from ranvier.recipes.yinyang import YinYang

# Recipes by name, for the command line.
_ALL = (Digits, DigitsSTDP, MnistSTDP, DelayedXOR, FashionMNIST, YinYang, YinYangInTheLoop,
        SpokenDigits, JapaneseVowels, Smartwatch, HeidelbergDigits, SequentialMNIST, StoreRecall)  # fmt: skip
RECIPES: dict[str, type[Recipe]] = {recipe.name: recipe for recipe in _ALL}

__all__ = [
    "RECIPES",
    "DelayedXOR",
    "Digits",
    "DigitsSTDP",
    "FashionMNIST",
    "HeidelbergDigits",
    "JapaneseVowels",
    "MnistSTDP",
    "Recipe",
    "SequentialMNIST",
    "Smartwatch",
    "SpokenDigits",
    "StoreRecall",
    "YinYang",
    "YinYangInTheLoop",
    "from_config",
    "named",
    "override",
    "settings",
    "to_config",
]
