"""Pictures of whole networks: their layers, their energy, and their activity as an animation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from ranvier.extras import needed
from ranvier.nn.temporal import Temporal
from ranvier.plot.axes import INK, array, colour, ink, legend, picture, say
from ranvier.train.energy import Energy

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes


@picture
def network(net: nn.Module, ax: Axes | None = None, rates: Any = None) -> Axes:
    """Draw the layers of a network from top to bottom, with their parameters; temporal layers are filled.

    rates: {module path: spikes per neuron and step}, such as `{k: z.mean() for k, z in record(net, x, "z").items()}`,
    which are written next to their layer.

    >>> import torch, ranvier
    >>> net = ranvier.Sequential(torch.nn.Linear(4, 8), ranvier.LIF(), torch.nn.Linear(8, 2), ranvier.LI())
    >>> axes = network(net)
    """
    from matplotlib.patches import FancyBboxPatch

    assert ax is not None
    rows = [(path, m) for path, m in net.named_children()] or [("", net)]
    for k, (path, module) in enumerate(rows):
        temporal = any(isinstance(m, Temporal) for m in module.modules())
        count = sum(p.numel() for p in module.parameters())
        rate = None if rates is None or path not in rates else float(array(rates[path]))
        box = FancyBboxPatch(
            (0.0, -k - 0.32), 4.0, 0.64, boxstyle="round,pad=0.04", edgecolor=colour(0), linewidth=1.4,
            facecolor=colour(0) if temporal else "none", alpha=0.9 if temporal else 1.0,
        )  # fmt: skip
        ax.add_patch(box)
        inside: Any = {"va": "center", "color": "white" if temporal else ink()}
        ax.text(0.15, -k, f"{path}  {type(module).__name__}", **inside)
        ax.text(3.85, -k, f"{count:,}" if count else "", ha="right", **inside)
        if rate is not None:
            ax.text(4.25, -k, f"{rate:.3f} spikes a step", va="center", fontsize="small")
        if k:
            ax.annotate("", (2.0, -k + 0.38), (2.0, -k + 0.62), arrowprops={"arrowstyle": "->", "color": ink()})
    ax.set(xlim=(-0.3, 6.4 if rates else 4.3), ylim=(-len(rows) + 0.4, 0.6))
    ax.axis("off")
    names = ", ".join(type(m).__name__ for _, m in rows)
    return say(ax, f"A network of {len(rows)} layers: {names}.")


@picture
def energy_bars(energy: Energy, ax: Axes | None = None) -> Axes:
    """Plot the energy of each layer, in nJ per sample, for the spiking network and for a dense network of the same
    shape.

    energy: the result of `ranvier.train.energy.energy(net, x)`.

    >>> import torch, ranvier
    >>> from ranvier.train.energy import energy
    >>> net = ranvier.Sequential(torch.nn.Linear(4, 8), ranvier.LIF(), torch.nn.Linear(8, 2), ranvier.LI())
    >>> axes = energy_bars(energy(net, torch.rand(10, 2, 4)))
    """
    assert ax is not None
    if not isinstance(energy, Energy):
        raise TypeError(
            f"energy_bars: wanted the result of ranvier.train.energy.energy(net, x), got {type(energy).__name__}"
        )
    at = np.arange(len(energy.layers))
    spiking = [layer.spiking_pj / 1e3 for layer in energy.layers]
    dense = [layer.dense_pj / 1e3 for layer in energy.layers]
    ax.barh(at - 0.2, spiking, 0.38, color=colour(0), label=f"spiking, {energy.spiking_pj / 1e3:.3g} nJ")
    ax.barh(at + 0.2, dense, 0.38, color=colour(1), label=f"dense, {energy.dense_pj / 1e3:.3g} nJ")
    ax.set_yticks(at, [f"{layer.path} {layer.kind}" for layer in energy.layers])
    ax.invert_yaxis()
    ax.set(xlabel="nJ per sample")
    legend(ax)
    total = f"{energy.spiking_pj / 1e3:.3g} nJ spiking, {energy.dense_pj / 1e3:.3g} nJ dense"
    return say(ax, f"Estimated energy of {len(energy.layers)} layers: {total}.")


def animation(values: Any, path: str | Path | None = None, fps: int = 12, shape: tuple[int, int] | None = None) -> Any:
    """Animate the activity of a layer: one picture per step.

    values `[T, *features]` of one sample, such as spikes or membranes. Two axes of features are an image; the channels
    of `[C, H, W]` are drawn side by side; one axis is arranged as a square, or as `shape` = (H, W). path: the file to
    write, whose name ends with .gif or .html; without it, matplotlib's animation is returned, and `.to_jshtml()` shows
    it in a notebook.

    >>> import torch
    >>> film = animation(torch.rand(5, 30)).to_jshtml()
    """
    film = _frames(array(values), shape)
    if not film.size:
        raise ValueError("animation: there is nothing to show; wanted at least one step with one value")
    ending = None if path is None else Path(path).suffix
    if ending not in (None, ".gif", ".html"):
        raise ValueError(f"animation: the file must end with .gif or .html, got {str(path)!r}")
    made = _film(film, fps)
    if path is None:
        return made
    if ending == ".gif":
        made.save(path, writer="pillow", fps=fps)
    else:
        Path(path).write_text(made.to_jshtml(fps=fps), encoding="utf-8")
    return Path(path)


def _frames(v: np.ndarray, shape: tuple[int, int] | None) -> np.ndarray:
    """Return the frames, `[T, H, W]`."""
    if v.ndim == 2:
        count = v.shape[1]
        high, wide = shape or (-(-count // (side := math.ceil(math.sqrt(count)))), side)
        if high * wide < count:
            raise ValueError(f"animation: {count} values do not fit into shape={shape}")
        return np.pad(v, ((0, 0), (0, high * wide - count))).reshape(-1, high, wide)
    if v.ndim == 4:
        return v.transpose(0, 2, 1, 3).reshape(len(v), v.shape[2], -1)
    if v.ndim != 3:
        raise ValueError(
            f"animation: wanted values [T, N], [T, H, W] or [T, C, H, W] of one sample, got {list(v.shape)}"
        )
    return v


def _film(film: np.ndarray, fps: int) -> FuncAnimation:
    with needed("a picture"):
        from matplotlib.animation import FuncAnimation
        from matplotlib.figure import Figure
    wide, high = film.shape[2], film.shape[1]
    figure = Figure(figsize=(min(8.0, max(2.4, 3.2 * wide / high)), 3.4), layout="constrained", facecolor="white")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    ax = figure.subplots()
    shown = ax.imshow(film[0], cmap="viridis", vmin=float(film.min()), vmax=float(film.max()) or 1.0)
    ax.set(xticks=[], yticks=[])
    title = ax.set_title("step 0", color=INK)

    def draw(t: int) -> tuple:
        shown.set_data(film[t])
        title.set_text(f"step {t}")
        return shown, title

    say(ax, f"Animation of {len(film)} steps, {high} by {wide} values each.")
    return FuncAnimation(figure, draw, frames=len(film), interval=1000 / fps)
