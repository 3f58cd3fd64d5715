"""Digits without labels: competing neurons learn prototypes by STDP; labels are only used afterwards, to assign classes
to neurons.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn

from ranvier.data import Split, rate
from ranvier.nn.sequential import Sequential
from ranvier.plasticity import Contest, name, votes
from ranvier.recipes.recipe import Recipe

INPUTS = {"digits": 64, "mnist": 784, "fashion-mnist": 784}
CLASSES = 10
# Numbers of training samples that are used to assign classes to neurons: LISTEN after a pass through the data, GLANCE
# after an epoch within a pass, where it must be quick.
LISTEN, GLANCE = 10_000, 1_000


@dataclass(frozen=True)
class Net:
    """hidden: number of competing neurons. `ranvier.plasticity.Contest` describes the other fields."""

    hidden: int = 100
    threshold: float = 12.0
    reset: float = 0.0
    inhibition: float = 120.0
    rise: float = 0.05
    plus: float = 1e-2
    minus: float = 1e-4


@dataclass(frozen=True)
class DigitsSTDP(Recipe):
    """Digits without labels: 100 competing neurons learn them by STDP; labels are used only afterwards, to assign a
    class to each neuron.

    max_rate: probability of a spike per step for a white pixel. legs: number of epochs into which one pass through the
    data is divided. Figures and weights are written after each epoch, and a stopped run continues from the last one.
    The learning rate falls to 0 during the run; lr, weight_decay and smoothing are not used.
    """

    name: ClassVar[str] = "digits-stdp"
    data: str = "digits"
    encoding: str = "rate"
    steps: int = 100
    epochs: int = 20
    legs: int = 1
    max_rate: float = 0.25
    net: Net = field(default_factory=Net)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data not in INPUTS or self.encoding != "rate":
            got = f"{self.data} with encoding {self.encoding}"
            raise ValueError(f"{self.name} learns from {', '.join(INPUTS)} with encoding rate, got {got}")
        if self.legs < 1:
            raise ValueError(f"legs must be at least 1, got {self.legs}")

    def build(self) -> nn.Module:
        n, inputs = self.net, INPUTS[self.data]
        contest = Contest(
            inputs, n.hidden, threshold=n.threshold, reset=n.reset, inhibition=n.inhibition, rise=n.rise,
            plus=n.plus, minus=n.minus, seed=self.seed,
        )  # fmt: skip
        return Sequential(nn.Flatten(), contest, nn.Linear(n.hidden, CLASSES, bias=False)).requires_grad_(False)

    def encode(self, x: Tensor, generator: Generator) -> Tensor:
        return rate(x, self.steps, self.max_rate, generator)

    def fields(self, net: nn.Module) -> Tensor:
        weight = net[1].weight  # type: ignore[index]
        side = int(weight.shape[1] ** 0.5)
        return weight.view(-1, side, side)

    def fit(
        self,
        net: nn.Module,
        train: Split,
        validation: Split,
        folder: Any,
        callbacks: Sequence[Any] = (),
        **trainer: Any,
    ) -> list[dict[str, float]]:
        """Present the samples of each epoch and let the winning neurons learn; then assign classes to the neurons and
        measure the accuracy.

        Weights and figures are written after every epoch; a stopped run continues from the last one, with the same
        result.
        """
        from ranvier.train.batches import batches as drawn

        if trainer.get("accelerator", "auto") not in ("auto", "cpu"):
            raise ValueError(f"{self.name} learns on the CPU; leave out --accelerator {trainer['accelerator']}")
        consoles = [c.console for c in callbacks if hasattr(c, "console")]
        rows = folder.read_metrics() if folder.metrics.is_file() else []
        if rows:
            folder.read_weights(net)
        batches, count = drawn(train, self.batch, self.seed), -(-len(train.labels) // self.batch)
        before, start = sum(r["seconds"] for r in rows[-1:]), time.perf_counter()
        for epoch in range(len(rows), self.epochs):
            whole, leg = divmod(epoch, self.legs)
            batches.set_epoch(whole)
            for index, (x, _) in enumerate(batches):
                if index * self.legs // count == leg:
                    done = (whole + index / count) / (self.epochs / self.legs)
                    net[1].learn(self._spikes(x, "train", whole, index), rate=1 - done)  # type: ignore[index]
            trained = before + time.perf_counter() - start
            most = LISTEN if leg == self.legs - 1 else GLANCE
            listen, check = (Split(*(part[:most] for part in split)) for split in (train, validation))
            heard = self._responses(net, listen, whole)
            names = name(heard, listen.labels, CLASSES)
            net[2].weight.copy_(votes(names, CLASSES))  # type: ignore[index]
            scores = {
                "train_accuracy": self._accuracy(net, heard, listen.labels),
                "validation_accuracy": self._accuracy(net, self._responses(net, check, whole), check.labels),
            }
            rows.append({"epoch": epoch + 1, "seconds": round(trained, 3), **scores})
            folder.write_weights(net)
            folder.write_metrics(rows)
            for console in consoles:
                console.print(f"epoch {epoch + 1}/{self.epochs}  validation {scores['validation_accuracy']:.2%}")
        return rows

    def _spikes(self, x: Tensor, *draw: object) -> Tensor:
        from ranvier.train.batches import mix

        return self.encode(x.flatten(1), Generator().manual_seed(mix(self.seed, *draw)))

    def _responses(self, net: nn.Module, split: Split, whole: int) -> Tensor:
        """Return how often each neuron spikes for each sample: [S, N]."""
        parts = enumerate(split.x.split(self.batch))
        return torch.cat([net[1](self._spikes(x, "listen", whole, i)).sum(0) for i, x in parts])  # type: ignore[index]

    def _accuracy(self, net: nn.Module, heard: Tensor, labels: Tensor) -> float:
        return float((net[2](heard).argmax(1) == labels).float().mean())  # type: ignore[index]


@dataclass(frozen=True)
class MnistSTDP(DigitsSTDP):
    """`digits-stdp` on MNIST, with the sizes and rates of Diehl & Cook: 28 x 28 pixels, 400 neurons, one pass."""

    name: ClassVar[str] = "mnist-stdp"
    data: str = "mnist"
    steps: int = 250
    epochs: int = 10
    legs: int = 10
    max_rate: float = 0.0635
    net: Net = field(default_factory=lambda: Net(hidden=400, threshold=13.0, reset=5.0))
