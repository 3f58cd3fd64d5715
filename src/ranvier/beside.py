"""Compare several runs: their settings and their results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ranvier.train.folder import Folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The results of a finished run that are listed: key in result.json -> (label, function that formats the value).
FIGURES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "accuracy": ("test accuracy", "{:.2%}".format),
    "loss": ("test loss", "{:.4g}".format),
    "samples": ("test samples", "{:,}".format),
    "epochs": ("epochs trained", "{}".format),
    "training_seconds": ("seconds of training", "{:.1f}".format),
    "parameters": ("weights", "{:,}".format),
}
CURVES = ("train_loss", "validation_loss", "validation_accuracy")


@dataclass(frozen=True)
class Beside:
    """A comparison of several runs, as tables; `page()` returns it as a page of HTML.

    names: the folders of the runs.
    settings: the settings that differ, and figures: the results; both are rows [name, one value per run].
    history: {quantity: one list per run, with one value per epoch}.
    """

    names: list[str]
    settings: list[list[str]]
    figures: list[list[str]]
    history: dict[str, list[list[float]]]

    @property
    def rows(self) -> list[list[str]]:
        return self.figures + self.settings

    def page(self) -> str:
        """Return one page of HTML: the curves of all runs, and the tables."""
        from ranvier.report import svg, template

        figures = []
        for what, runs in self.history.items():
            ends = " and ".join(f"{run[-1]:.3g}" for run in runs if run)
            says = f"Curves of the {words(what)} epoch by epoch; at the end {ends}"
            drawn = svg(what, lambda figure, runs=runs: self._draw(runs, figure), says, (4.2, 2.4))
            figures.append((words(what), f"Epoch by epoch. At the end: {ends}.", drawn))
        head = ["", *self.names]
        tables = [("Results", head, self.figures), ("Settings that differ", head, self.settings)]
        return template("table.html.j2").render(
            title=" beside ".join(self.names), over="comparison of runs", lead="The results of each run, and the "
            "settings in which the runs differ.", figures=figures, tables=[t for t in tables if t[2]],
        )  # fmt: skip

    def _draw(self, runs: Sequence[Sequence[float]], figure: Figure) -> None:
        from ranvier import plot

        plot.curve({name: row for name, row in zip(self.names, runs, strict=True) if row}, figure.subplots())


def words(what: str) -> str:
    return what.replace("_", " ")


def beside(runs: Sequence[str | Path]) -> Beside:
    """Compare the runs in these folders. A run that has not ended is included with its epochs so far.

    A folder without a run raises a FileNotFoundError. Fewer than two folders raise a ValueError.
    """
    if len(runs) < 2:
        raise ValueError(f"show compares runs: name two or more folders, got {len(runs)}")
    folders = [Folder.open(run) for run in runs]
    configs = [_flat(folder.read_config()) for folder in folders]
    results = [folder.read_result() if folder.finished else {} for folder in folders]
    histories = [folder.read_metrics() if folder.metrics.is_file() else [] for folder in folders]
    known = dict.fromkeys(name for config in configs for name in config)
    asked = [[name, *(str(config.get(name, "-")) for config in configs)] for name in known]
    figures = [[said, *(write(r[k]) if k in r else "-" for r in results)] for k, (said, write) in FIGURES.items()]
    fired = [result.get("firing_rate", {}) for result in results]
    for layer in dict.fromkeys(layer for rates in fired for layer in rates):
        figures.append([f"spikes per step, {layer}", *(f"{r[layer]:.3f}" if layer in r else "-" for r in fired)])
    curves = {what: [[row[what] for row in rows if what in row] for rows in histories] for what in CURVES}
    return Beside(
        [str(run) for run in runs],
        [row for row in asked if len(set(row[1:])) > 1],
        [row for row in figures if set(row[1:]) != {"-"}],
        {what: each for what, each in curves.items() if any(each)},
    )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
