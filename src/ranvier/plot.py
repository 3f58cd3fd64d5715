"""Pictures of spiking networks. Each takes arrays, draws on `ax` (or on a new figure) and returns the axes.

Matplotlib is imported when a picture is drawn. Colours follow the current matplotlib style.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ranvier.extras import needed

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def raster(spikes: Any, ax: Axes | None = None, most: int = 100, **style: Any) -> Axes:
    """Who spikes when: one row a neuron, one stroke a spike.

    spikes `[T, *features]` of one sample, zero where there is no spike; flattened to `[T, N]`. Of more than `most`
    neurons, that many evenly chosen ones are drawn. `style` goes to `Axes.eventplot`.

    >>> import torch
    >>> axes = raster(torch.eye(10))
    """
    z = _array(spikes)
    if z.ndim < 2:
        raise ValueError(f"raster: spikes are {list(z.shape)}; wanted time and neurons of one sample, as [T, N]")
    z = z.reshape(len(z), -1)  # [T, N]
    z = z[:, np.linspace(0, z.shape[1] - 1, min(most, z.shape[1])).round().astype(int)]
    ax = ax or _new_axes()
    points = ax.get_window_extent().width * 72 / ax.figure.dpi
    # few ticks: strokes as wide as half a tick; many: as thin as can be seen
    look = {"colors": "C0", "linelengths": 0.75, "linewidths": min(16.0, max(0.8, 0.5 * points / len(z)))}
    ax.eventplot([np.flatnonzero(row) for row in z.T], **{**look, **style})
    ax.set(xlim=(-0.6, len(z) - 0.4), ylim=(-0.8, z.shape[1] - 0.2), xlabel="step", ylabel="neuron")
    return ax


def traces(values: Any, ax: Axes | None = None, highlight: int | None = None) -> Axes:
    """Values over time, one line each, such as the membranes of a readout layer.

    values `[T, N]`; `highlight` is the line to draw strongly: the others then stand back.
    """
    v = _array(values)
    if v.ndim != 2:
        raise ValueError(f"traces: values are {list(v.shape)}; wanted [T, N], one sample's")
    ax = ax or _new_axes()
    for index, line in enumerate(v.T):
        strong = highlight in (None, index)
        style = {"linewidth": 2.2, "zorder": 3} if strong else {"linewidth": 1.0, "color": "0.6", "alpha": 0.6}
        ax.plot(line, **style)
    ax.set(xlabel="step", ylabel="membrane", xlim=(0, max(1, len(v) - 1)))
    return ax


def curve(lines: Mapping[str, Sequence[float]], ax: Axes | None = None, label: str = "") -> Axes:
    """Figures over epochs, one line a name, each named at its end.

    lines: {name: one value an epoch}; `label` names the vertical axis.

    >>> axes = curve({"train": [0.5, 0.9], "validation": [0.4, 0.8]}, label="accuracy")
    """
    from matplotlib.ticker import MaxNLocator

    ax = ax or _new_axes()
    for index, (name, values) in enumerate(lines.items()):
        epochs = np.arange(1, len(values) + 1)
        ax.plot(epochs, values, color=f"C{index}", label=name, marker="o" if len(values) == 1 else "")
    ax.set(xlabel="epoch", ylabel=label)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False)
    return ax


def histogram(rates: Any, ax: Axes | None = None, bins: int = 25) -> Axes:
    """How often neurons fire: the share of a layer's neurons at each rate.

    rates `[N]`, spikes per step in [0, 1], one a neuron. Silent neurons show as the first bar.
    """
    r = _array(rates).ravel()
    if not r.size or r.min() < 0 or r.max() > 1:
        raise ValueError(f"histogram: rates are spikes per step in [0, 1], one a neuron, got {r.size} values")
    ax = ax or _new_axes()
    ax.hist(r, bins=bins, range=(0, 1), weights=np.full(r.size, 1 / r.size), color="C0")
    ax.axvline(r.mean(), color="C1", linewidth=1.4)
    ax.set(xlabel="spikes per step", ylabel="share of neurons", xlim=(0, 1))
    return ax


def confusion(matrix: Any, ax: Axes | None = None, names: Sequence[str] | None = None) -> Axes:
    """What was taken for what: rows are the right classes, columns the answers, each field a count.

    matrix `[C, C]` of counts. Wrong answers are shaded by their share of the row, far more strongly than right ones.
    """
    counts = _array(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"confusion: the matrix is {list(counts.shape)}; wanted [C, C] counts, right class by answer")
    from matplotlib.patches import Rectangle

    ax = ax or _new_axes()
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    for (row, column), count in np.ndenumerate(counts):
        if not count:
            continue
        right = row == column
        shade = 0.6 * share[row, column] if right else min(0.75, 0.3 + 6 * share[row, column])
        square = Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, color="C0" if right else "C1", alpha=shade, lw=0)
        ax.add_patch(square)
        ax.text(column, row, f"{int(count)}", ha="center", va="center", fontsize="small")
    ticks = np.arange(len(counts))
    ax.set_xticks(ticks, names or ticks.astype(str))
    ax.set_yticks(ticks, names or ticks.astype(str))
    ax.tick_params(length=0)
    reach = len(counts) - 0.45
    ax.set(xlabel="answer", ylabel="right class", xlim=(-0.55, reach), ylim=(reach, -0.55), aspect="equal")
    return ax


def _array(values: Any) -> np.ndarray:
    return values.detach().cpu().float().numpy() if isinstance(values, Tensor) else np.asarray(values, dtype=float)


def _new_axes() -> Axes:
    with needed("a picture"):
        from matplotlib import pyplot

    return pyplot.subplots(layout="constrained")[1]
