"""Pictures of matrices: weights, receptive fields, right and wrong answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.plot.axes import INK, array, colour, ink, picture, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@picture
def weights(weight: Any, ax: Axes | None = None) -> Axes:
    """Draw a weight matrix: brown is below 0, green is above, and the colour scale is symmetric around 0.

    weight `[out, in]`; further axes (those of a convolution) are flattened into the second.

    >>> import torch
    >>> axes = weights(torch.nn.Linear(20, 10).weight)
    """
    assert ax is not None
    w = array(weight)
    if w.ndim < 2:
        raise ValueError(f"weights: the weight is {list(w.shape)}; wanted [out, in]")
    w = w.reshape(len(w), -1)
    far = float(np.nanmax(np.abs(w), initial=0.0)) or 1.0
    shown = ax.imshow(w, cmap="BrBG", vmin=-far, vmax=far, aspect="auto", interpolation="nearest")
    ax.figure.colorbar(shown, ax=ax, label="weight")
    ax.set(xlabel="from", ylabel="to")
    return say(ax, f"Weights from {w.shape[1]} to {w.shape[0]}, between {w.min():.3g} and {w.max():.3g}.")


@picture
def fields(weight: Any, ax: Axes | None = None, shape: tuple[int, int] | None = None, most: int = 36) -> Axes:
    """Draw receptive fields: the weights into each neuron, arranged like the input image.

    weight `[N, H, W]`, or `[N, H * W]` with `shape` = (H, W). Each field is scaled to its own largest weight. At most
    `most` neurons are drawn, the first ones.

    >>> import torch
    >>> axes = fields(torch.rand(8, 64), shape=(8, 8))
    """
    assert ax is not None
    w = array(weight)
    if w.ndim == 2 and shape is not None and w.shape[1] == math.prod(shape):
        w = w.reshape(len(w), *shape)
    if w.ndim != 3 or not w.size:
        raise ValueError(f"fields: wanted weights [N, H, W], or [N, H * W] with shape=(H, W); got {list(w.shape)}")
    w = w[:most]
    across = math.ceil(math.sqrt(1.5 * len(w)))
    down = -(-len(w) // across)
    high, wide = w.shape[1] + 1, w.shape[2] + 1
    mosaic = np.full((down * high, across * wide), np.nan)
    for k, field in enumerate(w):
        y, x = (k // across) * high, (k % across) * wide
        mosaic[y : y + high - 1, x : x + wide - 1] = field / (np.abs(field).max() or 1.0)
    ax.imshow(mosaic, cmap="BrBG", vmin=-1, vmax=1, interpolation="nearest")
    ax.axis("off")
    return say(ax, f"Receptive fields of {len(w)} neurons, {w.shape[1]} by {w.shape[2]} each.")


@picture
def confusion(matrix: Any, ax: Axes | None = None, names: Sequence[str] | None = None) -> Axes:
    """Draw a confusion matrix: rows are the right classes, columns the answers, each field is a count.

    matrix `[C, C]` of counts. Wrong answers are shaded by their share of the row, far more strongly than right ones.

    >>> axes = confusion([[9, 1], [2, 8]], names=["no", "yes"])
    """
    from matplotlib.patches import Rectangle

    assert ax is not None
    counts = array(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"confusion: the matrix is {list(counts.shape)}; wanted [C, C] counts, right class by answer")
    ours = ink() == INK  # our style has no background: solid squares with white numbers are readable on any page
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    for (row, column), count in np.ndenumerate(counts):
        if not count:
            continue
        right = row == column
        shade = 0.6 * share[row, column] if right else min(0.75, 0.3 + 6 * share[row, column])
        shade = 0.9 if ours else shade
        corner = (column - 0.47, row - 0.47)
        ax.add_patch(Rectangle(corner, 0.94, 0.94, color=colour(0 if right else 1), alpha=shade, lw=0))
        ax.text(
            column, row, f"{int(count)}", ha="center", va="center", fontsize="small", color="white" if ours else ink()
        )
    ticks = np.arange(len(counts))
    ax.set_xticks(ticks, names or ticks.astype(str))
    ax.set_yticks(ticks, names or ticks.astype(str))
    ax.tick_params(length=0)
    reach = len(counts) - 0.45
    ax.set(xlabel="answer", ylabel="right class", xlim=(-0.55, reach), ylim=(reach, -0.55), aspect="equal")
    right, total = int(np.trace(counts)), int(counts.sum())
    return say(ax, f"Confusion matrix of {len(counts)} classes: {right} of {total} answers are right.")
