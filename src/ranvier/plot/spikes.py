"""Pictures of spikes: rasters, histograms of rates, and the difference of two spike trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.plot.axes import array, colour, ink, legend, picture, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@picture
def raster(spikes: Any, ax: Axes | None = None, most: int = 100, **style: Any) -> Axes:
    """Draw a raster of spikes: one row per neuron, one stroke per spike.

    spikes `[T, *features]` of one sample, zero where there is no spike; flattened to `[T, N]`. At most `most` neurons
    are drawn, at equal distances. `style` is passed to `Axes.eventplot`.

    >>> import torch
    >>> axes = raster(torch.eye(10))
    """
    assert ax is not None
    z = array(spikes)
    if z.ndim < 2 or not len(z):
        raise ValueError(f"raster: spikes are {list(z.shape)}; wanted time and neurons of one sample, as [T, N]")
    z = z.reshape(len(z), -1)  # [T, N]
    total = z.shape[1]
    z = z[:, np.linspace(0, total - 1, min(most, total)).round().astype(int)]
    points = ax.get_window_extent().width * 72 / ax.figure.dpi
    # a stroke is half a step wide, but not thinner than 0.8 points and not wider than 16
    look = {"colors": colour(0), "linelengths": 0.75, "linewidths": min(16.0, max(0.8, 0.5 * points / len(z)))}
    ax.eventplot([np.flatnonzero(row) for row in z.T], **{**look, **style})
    ax.set(xlim=(-0.6, len(z) - 0.4), ylim=(-0.8, z.shape[1] - 0.2), xlabel="step", ylabel="neuron")
    return say(ax, f"Raster of {z.shape[1]} neurons over {len(z)} steps: {np.count_nonzero(z):,} spikes.")


@picture
def histogram(rates: Any, ax: Axes | None = None, bins: int = 25) -> Axes:
    """Draw a histogram of firing rates: the share of a layer's neurons at each rate, and a line at the mean.

    rates `[N]`, spikes per step in [0, 1], one per neuron. Silent neurons are in the first bar.

    >>> import torch
    >>> axes = histogram(torch.rand(100) ** 2)
    """
    assert ax is not None
    r = array(rates).ravel()
    if not r.size or not (r.min() >= 0 and r.max() <= 1):
        raise ValueError(f"histogram: rates are spikes per step in [0, 1], one per neuron, got {r.size} values")
    ax.hist(r, bins=bins, range=(0, 1), weights=np.full(r.size, 1 / r.size), color=colour(0))
    ax.axvline(r.mean(), color=colour(1), linewidth=1.4)
    ax.set(xlabel="spikes per step", ylabel="share of neurons", xlim=(0, 1))
    silent = float((r == 0).mean())
    return say(
        ax, f"Histogram of {r.size} firing rates: {r.mean():.3f} spikes per step in the mean, {silent:.0%} silent."
    )


@picture
def comparison(spikes: Any, other: Any, ax: Axes | None = None, names: tuple[str, str] = ("a", "b")) -> Axes:
    """Draw two spike trains of the same neurons, one above the other in each row; spikes that only one of them has are
    marked.

    spikes and other `[T, *features]` of one sample, of the same shape.

    >>> import torch
    >>> axes = comparison(torch.eye(5), torch.eye(5).roll(1, 0))
    """
    from matplotlib.ticker import MaxNLocator

    assert ax is not None
    a, b = array(spikes), array(other)
    if a.ndim < 2 or a.shape != b.shape:
        raise ValueError(f"comparison: wanted two trains [T, N] of one shape, got {list(a.shape)} and {list(b.shape)}")
    a, b = (v.reshape(len(v), -1) != 0 for v in (a, b))  # [T, N]
    rows = np.arange(a.shape[1])
    for k, (train, name) in enumerate(((a, names[0]), (b, names[1]))):
        times = [np.flatnonzero(row) for row in train.T]
        shift = 0.2 - 0.4 * k
        ax.eventplot(times, lineoffsets=rows + shift, linelengths=0.36, colors=colour(k), linewidths=1.6)
        ax.plot([], [], color=colour(k), label=name)
    step, row = np.nonzero(a != b)
    ax.scatter(step, row, s=60, facecolors="none", edgecolors=ink(), linewidths=0.8, label="only in one", zorder=3)
    ax.set(xlim=(-0.6, len(a) - 0.4), ylim=(-0.7, a.shape[1] - 0.3), xlabel="step", ylabel="neuron")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    legend(ax, loc="upper center", bbox_to_anchor=(0.5, 1.13), ncols=3)
    told = f"{int(a.sum())} and {int(b.sum())} spikes, {len(step)} of them in one train only."
    return say(ax, f"Two spike trains of {a.shape[1]} neurons over {len(a)} steps: {told}")
