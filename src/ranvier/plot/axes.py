"""Shared parts of all pictures: axes, colours, arrays, and a description in words for people who cannot see the
picture.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import numpy as np
from torch import Tensor

from ranvier.extras import needed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

P = ParamSpec("P")

INK = "#7f7f7f"  # visible on white and on black
PALETTE = ("#2f86c8", "#d8702a", "#2b9a76", "#b65fa0", "#c2952b", "#5f6fc4", "#7f7f7f")
"""Colours that also differ in lightness, for people who cannot distinguish red from green; visible on white and black.
"""

LOOK = {
    "axes.facecolor": "none", "savefig.facecolor": "none", "text.color": INK,
    "axes.edgecolor": INK, "axes.labelcolor": INK, "axes.titlecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
}  # fmt: skip


def picture(draw: Callable[Concatenate[Any, P], Axes]) -> Callable[Concatenate[Any, P], Axes]:
    """If no axes are given, make a figure without background whose lines are visible on light and dark pages."""

    names = list(signature(draw).parameters)[1:]

    @wraps(draw)
    def drawn(data: Any, *args: P.args, **options: P.kwargs) -> Axes:
        named: dict[str, Any] = dict(zip(names, args, strict=False)) | options
        if len(args) > len(names) or named.get("ax") is not None:
            return draw(data, *args, **options)
        with needed("a picture"):
            import matplotlib
            from cycler import cycler
            from matplotlib import pyplot
        # outside of rc_context, because the first figure of a notebook also changes settings of matplotlib
        figure = pyplot.figure(layout="constrained")
        figure.set_facecolor("none")
        look: Any = {**LOOK, "axes.prop_cycle": cycler(color=PALETTE)}
        with matplotlib.rc_context(look):
            return draw(data, **{**named, "ax": figure.subplots()})  # type: ignore[call-arg]

    return drawn


def colour(k: int) -> str:
    """Return colour number k of the current style."""
    from matplotlib.colors import to_hex

    return to_hex(f"C{k}")


def ink() -> str:
    """Return the text colour of the current style."""
    import matplotlib
    from matplotlib.colors import to_hex

    return to_hex(matplotlib.rcParams["text.color"])


def legend(ax: Axes, **where: Any) -> None:
    """Add a legend without a box, in the text colour of the axes."""
    ax.legend(frameon=False, labelcolor=ax.xaxis.label.get_color(), **where)


def array(values: Any) -> np.ndarray:
    return values.detach().cpu().float().numpy() if isinstance(values, Tensor) else np.asarray(values, dtype=float)


def say(ax: Axes, text: str) -> Axes:
    """Store `text` as the description of the picture (see `alt_text`), and return the axes."""
    ax.set_label(text)
    return ax


def alt_text(ax: Axes) -> str:
    """Return the description of the picture on these axes in words, for people who cannot see it.

    >>> import torch
    >>> from ranvier import plot
    >>> plot.alt_text(plot.raster(torch.eye(3)))
    'Raster of 3 neurons over 3 steps: 3 spikes.'
    """
    return str(ax.get_label())
