"""Pictures of values over time, and of figures over epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.plot.axes import array, colour, ink, legend, picture, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@picture
def traces(values: Any, ax: Axes | None = None, highlight: int | None = None) -> Axes:
    """Plot values over time, one line each, such as the membranes of a readout layer.

    values `[T, N]`; `highlight` is the number of the line to emphasise: the others are then paler.

    >>> import torch
    >>> axes = traces(torch.rand(20, 3).cumsum(0), highlight=0)
    """
    assert ax is not None
    v = array(values)
    if v.ndim != 2:
        raise ValueError(f"traces: values are {list(v.shape)}; wanted [T, N] of one sample")
    for index, line in enumerate(v.T):
        strong = highlight in (None, index)
        style = {"linewidth": 2.2, "zorder": 3} if strong else {"linewidth": 1.0, "color": "0.6", "alpha": 0.6}
        ax.plot(line, **style)
    ax.set(xlabel="step", ylabel="membrane", xlim=(0, max(1, len(v) - 1)))
    marked = "" if highlight is None else f", line {highlight} marked"
    return say(ax, f"{v.shape[1]} lines over {len(v)} steps{marked}.")


@picture
def membranes(
    v: Any, spikes: Any = None, ax: Axes | None = None, threshold: float | Sequence[float] | None = None, most: int = 6
) -> Axes:
    """Plot membranes with their threshold and spikes, one row per neuron.

    v `[T, N]` of one sample, spikes of the same shape or None, threshold one number or one per neuron. At most `most`
    neurons are drawn, the first ones.

    >>> import torch, ranvier
    >>> lif, x = ranvier.LIF(), torch.rand(50, 1, 3) * 0.4
    >>> axes = membranes(ranvier.record(lif, x, "v")[""][:, 0], lif(x)[:, 0], threshold=1.0)
    """
    assert ax is not None
    values = array(v)
    z = None if spikes is None else array(spikes)
    if values.ndim != 2 or not values.size or (z is not None and z.shape != values.shape):
        got = "" if z is None else f" and spikes {list(z.shape)}"
        raise ValueError(f"membranes: wanted v and spikes [T, N] of one sample, got {list(values.shape)}{got}")
    count = min(most, values.shape[1])
    levels = None if threshold is None else array(threshold)
    if levels is not None and levels.shape not in ((), (1,), (values.shape[1],)):
        raise ValueError(
            f"membranes: threshold is one number or one per neuron [{values.shape[1]}], got {levels.shape}"
        )
    levels = None if levels is None else np.broadcast_to(levels, values.shape[1])
    shown = values[:, :count] if levels is None else np.concatenate([values[:, :count], levels[None, :count]])
    row = 1.4 * (float(shown.max() - shown.min()) or 1.0)
    for k in range(count):
        base = -k * row
        ax.plot(values[:, k] + base, color=colour(0), linewidth=1.4)
        if levels is not None:
            ax.axhline(levels[k] + base, color=ink(), linewidth=0.8, linestyle=(0, (4, 3)))
        if z is not None:
            top = float(shown.max()) + base
            at = np.flatnonzero(z[:, k])
            ax.vlines(at, top + 0.05 * row, top + 0.17 * row, color=colour(1), linewidth=1.8)
    ax.set_yticks([-k * row for k in range(count)], [f"{k}" for k in range(count)])
    ax.set(xlabel="step", ylabel="neuron", xlim=(0, max(1, len(values) - 1)))
    fired = "" if z is None else f", {int(np.count_nonzero(z[:, :count]))} spikes"
    return say(ax, f"Membranes of {count} neurons over {len(values)} steps{fired}.")


@picture
def curve(lines: Mapping[str, Sequence[float]], ax: Axes | None = None, label: str = "") -> Axes:
    """Plot figures over epochs, such as a loss in training and validation: one line per name.

    lines: {name: one value per epoch}; `label` names the vertical axis.

    >>> axes = curve({"train": [0.5, 0.9], "validation": [0.4, 0.8]}, label="accuracy")
    """
    from matplotlib.ticker import MaxNLocator

    assert ax is not None
    if not lines:
        raise ValueError("curve: there is no line to draw; pass {name: one value per epoch}")
    for index, (name, values) in enumerate(lines.items()):
        epochs = np.arange(1, len(values) + 1)
        ax.plot(epochs, values, color=colour(index), label=name, marker="o" if len(values) == 1 else "")
    ax.set(xlabel="epoch", ylabel=label)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(ax)
    ends = ", ".join(f"{name} ends at {values[-1]:.3g}" for name, values in lines.items() if len(values))
    return say(ax, f"{label or 'Figures'} over epochs: {ends}.")
