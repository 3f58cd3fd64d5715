"""The result of a finished run; a notebook displays it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from torch import nn


@dataclass(frozen=True, repr=False)
class Result:
    """A finished run: its folder, recipe, trained network (in eval mode, on the CPU), figures, and a row per epoch."""

    folder: Path
    recipe: Any
    net: nn.Module = field(compare=False)
    figures: Mapping[str, Any]
    history: Sequence[Mapping[str, float]]

    @property
    def accuracy(self) -> float | None:
        """Share of right answers on the test set; None if labels are not classes."""
        return self.figures.get("accuracy")

    @property
    def loss(self) -> float:
        """The loss on the test set."""
        return self.figures["loss"]

    @property
    def samples(self) -> int:
        """Number of samples in the test set."""
        return self.figures["samples"]

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    def lines(self) -> list[str]:
        """Return the last lines of a run's output, in plain text."""
        f = self.figures
        if not f:
            return []
        trained = f"trained in {f['training_seconds']:.1f} s"
        if "accuracy" in f:
            first = f"test accuracy {f['accuracy']:.2%} ({f['correct']} of {f['samples']}), {trained}"
        else:
            first = f"test loss {f['loss']:.4g} over {f['samples']} samples, {trained}"
        beside = [f"beside it: {what} {share:.2%}" for what, share in f.get("beside", {}).items()]
        return [first, *beside, f"report: {self.report}"]

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        first, *rest = self.lines() or ["a process that is not the first"]
        told = "".join(f"<li>{escape(sentence)}</li>" for sentence in self.figures.get("told", ()))
        shown = [k for k in self.history[-1] if k != "seconds"] if self.history else []
        head = "".join(f"<th>{escape(k)}</th>" for k in shown)
        rows = "".join(
            "<tr>" + "".join(f"<td>{row.get(k, float('nan')):.4g}</td>" for k in shown) + "</tr>"
            for row in self.history[-5:]
        )
        return (
            f"<p><strong>{escape(str(self.recipe.name))}</strong>: {escape(first)}</p>"
            f"<ul>{told}</ul><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
            f'<p><a href="{escape(str(self.report))}">report</a> {escape("; ".join(rest[:-1]))}</p>'
        )
