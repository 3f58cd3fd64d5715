"""Ready-made networks, and networks that are already trained: `load(name)`, `names()`, `card(name)`.

Each trained network has a folder here, as `ranvier train` leaves it: settings, weights, and results on the test set;
and a model card (README.md). `docs/ship.py` writes them.
"""

from pathlib import Path

import torch
from torch import nn

from ranvier.nn.models import Residual, SpikeDrivenBlock, Spikformer, SpikformerBlock, sew_resnet18, spike_driven, vgg

__all__ = [
    "Residual", "SpikeDrivenBlock", "Spikformer", "SpikformerBlock", "card", "load", "names", "sew_resnet18",
    "spike_driven", "vgg",
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

    >>> import torch
    >>> load("digits")(torch.rand(10, 1, 1, 8, 8)).shape
    torch.Size([10, 1, 10])
    """
    from ranvier.recipes import RECIPES, from_config
    from ranvier.train.folder import Folder

    opened = Folder.open(_known(name))
    with torch.random.fork_rng(devices=[]):  # the initial weights, which are replaced, leave the generator alone
        net = from_config(RECIPES, opened.read_config()).build()
    opened.read_weights(net)
    return net.eval()


def card(name: str) -> str:
    """Return the model card of a trained network, as Markdown."""
    return (_known(name) / "README.md").read_text(encoding="utf-8")


def _known(name: str) -> Path:
    if name not in names():
        raise ValueError(f"there is no trained network {name!r}; there are {', '.join(names())}")
    return HERE / name
