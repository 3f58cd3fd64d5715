"""Pictures of one neuron: how its rate depends on the current, and how its two states change together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ranvier.nn.neuron import Neuron
from ranvier.nn.verbs import record
from ranvier.plot.axes import array, colour, ink, legend, picture, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@picture
def fi_curve(neuron: Neuron, currents: Any = None, ax: Axes | None = None, steps: int = 400, label: str = "") -> Axes:
    """Plot the f-I curve of a neuron: its firing rate against a constant current.

    currents `[K]`; the rate is spikes per step over the second half of `steps`, when adaptation has settled. To compare
    several neurons, draw their curves on the same axes.

    >>> import torch, ranvier
    >>> axes = fi_curve(ranvier.LIF(), torch.linspace(0, 0.5, 30))
    """
    assert ax is not None
    if not isinstance(neuron, Neuron):
        raise TypeError(f"fi_curve: wanted a neuron, such as ranvier.LIF(), got {type(neuron).__name__}")
    if currents is None:
        raise ValueError("fi_curve: pass the currents to try, such as torch.linspace(0, 1, 50)")
    strengths = torch.as_tensor(array(currents), dtype=torch.get_default_dtype()).flatten()
    with torch.no_grad():
        z = neuron(strengths.expand(steps, 1, -1).contiguous())
    rate = (z[steps // 2 :, 0] != 0).float().mean(0)
    ax.plot(strengths.numpy(), rate.numpy(), linewidth=1.8, label=label or type(neuron).__name__)
    ax.set(xlabel="current", ylabel="spikes per step")
    legend(ax)
    first = strengths[rate > 0]
    told = f"it fires from {first[0]:.3g} on" if len(first) else "it never fires"
    return say(ax, f"f-I curve of {type(neuron).__name__}: {told}.")


@picture
def phase_plane(
    neuron: Neuron,
    current: float = 0.0,
    ax: Axes | None = None,
    states: Sequence[str] | None = None,
    steps: int = 300,
    grid: int = 18,
) -> Axes:
    """Draw the phase plane of a neuron with two states: the direction in which each point moves in a step, and the
    trajectory from rest.

    current: constant input. states: the two states to draw; by default the neuron's states in order. Arrows show the
    direction of one step; all have the same length. Spikes are dots on the trajectory.

    >>> import ranvier
    >>> axes = phase_plane(ranvier.Izhikevich(), current=0.6)
    """
    assert ax is not None
    names = tuple(states or neuron.states)
    if len(names) != 2 or not set(names) <= set(neuron.states):
        there = ", ".join(neuron.states) or "none"
        raise ValueError(f"phase_plane: wanted a neuron with two states, or two of them by name; it has {there}")
    x = torch.full((steps, 1, 1), float(current))
    with torch.no_grad():
        path = [record(neuron, x, n)[""].flatten().numpy() for n in names]
        z = neuron(x).flatten().numpy()
    spread = [max(float(np.ptp(p)), 1e-3) for p in path]
    edges = [np.linspace(p.min() - 0.15 * s, p.max() + 0.15 * s, grid) for p, s in zip(path, spread, strict=True)]
    across, up = np.meshgrid(*edges)
    with torch.no_grad():
        points = {
            n: torch.from_numpy(g.reshape(1, -1).astype("float32")) for n, g in zip(names, (across, up), strict=True)
        }
        given = torch.full((1, across.size), float(current))
        rest = neuron.step(given)[1]
        rest = {n: torch.full_like(given, float(v.flatten()[0])) for n, v in rest.items()} | points
        after = neuron.step(given, rest)[1]
    move = [
        (after[n].numpy().reshape(across.shape) - g) / s for n, g, s in zip(names, (across, up), spread, strict=True)
    ]
    length = np.maximum(np.hypot(*move), 1e-12)
    ax.quiver(
        across, up, move[0] / length, move[1] / length, color=ink(), alpha=0.45, angles="uv", scale=30, width=0.003
    )
    ax.plot(*path, color=colour(0), linewidth=1.5)
    fired = np.flatnonzero(z)
    ax.plot(path[0][fired], path[1][fired], "o", color=colour(1), markersize=4, label=f"{len(fired)} spikes")
    ax.set(xlabel=names[0], ylabel=names[1])
    legend(ax, loc="upper right", bbox_to_anchor=(1.0, 1.13))  # above the arrows
    return say(
        ax, f"Phase plane of {type(neuron).__name__} at current {current:g}: {len(fired)} spikes in {steps} steps."
    )
