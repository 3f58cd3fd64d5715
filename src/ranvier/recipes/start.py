"""The command `ranvier init NAME`, which writes a first recipe to edit."""

from keyword import iskeyword
from pathlib import Path

TEXT = '''"""A recipe of your own. Train it: ranvier train {file}:{kind}"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import nn

import ranvier as rv
from ranvier.recipes import Recipe


@dataclass(frozen=True)
class Net:
    """Settings of the net; change one with --set net.hidden=128."""

    hidden: int = 64
    beta: float = 0.9


@dataclass(frozen=True)
class {kind}(Recipe):
    """Which of four pairs of channels fires most? Change any field with --set NAME=VALUE."""

    name: ClassVar[str] = "{name}"
    encoding: str = "none"  # a sample is a sequence [T, *features] already; constant, rate or latency make it one
    epochs: int = 10
    batch: int = 32
    lr: float = 5e-3
    net: Net = field(default_factory=Net)

    def splits(self, folder=None):
        """(train, test) or (train, validation, test): tensors (x, labels), torch Datasets, or DataLoaders."""
        return samples(400, seed=0), samples(100, seed=1), samples(200, seed=2)

    def build(self):
        """The net: [T, B, *features] -> traces [T, B, classes]. Any nn.Module will do; time is axis 0."""
        return rv.Sequential(
            nn.Linear(8, self.net.hidden), rv.LIF(beta=self.net.beta),
            nn.Linear(self.net.hidden, 4), rv.LI(beta=0.95),
        )

    # `Recipe` already has these methods; write your own to replace them.
    #
    # def loss(self):
    #     return rv.loss.max_crossentropy(smoothing=0.1)
    #
    # def metric(self):
    #     return rv.metric.integral_accuracy()  # or None if labels are not classes
    #
    # def optimiser(self, parameters, updates):
    #     adam = torch.optim.Adam(parameters, lr=self.lr)
    #     return adam, torch.optim.lr_scheduler.CosineAnnealingLR(adam, updates)


def samples(count, seed):
    """Spike trains x [N, T, 8], in which one pair of channels fires more, and the number of this pair: the label."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (count,), generator=draw)
    rates = 0.1 + 0.3 * nn.functional.one_hot(labels, 4).repeat_interleave(2, 1)  # [N, 8]
    return (torch.rand(count, 20, 8, generator=draw) < rates[:, None]).float(), labels
'''


def write_start(name: str, place: Path = Path()) -> tuple[Path, str]:
    """Write NAME.py with a recipe that can be trained at once; return the file and the name of the recipe's class.

    A name that is not valid for a module raises a ValueError, and an existing file raises a FileExistsError.
    """
    name = name.removesuffix(".py")
    if not name.isidentifier() or iskeyword(name):
        raise ValueError(f"NAME must be the name of a Python module (letters, digits and _), got {name!r}")
    path = place / f"{name}.py"
    if path.exists():
        raise FileExistsError(f"{path} exists already; choose another name")
    kind = name.title().replace("_", "")
    text = TEXT
    for mark, value in (("{file}", str(path)), ("{kind}", kind), ("{name}", name.replace("_", "-"))):
        text = text.replace(mark, value)
    path.write_text(text, encoding="utf-8")
    return path, kind
