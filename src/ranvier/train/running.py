"""One training run from its recipe to its report: the function behind `ranvier train`."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import ConcatDataset

from ranvier.data import Split, Splits
from ranvier.extras import needed
from ranvier.recipes import RECIPES, Recipe, from_config, named, override, to_config
from ranvier.recipes import settings as recipe_settings
from ranvier.recipes.given import Given
from ranvier.recipes.tried import tried
from ranvier.report import write_report
from ranvier.train.batches import Batches, batches
from ranvier.train.evaluate import evaluate, summary
from ranvier.train.folder import Folder
from ranvier.train.results import Result

with needed("training"):
    from lightning.fabric.utilities.rank_zero import rank_zero_only
    from rich.console import Console

    from ranvier.train.engine import quiet
    from ranvier.train.health import Health
    from ranvier.train.progress import OneBar
    from ranvier.train.scale import Scale

SCALE = [f.name for f in fields(Scale)]
TOLD = "RANVIER_RUN"  # environment variable by which the first of several processes passes its folder to the others
RESTARTED = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")  # environment variables that count restarts


def run(
    recipe: str | Recipe | type[Recipe] | nn.Module,
    folder: str | Path | None = None,
    *,
    data: Any = None,
    loss: Any = None,
    metric: Any = "accuracy",
    optimiser: Any = None,
    resume: bool = False,
    console: Any = None,
    callbacks: Sequence[Any] = (),
    **settings: Any,
) -> Result:
    """Train a network, test it, and write a report, like the command `ranvier train`.

    recipe: the name of a recipe or `file.py:Class`, a `Recipe`, or any `nn.Module` from `[T, B, *features]` to traces
    `[T, B, C]`. folder: the folder of the run, which is created if needed; by default runs/NAME.
    data: for a recipe the folder of its data set, or `file.py:name`; for a network its parts (train, test) or (train,
    validation, test), each a DataLoader, a Dataset or tensors, see `Recipe.splits`.
    loss, metric, optimiser: only for a network. loss(traces, labels); metric(traces, labels) returns (score,
    predictions), None if labels are not classes; optimiser(parameters) returns an optimiser of torch.
    console: a `rich.Console` for progress messages; None: the screen. callbacks: additional callbacks of Lightning.
    resume: continue the run in `folder`; with more `epochs` a finished run is continued.
    settings: fields of the recipe (epochs=3, lr=1e-3, **{"net.hidden": 64}) and of `ranvier.train.Scale` (devices=2,
    precision="bf16-mixed"). Settings that cannot work raise a ValueError or TypeError of one sentence before the folder
    is created.

    >>> import tempfile, torch, ranvier as rv
    >>> from rich.console import Console
    >>> x = (torch.rand(60, 5, 4) < 0.5).float()  # [N, T, *features]
    >>> part = (x, (x[:, :, 0].sum(1) > 2).long())
    >>> net = rv.Sequential(torch.nn.Linear(4, 16), rv.LIF(), torch.nn.Linear(16, 2), rv.LI())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = rv.train.run(net, folder, data=(part, part), epochs=3, batch=20, console=Console(quiet=True))
    >>> len(result.history), result.samples
    (3, 60)
    """
    console = console or Console(highlight=False)
    plan_settings = {name: value for name, value in settings.items() if name not in SCALE}
    scale_settings = {name: value for name, value in settings.items() if name in SCALE}
    own = isinstance(recipe, nn.Module)
    if own:
        parts = {"net": recipe, "parts": data, "criterion": loss, "score": metric, "opt": optimiser}
        plan: Recipe = replace(override(Given(), plan_settings), **parts)
        data = None
    else:
        plan = override(_recipe(recipe), plan_settings)
        plan, data = _with_data(plan, data)
    scale = override(Scale(), scale_settings)
    if resume:
        if folder is None:
            raise ValueError("resume=True continues the run in `folder`; pass the folder")
        return go_on(folder, plan if own else None, console=console, callbacks=callbacks, **settings)
    return begin(plan, folder, data, scale, console, callbacks)


def begin(
    plan: Recipe, folder: str | Path | None, data: Path | None, scale: Scale, console: Console, callbacks: Any = ()
) -> Result:
    """Start a new run. Settings that cannot work raise an error before its folder is created."""
    path = _place(plan, folder, scale)
    known = Folder(path)
    if any(int(os.environ.get(name) or 0) for name in RESTARTED) and known.config.is_file():
        return go_on(path, console=console, callbacks=callbacks)
    if not rank_zero_only.rank:
        Folder.refuse_taken(path)
    prepared = prepare(plan, data, scale)
    if not rank_zero_only.rank:
        known = Folder.create(path)
        os.environ[TOLD] = str(path)
        where = {"data_folder": str(data.resolve())} if data else {}
        known.write_config({**to_config(plan), "trainer": scale.settings()} | where)
    return _train(plan, prepared, known, scale, console, callbacks)


def go_on(
    folder: str | Path,
    plan: Recipe | None = None,
    *,
    data: Path | None = None,
    console: Console | None = None,
    callbacks: Sequence[Any] = (),
    **changes: Any,
) -> Result:
    """Continue an earlier run from its checkpoint. A finished run is continued if `epochs` is larger than before.
    `plan` is needed only for a network of your own.
    """
    known = Folder.open(folder)
    if data is not None and not data.is_dir():
        raise ValueError(f"a run continues with its first data; data may only name their folder, got {data}")
    plan, scale, place = read_config(known, plan)
    epochs = changes.pop("epochs", plan.epochs)
    begun = recipe_settings(plan) | recipe_settings(scale)
    differ = [name for name, value in changes.items() if value != begun.get(name)]
    if differ:
        raise ValueError(
            f"a run continues with its first settings; leave out {', '.join(differ)} (only epochs may grow)"
        )
    done = len(known.read_metrics()) if known.metrics.is_file() else 0
    longer = epochs != plan.epochs
    if longer and epochs < done:
        raise ValueError(f"{folder} has {done} epochs already; to continue, epochs must be at least that, got {epochs}")
    start = known.checkpoint if type(plan).fit is Recipe.fit else known.metrics  # what its `fit` continues from
    if known.finished and not start.is_file() and (longer or not known.metrics.is_file()):
        raise ValueError(
            f"{folder} is finished and has no {start.name}, so it cannot be continued; train a new run, or fine-tune "
            f"its network in Python, see `ranvier.models.load` and `ranvier.train.run`"
        )
    plan = replace(plan, epochs=epochs)
    prepared = prepare(plan, data or place, scale)
    console = console or Console(quiet=True)
    if known.finished and not longer:
        _net(known, plan, prepared[1])
        return Result(known.path, plan, prepared[1], known.read_result(), known.read_metrics())
    if longer and not rank_zero_only.rank:
        config = known.read_config()
        known.write_config(config | {"epochs": epochs})
        known.result.unlink(missing_ok=True)
    return _train(plan, prepared, known, scale, console, callbacks)


def prepare(plan: Recipe, data: Path | None, scale: Scale | None = None) -> tuple[Splits, nn.Module]:
    """Return the parts of the data, and the network with its initial weights; settings that cannot work raise a
    ValueError.
    """
    # data that is given as an argument has priority over the data of the recipe
    splits = three(Recipe.splits(plan, data) if ":" in plan.data else plan.splits(data))
    if plan.whole:
        splits = splits._replace(train=joined(splits))
    first, *_ = (batches(part, plan.batch, time_first=plan.time_first) for part in splits)
    batch = next(iter(first))
    net = tried(plan, batch)
    if scale is not None:
        with quiet():
            scale.check()
        _check_updates(plan, net, first, scale)
    return splits, net


def shown(plan: Recipe, part: Any) -> tuple[Any, ...]:
    """Return the first batch of a part in the form in which the network gets it: x `[T, B, *features]`, labels (and
    lengths).
    """
    x, *rest = next(iter(batches(part, plan.batch, time_first=plan.time_first)))
    return plan.encode(x, torch.Generator().manual_seed(0)), *rest


def three(splits: Any) -> Splits:
    """Return (train, validation, test) from the result of `splits`; with two parts, the second is used for validation
    and test.
    """
    if not isinstance(splits, (tuple, list)) or len(splits) not in (2, 3):
        got = type(splits).__name__ + (f" of {len(splits)}" if isinstance(splits, (tuple, list)) else "")
        raise TypeError(f"the data must come in parts (train, test) or (train, validation, test), got {got}")
    return Splits(splits[0], splits[1], splits[-1])


def joined(splits: Any) -> Any:
    """Return the training and the validation part as one."""
    train, validation, test = splits
    if validation is test:
        raise ValueError("whole=true trains on the validation part, but here it is the test part: give three parts")
    if all(isinstance(part, tuple) for part in (train, validation)):
        return Split(*(torch.cat(pair) for pair in zip(train, validation, strict=True)))
    if all(hasattr(part, "__getitem__") and hasattr(part, "__len__") for part in (train, validation)):
        return ConcatDataset([train, validation])
    raise TypeError(
        f"whole=true joins two pairs of tensors or two Datasets, got {type(train).__name__} and "
        f"{type(validation).__name__}"
    )


def read_config(folder: Folder, plan: Recipe | None = None) -> tuple[Recipe, Scale, Path | None]:
    """Return the recipe of a run, its settings for Lightning, and the folder of its data set if one was given."""
    config = folder.read_config()
    trainer, where = config.pop("trainer", {}), config.pop("data_folder", None)
    try:
        if plan is None and not config.get("recipe"):
            raise ValueError(
                "its net was given from Python; continue with ranvier.train.run(net, folder, resume=True, ...)"
            )
        for what in ("recipe", "data"):
            folder.refuse_inside(what, config.get(what, ""))
        if plan is None:
            plan = from_config(RECIPES, config)
        else:
            plan = override(plan, {k: v for k, v in config.items() if k != "recipe"})
        if not isinstance(trainer, Mapping):
            raise ValueError(f"trainer must be a table of settings, got {trainer!r}")
        return plan, override(Scale(), trainer), Path(where) if where else None
    except (ValueError, TypeError, AttributeError, ImportError) as error:
        raise ValueError(f"{folder.config}: {error}") from None


def _recipe(recipe: Any) -> Recipe:
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, type) and issubclass(recipe, Recipe):
        return recipe()
    if not isinstance(recipe, str):
        raise TypeError(f"run takes a recipe's name, a Recipe or an nn.Module, got {type(recipe).__name__}")
    return named(RECIPES, recipe)


def _with_data(plan: Recipe, data: Any) -> tuple[Recipe, Path | None]:
    """Return the recipe and the folder of its data; if `data` names a function that returns splits, the recipe
    contains this name and the folder is None.
    """
    if data is None:
        return plan, None
    if isinstance(data, (str, Path)) and ":" not in str(data).removeprefix(str(Path(data).drive)):
        return plan, _a_folder(data)
    if not isinstance(data, str):
        raise TypeError(f"data of a recipe is a folder or file.py:name, got {type(data).__name__}; or pass a net")
    where, _, name = data.rpartition(":")
    return override(plan, {"data": f"{Path(where).resolve()}:{name}" if where.endswith(".py") else data}), None


def _a_folder(data: str | Path) -> Path:
    if Path(data).is_file():
        raise ValueError(f"the data of a recipe must be a folder, or file.py:name for splits of your own, got {data}")
    return Path(data)


def _place(plan: Recipe, folder: str | Path | None, scale: Scale) -> Path:
    told = os.environ.get(TOLD)
    if rank_zero_only.rank and told:
        return Path(told)
    if folder is None and (os.environ.get("TORCHELASTIC_RUN_ID") or scale.nodes > 1):
        raise ValueError("several processes need the same folder: name it with --out RUN")
    return Path(folder) if folder else Folder.free(Path("runs") / plan.name)


def _check_updates(plan: Recipe, net: nn.Module, drawn: Batches, scale: Scale) -> None:
    weights = [weight for weight in net.parameters() if weight.requires_grad]
    if not weights and type(plan).fit is Recipe.fit:
        raise ValueError(f"{plan.name}: nothing can be trained: no parameter of the net requires a gradient")
    if weights:
        per_epoch = -(-len(drawn) // scale.world // scale.accumulate) or 1
        plan.optimiser(weights, per_epoch * plan.epochs)


def _net(folder: Folder, plan: Recipe, net: nn.Module) -> None:
    with suppress(FileNotFoundError):
        folder.read_weights(net)


def _train(
    plan: Recipe, prepared: tuple[Any, nn.Module], folder: Folder, scale: Scale, console: Console, callbacks: Any
) -> Result:
    splits, net = prepared
    if rank_zero_only.rank:
        console = Console(quiet=True)
    count = len(batches(splits[0], plan.batch, time_first=plan.time_first, world=scale.world))
    console.print(
        f"[bold]{plan.name}[/]: {count:,} batches an epoch, {plan.epochs} epochs, into {folder.path}", soft_wrap=True
    )
    health = Health(lambda sentence: console.print(sentence, style="yellow", markup=False, soft_wrap=True))
    watching = [health, OneBar(console), *callbacks]
    trainer = scale.settings()
    try:
        rows = plan.fit(net, splits[0], splits[1], folder, watching, **trainer)
    except (KeyboardInterrupt, SystemExit) as stop:  # Lightning raises SystemExit after SIGTERM
        if not rank_zero_only.rank:
            print(f"stopped; go on with: ranvier train --resume {folder.path}", file=sys.stderr)
        if isinstance(stop, SystemExit):
            sys.exit(128 + signal.SIGTERM)
        raise
    if rank_zero_only.rank:
        return Result(folder.path, plan, net, {}, rows)
    beside = plan.beside(splits, folder, watching[1:], **trainer)
    answers = evaluate(plan, net, splits[2])
    result = summary(plan, net, answers, rows) | ({"beside": beside} if beside else {})
    if health.found:
        result["told"] = health.found
    write_report(folder, plan, net, answers, result, rows)
    folder.write_result(result)  # last: this file marks the run as finished
    return Result(folder.path, plan, net, result, rows)
