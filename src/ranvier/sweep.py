"""`ranvier sweep`: search for the best settings of a recipe with Optuna; bad trials are stopped early."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ranvier.extras import needed
from ranvier.recipes import RECIPES, Recipe, named, override, settings
from ranvier.train.folder import Folder, write

with needed("a sweep"):
    import optuna
    from lightning.pytorch.callbacks import Callback

    from ranvier.train.running import run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AIMS: dict[str, Any] = {"validation_accuracy": "maximize", "validation_loss": "minimize"}


@dataclass(frozen=True)
class Range:
    """The range in which a setting is searched: `low..high` (integers stay integers), `low..high:log`, or `a,b,c`.

    >>> Range.read("lr", "1e-4..1e-1:log")
    Range(name='lr', low=0.0001, high=0.1, log=True, choices=())
    >>> Range.read("net.hidden", "16,32").choices
    ('16', '32')
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[str, ...] = ()

    @classmethod
    def read(cls, name: str, text: str) -> Range:
        """Parse a range; text that is not a range raises a ValueError."""
        if ".." not in text:
            return cls(name, choices=tuple(text.split(",")))
        ends, colon, log = text.partition(":")
        try:
            low, high = (float(end) for end in ends.split(".."))
        except ValueError:
            raise ValueError(f"{name} must be low..high, low..high:log or a,b,c, got {text!r}") from None
        if not low < high < math.inf or (colon and (log != "log" or low <= 0)):
            raise ValueError(f"{name}={text}: low must be less than high, and above 0 with :log")
        return cls(name, low, high, bool(colon))

    def suggest(self, trial: Any, now: Any) -> Any:
        """Return a value for one trial. It is an integer if `now`, the value in the recipe, is an integer."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        if isinstance(now, int):
            return trial.suggest_int(self.name, round(self.low), round(self.high), log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)


@dataclass(frozen=True)
class Sweep:
    """A finished search: its folder, its goal, the best settings, and a row per trial."""

    folder: Path
    aim: str
    best: Mapping[str, Any]
    value: float
    trials: list[dict[str, Any]]

    @property
    def page(self) -> Path:
        return self.folder / "sweep.html"


class Watch(Callback):
    """Lightning callback: reports the validation result of each epoch to Optuna, and stops the run if Optuna asks."""

    def __init__(self, trial: Any, aim: str):
        self.trial, self.aim = trial, aim

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        value = float(trainer.callback_metrics[self.aim])
        self.trial.report(value, trainer.current_epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned


def sweep(
    recipe: str | Recipe,
    ranges: Mapping[str, str],
    folder: str | Path,
    *,
    trials: int = 20,
    seed: int = 0,
    data: Any = None,
    console: Any = None,
    say: Callable[[str], None] = lambda sentence: None,
    **fixed: Any,
) -> Sweep:
    """Train a recipe `trials` times with settings from `ranges`, and find the best settings on the validation set.

    ranges: {field: `low..high`, `low..high:log` or `a,b,c`}; fixed: fields and settings of `train.run` that are the
    same for all trials. Each trial is a run in `folder/N`; a trial that is worse than the median of the others at the
    same epoch ends early. The test set does not influence the choice. A search that is started again with the same
    folder runs only the trials that are missing. An invalid range raises a ValueError before a folder is created.
    Needs Optuna: Akiba et al., KDD 2019.
    """
    plan = named(RECIPES, recipe) if isinstance(recipe, str) else recipe
    known = settings(override(plan, {k: v for k, v in fixed.items() if k in settings(plan)}))
    found = [Range.read(name, text) for name, text in ranges.items()]
    if not found or trials < 1:
        raise ValueError("a sweep needs a range, such as lr=1e-4..1e-1:log, and at least one trial")
    for each in found:  # unknown settings and invalid bounds raise an error here
        for value in each.choices or (each.low, each.high):
            whole = isinstance(known.get(each.name), int) and not each.choices
            override(plan, {each.name: round(float(value)) if whole else value})
    if known["whole"] or "whole" in ranges:
        raise ValueError("a sweep judges settings on the validation part, so it cannot train on it: leave out whole")
    folder = Path(folder)
    if not (folder / "sweep.db").is_file():
        Folder.refuse_taken(folder)
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    aim = "validation_accuracy" if plan.metric() is not None else "validation_loss"
    study = optuna.create_study(
        storage=f"sqlite:///{folder / 'sweep.db'}", study_name=plan.name, load_if_exists=True, direction=AIMS[aim],
        sampler=optuna.samplers.TPESampler(seed=seed), pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
    )  # fmt: skip

    def objective(trial: Any) -> float:
        changes = {each.name: each.suggest(trial, known[each.name]) for each in found}
        place = Folder.free(folder / str(trial.number))
        result = run(plan, place, data=data, console=console, callbacks=[Watch(trial, aim)], **{**fixed, **changes})
        return result.history[-1][aim]

    def told(study: Any, trial: Any) -> None:
        ended = f"{words(aim)} {trial.value:.4g}" if trial.state.name == "COMPLETE" else STATES[trial.state.name]
        say(f"trial {trial.number}: {', '.join(f'{k}={_text(v)}' for k, v in trial.params.items())}: {ended}")

    left = trials - len([t for t in study.trials if t.state.is_finished()])
    study.optimize(objective, n_trials=max(0, left), catch=(ArithmeticError, ValueError), callbacks=[told])
    rows = [{"trial": t.number, **t.params, aim: t.value, "state": STATES[t.state.name]} for t in study.trials]
    if not any(row["state"] == "trained" for row in rows):
        raise ArithmeticError(f"no trial of the sweep was trained to its end; look into {folder}")
    ended = Sweep(folder, aim, study.best_params, study.best_value, rows)
    write(ended.page, page(plan.name, ended))
    return ended


STATES = {
    "COMPLETE": "trained",
    "PRUNED": "given up early",
    "FAIL": "failed",
    "RUNNING": "broken off",
    "WAITING": "waits",
}


def page(name: str, sweep: Sweep) -> str:
    """Return a page of HTML: the best settings, a plot of the results of all trials, and a table of all trials."""
    from ranvier.report import svg, template

    done = [(row["trial"], row[sweep.aim]) for row in sweep.trials if row["state"] == "trained"]
    said = sweep.aim.replace("_", " ")
    best = ", ".join(f"{key} = {_text(value)}" for key, value in sweep.best.items())
    head = ["trial", *sweep.best, said, ""]
    rank = sorted(sweep.trials, key=lambda row: (row["state"] != "trained", _rank(row[sweep.aim], sweep.aim)))
    rows = [[_text(row.get(key)) for key in ("trial", *sweep.best, sweep.aim, "state")] for row in rank]
    says = f"{said} of {len(done)} trials; the best is {sweep.value:.4g}"
    drawn = svg("trials", lambda figure: _draw(done, said, figure), says, (4.2, 2.4))
    given_up = sum(row["state"] == "given up early" for row in sweep.trials)
    lead = f"The best {said} of {len(sweep.trials)} trials, by {best}. {given_up} were given up early."
    caption = "Each dot is a trial that was trained to its end, in the order of their start."
    return template("table.html.j2").render(
        title=f"{name}: {sweep.value:.4g}",
        over="a sweep",
        lead=f"{lead} The test set had no part in the choice.",
        figures=[("How it was found", caption, drawn)],
        tables=[("All trials, the best first", head, rows)],
    )


def words(what: str) -> str:
    return what.replace("_", " ")


def _rank(value: float | None, aim: str) -> float:
    return math.inf if value is None else (-value if AIMS[aim] == "maximize" else value)


def _text(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _draw(done: list[tuple[int, float]], said: str, figure: Figure) -> None:
    axes = figure.subplots()
    axes.plot(*zip(*done, strict=True), linestyle="", marker="o", color="C0")
    axes.set(xlabel="trial", ylabel=said)
