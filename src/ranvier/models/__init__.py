"""Ready-made networks, and networks that are already trained: `load(name)`, `recipe(name)`, `names()`,
`card(name)`.

Each trained network has a folder here, as `ranvier train` leaves it: settings, weights, and results on the test set;
and a model card (README.md). `docs/ship.py` writes them.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from ranvier.nn.models import Residual, SpikeDrivenBlock, Spikformer, SpikformerBlock, sew_resnet18, spike_driven, vgg

if TYPE_CHECKING:
    from ranvier.recipes import Recipe

__all__ = [
    "Residual", "SpikeDrivenBlock", "Spikformer", "SpikformerBlock", "card", "load", "names", "recipe",
    "sew_resnet18", "spike_driven", "vgg",
]  # fmt: skip

HERE = Path(__file__).parent


def names() -> list[str]:
    """Return the names of all trained networks.

    >>> "digits" in names()
    True
    """
    return sorted(card.parent.name for card in HERE.glob("*/README.md"))


def folder(run: str | Path) -> Path:
    """Return the folder of a trained network, for its name; any other path is returned as it is."""
    return HERE / str(run) if str(run) in names() and not Path(run).exists() else Path(run)


def load(name: str) -> nn.Module:
    """Return a trained network by its name, in evaluation mode; `names()` are all of them, and `card(name)` says what a
    network has learned, how good it is, and what its input is. `ranvier eval NAME` tests it.

    The output is the traces of the readout, NaN after the end of a recording: the answer is the class with the largest
    sum over time. `recipe(name)` reads and encodes the data.

    >>> import torch
    >>> net, plan = load("digits"), recipe("digits")
    >>> test = plan.splits()[2]
    >>> x = plan.encode(test.x[:100], torch.Generator())
    >>> answers = net(x).nan_to_num().sum(0).argmax(-1)
    >>> bool((answers == test.labels[:100]).float().mean() > 0.9)
    True
    """
    from ranvier.train.folder import Folder

    opened = Folder.open(_known(name))
    with torch.random.fork_rng(devices=[]):  # the initial weights, which are replaced, leave the generator alone
        net = recipe(name).build()
    opened.read_weights(net)
    for layer in list(net.modules()):
        if isinstance(layer, nn.LazyLinear):  # it becomes an ordinary layer at its first input
            layer(layer.weight.new_empty(0, layer.weight.shape[1]))
    return net.eval()


def recipe(name: str) -> "Recipe":
    """Return the recipe of a trained network: its settings, its data (`splits()`), and how they become its input
    (`encode`).
    """
    from ranvier.recipes import RECIPES, from_config
    from ranvier.train.folder import Folder

    return from_config(RECIPES, Folder.open(_known(name)).read_config())


def card(name: str) -> str:
    """Return the model card of a trained network, as Markdown."""
    return (_known(name) / "README.md").read_text(encoding="utf-8")


def _known(name: str) -> Path:
    if name not in names():
        raise ValueError(f"there is no trained network {name!r}; there are {', '.join(names())}")
    return HERE / name
