"""The definition of a training run: a frozen dataclass whose fields can all be set by name."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from difflib import get_close_matches
from math import inf
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from torch import Generator, Tensor, nn, optim

from ranvier.data import ENCODINGS, SETS, Splits, load
from ranvier.lookup import lookup
from ranvier.train import loss, metric


@dataclass(frozen=True)
class Recipe:
    """One training run. Your own recipe is a frozen dataclass with a method `build`; `ranvier init NAME` writes one.

    data: the name of a set, or `file.py:name` of a function that returns splits (see `splits`). steps: number of steps
    T of a sample. encoding: how numbers become input over time (constant, rate, latency); with "none" a sample is a
    sequence `[T, *features]` already, and the input of the network is batches of these sequences. epochs, batch, seed:
    as usual; the same seed gives the same weights, bit for bit.
    lr: highest learning rate of AdamW. The rate rises to lr during the first tenth of the run, then decreases as a
    cosine. weight_decay: that of AdamW. smoothing: label smoothing in [0, 1].
    whole: train on the validation part, too. It is for the last run, when all settings have been chosen: the validation
    scores are then scores of training data.
    """

    name: ClassVar[str] = ""
    data: str = ""
    encoding: str = "constant"
    steps: int = 10
    epochs: int = 30
    batch: int = 64
    seed: int = 0
    lr: float = 2e-3
    weight_decay: float = 0.01
    smoothing: float = 0.1
    whole: bool = False

    def __post_init__(self) -> None:
        if type(self).splits is Recipe.splits and ":" not in self.data:
            if not self.data:
                raise ValueError(
                    f"{type(self).__name__} has no data: name a set, file.py:name, or write splits(self, folder)"
                )
            _choose("data", self.data, SETS)
        _choose("encoding", self.encoding, [*ENCODINGS, SEQUENCES])
        for name in ("steps", "epochs", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not -(2**63) <= self.seed < 2**63:
            raise ValueError(f"seed must be a whole number of at most 63 bits, got {self.seed}")
        for name, highest in (("lr", inf), ("weight_decay", inf), ("smoothing", 1.0)):
            if not 0.0 <= getattr(self, name) <= highest or getattr(self, name) == inf:
                wanted = "a finite number >= 0" if highest == inf else f"a number from 0 to {highest:g}"
                raise ValueError(f"{name} must be {wanted}, got {getattr(self, name)}")

    @property
    def time_first(self) -> bool:
        """Whether a batch is `[T, B, *features]` before `encode`."""
        return self.encoding == SEQUENCES

    def splits(self, folder: str | Path | None = None) -> Any:
        """Return the parts of the data set: (train, validation, test), or (train, test), where test is also used for
        validation.

        Each part is a pair of tensors x `[N, *features]` and labels `[N]`, a torch Dataset of pairs (x, label), or a
        DataLoader.
        """
        if ":" not in self.data:
            return load(self.data, folder)
        found = lookup(self.data, "data")
        return found() if callable(found) else found

    def build(self) -> nn.Module:
        """Return the network: `[T, B, *features]` -> traces `[T, B, C]`."""
        raise NotImplementedError(f"{type(self).__name__} has no build(self): return the net to train")

    def augment(self, x: Tensor, generator: Generator) -> Tensor:
        """Return the augmented x `[B, *features]` for training, on the device of x; random numbers are drawn from
        `generator`.
        """
        return x

    def encode(self, x: Tensor, generator: Generator) -> Tensor:
        """Return the input of the network `[T, B, *features]` for x `[B, *features]` in [0, 1]."""
        return x if self.time_first else ENCODINGS[self.encoding](x, self.steps, generator)

    def loss(self) -> loss.Loss:
        """Return the loss: cross-entropy of the readout's mean over time."""
        if self.time_first:
            return loss.mean_crossentropy(self.smoothing)
        return loss.integral_crossentropy(self.smoothing, temperature=self.steps)

    def metric(self) -> Any:
        """Return the metric: the share of samples for which the summed readout of the right class is largest."""
        return metric.integral_accuracy()

    def optimiser(
        self, parameters: Iterable[nn.Parameter], updates: int
    ) -> tuple[optim.Optimizer, optim.lr_scheduler.LRScheduler]:
        """Return AdamW and a schedule: the learning rate rises, then decreases as a cosine, over `updates` updates."""
        if updates < FEWEST:
            got = f"{updates} update" + "s" * (updates != 1)
            cure = f"at least {FEWEST} are needed; take more epochs or a smaller batch"
            raise ValueError(f"a run of {got} is too short for a learning rate that rises and falls: {cure}")
        adamw = optim.AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay, fused=True)
        # OneCycleLR needs a few updates to rise: if there are very few updates, it rises during half of them
        rise = 0.1 if updates > 20 else 0.5
        return adamw, optim.lr_scheduler.OneCycleLR(adamw, self.lr, total_steps=updates, pct_start=rise)

    def fields(self, net: nn.Module) -> Tensor | None:
        """Return what each neuron has learned as images `[N, H, W]` for the report; None if it cannot be displayed."""
        return None

    def beside(self, splits: Splits, folder: Any, callbacks: Sequence[Any] = (), **trainer: Any) -> dict[str, float]:
        """Return results for comparison with the trained network: {name: share of right answers on the test set}."""
        return {}

    def fit(
        self, net: nn.Module, train: Any, validation: Any, folder: Any, callbacks: Sequence[Any] = (), **trainer: Any
    ) -> list[dict[str, float]]:
        """Train the network by gradients, with Lightning. A recipe that learns in another way overrides this method."""
        from ranvier.train.engine import fit

        return fit(self, net, train, validation, folder, callbacks, **trainer)


AnyRecipe = TypeVar("AnyRecipe")
SEQUENCES = "none"  # the encoding of samples that are sequences already
FEWEST = 3  # updates: one while the learning rate rises, one at its highest value, one while it falls


def refuse_unused(recipe: Recipe, *names: str) -> None:
    """Raise ValueError if one of these fields, which the recipe does not use, has another value than its default."""
    for known in fields(recipe):
        if known.name in names and getattr(recipe, known.name) != known.default:
            raise ValueError(
                f"{recipe.name} encodes its data in its own way and does not use {known.name}; leave it out, got "
                f"{getattr(recipe, known.name)!r}"
            )


def settings(recipe: Any) -> dict[str, Any]:
    """Return every field of a recipe by its dotted name, as in `--set`: `{"epochs": 30, "net.hidden": 128, ...}`."""
    return _flat(_values(recipe))


def _values(recipe: Any) -> dict[str, Any]:
    """Return all fields as plain nested values, except fields that are marked as objects (see `Given`)."""
    plain = [f.name for f in fields(recipe) if not f.metadata.get("object")]
    each = {name: getattr(recipe, name) for name in plain}
    return {name: asdict(value) if is_dataclass(value) else value for name, value in each.items()}  # type: ignore[arg-type]


def override(recipe: AnyRecipe, changes: Mapping[str, Any]) -> AnyRecipe:
    """Return a copy of the recipe with some fields changed. `changes` maps the dotted names of fields to new values,
    which may be given as text.

    An unknown field (the message lists all fields), a wrong type or a value out of range raises a ValueError.
    """
    for name, value in changes.items():
        recipe = _set(recipe, name.split("."), value, name, settings(recipe))
    return recipe


def _set(part: Any, path: list[str], value: Any, name: str, known: Mapping[str, Any]) -> Any:
    current = getattr(part, path[0], None) if path[0] in (f.name for f in fields(part)) else None
    if current is None or isinstance(current, nn.Module) or is_dataclass(current) != (len(path) > 1):
        raise ValueError(unknown("field", name, known))
    new = _set(current, path[1:], value, name, known) if len(path) > 1 else _read(name, value, type(current))
    return replace(part, **{path[0]: new})


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Return the error message for an unknown name: the most similar name, and all names."""
    names = list(known)
    near = get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"there is no {what} {name!r}{hint} There are: {', '.join(names)}"


KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
TRUTH = {"true": True, "false": False}


def _read(name: str, value: Any, kind: type) -> Any:
    text = str(value)
    try:
        return TRUTH[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError):
        raise ValueError(f"{name} wants {KINDS.get(kind, kind.__name__)}, got {text!r}") from None


def _choose(name: str, value: str, table: Iterable[str]) -> None:
    if value not in table:
        raise ValueError(unknown(name, value, table))


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def from_config(table: Mapping[str, type[Recipe]], config: Mapping[str, Any]) -> Recipe:
    """Return the recipe from the values that `to_config` returned; `table` contains the known recipes."""
    changes = dict(config)
    return override(named(table, changes.pop("recipe", "?")), _flat(changes))


def to_config(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as plain nested values, for a TOML file."""
    return {"recipe": origin(recipe), **_values(recipe)}


def origin(recipe: Recipe) -> str:
    """Return the name by which `named` finds a recipe: its name, or `file.py:Class` for your own; "" if it has no
    file.
    """
    kind = type(recipe)
    if kind.__module__.startswith("ranvier."):
        return recipe.name
    try:
        return f"{Path(inspect.getfile(kind)).resolve()}:{kind.__qualname__}"
    except (OSError, TypeError):
        return ""


def named(table: Mapping[str, type[Recipe]], name: str) -> Recipe:
    """Return the recipe with that name, or at `file.py:Class`, with its defaults; for an unknown name, a ValueError
    lists the names.
    """
    if ":" not in name:
        if name.endswith(".py"):
            raise ValueError(f"name the recipe in the file too: {name}:Class, got {name!r}")
        _choose("recipe", name, table)
        return table[name]()
    found = lookup(name, "RECIPE")
    if isinstance(found, Recipe):
        return found
    if not (isinstance(found, type) and issubclass(found, Recipe)):
        raise TypeError(
            f"{name} must be a subclass of ranvier.recipes.Recipe, got {found!r}; `ranvier init` writes one"
        )
    if not found.name:
        found.name = found.__name__.lower()
    return found()
