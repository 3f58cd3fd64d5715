"""The recipe of `ranvier.train.run(net, ...)`, for a network, a loss and data that already exist as objects."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from ranvier.nn.padded import Padded, heeds_lengths
from ranvier.recipes.recipe import SEQUENCES, Recipe
from ranvier.recipes.signal import OfOwnLength
from ranvier.train import metric

# The values that are accepted for each argument, for error messages.
FUNCTIONS = {
    "loss": "a function of traces and labels, such as ranvier.loss.mean_crossentropy()",
    "metric": 'a function that returns (score, predictions), "accuracy", or None',
    "optimiser": "a function from parameters to an optimiser, such as lambda p: torch.optim.SGD(p, 0.1)",
}
OBJECT = {"object": True}  # a field that is not a setting, and is not written to files


@dataclass(frozen=True)
class Given(Recipe):
    """Your own network; fields that are objects are not settings, and are not written to files.

    net: `[T, B, *features]` -> traces. parts: the parts of the data, see `Recipe.splits`. criterion: a loss with the
    arguments (traces, labels) or (traces, labels, lengths); None: cross-entropy of the readout's mean. score: a metric
    that returns (score, predictions); "accuracy"; or None if labels are not classes. opt: a function of the parameters
    that returns an optimiser or (optimiser, schedule); None: AdamW.
    """

    name: ClassVar[str] = "own"
    data: str = "own"
    encoding: str = SEQUENCES
    net: Any = field(default=None, repr=False, compare=False, metadata=OBJECT)
    parts: Any = field(default=None, repr=False, compare=False, metadata=OBJECT)
    criterion: Callable[..., Any] | None = field(default=None, repr=False, compare=False, metadata=OBJECT)
    score: Any = field(default=None, repr=False, compare=False, metadata=OBJECT)
    opt: Callable[..., Any] | None = field(default=None, repr=False, compare=False, metadata=OBJECT)

    def __post_init__(self) -> None:
        super().__post_init__()
        for what, value in (("loss", self.criterion), ("metric", self.score), ("optimiser", self.opt)):
            if value is not None and not callable(value) and (what, value) != ("metric", "accuracy"):
                got = repr(value) if isinstance(value, str) else f"an object of type {type(value).__name__}"
                raise TypeError(f"{what} must be {FUNCTIONS[what]}, got {got}")

    def build(self) -> nn.Module:
        return self.net

    def splits(self, folder: str | Path | None = None) -> Any:
        return self.parts

    def loss(self) -> Any:
        return self._of_own_length(self.criterion or super().loss())

    def metric(self) -> Any:
        return self._of_own_length(metric.integral_accuracy() if self.score == "accuracy" else self.score)

    def _of_own_length(self, score: Any) -> Any:
        """For a `Padded` network, whose traces tell where recordings end, give these lengths to a loss or metric that
        takes them.
        """
        return (
            OfOwnLength(score) if isinstance(self.net, Padded) and callable(score) and heeds_lengths(score) else score
        )

    def optimiser(self, parameters: Iterable[nn.Parameter], updates: int) -> Any:
        if self.opt is None:
            return super().optimiser(parameters, updates)
        made = self.opt(parameters)
        return made if isinstance(made, tuple) else (made, None)
