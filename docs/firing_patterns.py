"""Draws docs/firing-patterns.png: the firing patterns of two papers, by `AdEx` and `Izhikevich`.

python docs/firing_patterns.py [folder]
"""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import ranvier as rv

HERE = Path(__file__).parent
ONSET = 100.0  # ms of rest before the current

# Naud, Marcille, Clopath & Gerstner, Firing patterns in the adaptive exponential integrate-and-fire model, Biological
# Cybernetics 99, 2008, table 1: C in pF, g_L in nS, E_L in mV, tau_w in ms, a in nS, b in pA, V_r in mV, I in pA.
# V_T is -50 mV, Delta_T 2 mV, and a spike is cut at 0 mV.
ADEX = {
    "tonic": (200, 10, -70, 30, 2, 0, -58, 500),
    "adapting": (200, 12, -70, 300, 2, 60, -58, 500),
    "initial burst": (130, 18, -58, 150, 4, 120, -50, 400),
    "bursting": (200, 10, -58, 120, 2, 100, -46, 210),
    "delayed accelerating": (200, 12, -70, 300, -10, 0, -58, 300),
    "delayed bursting": (100, 10, -65, 90, -10, 30, -47, 110),
    "transient": (100, 10, -65, 90, 10, 100, -47, 180),
    "irregular": (100, 12, -60, 130, -11, 30, -48, 160),
}
# Izhikevich, Simple model of spiking neurons, IEEE Transactions on Neural Networks 14, 2003, figure 2: a, b, c, d. The
# current from its onset on; `PULSED` defines the currents of the last two rows.
IZHIKEVICH = {
    "regular spiking": (0.02, 0.2, -65, 8, 10.0),
    "intrinsically bursting": (0.02, 0.2, -55, 4, 10.0),
    "chattering": (0.02, 0.2, -50, 2, 10.0),
    "fast spiking": (0.1, 0.2, -65, 2, 10.0),
    "low-threshold spiking": (0.02, 0.25, -65, 2, 10.0),
    "thalamo-cortical": (0.02, 0.25, -65, 0.05, 5.0),
    "thalamo-cortical, released": (0.02, 0.25, -65, 0.05, -29.5),
    "resonator": (0.1, 0.26, -65, 2, 0.2),
}
PULSED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "thalamo-cortical, released": lambda t, current: torch.where(t < 150.0, current, 0.0),  # from -87 mV to no current
    "resonator": lambda t, current: current + torch.where((t >= 150.0) & (t < 154.0), 3.0, 0.0),  # makes it fire
}


@dataclass(frozen=True)
class Cell:
    """One neuron, its current, and how to convert its membrane and its spikes to mV."""

    neuron: rv.Neuron
    dt: float
    current: Tensor  # [T]
    scale: float  # from the unit of its membrane to mV
    peak: float  # mV, where a spike is cut
    rest: dict[str, Tensor] | None = None  # the state before the first step, if it is not the neuron's own

    def run(self) -> tuple[Tensor, Tensor]:
        """Return the spike times in ms after the onset, and the membrane in mV [T]."""
        x = self.input.double().reshape(-1, 1, 1)
        z, _, traces = self.neuron.double().run(x, self.rest, ("v",))
        at, v = z.flatten().nonzero().flatten(), traces["v"].flatten() * self.scale
        v[at] = self.peak
        return at * self.dt - ONSET, v

    @property
    def input(self) -> Tensor:
        if isinstance(self.neuron, rv.Izhikevich):
            return self.current - float(self.neuron.a * self.neuron.v_rest)
        return self.current * 1e-12


def after_onset(dt: float, length: float) -> Tensor:
    """Return the time of each step in ms after the onset of the current."""
    return torch.arange(round((ONSET + length) / dt)) * dt - ONSET


def adex(name: str, dt: float = 0.1, length: float = 500.0) -> Cell:
    """Return the cell of a row of `ADEX`; dt in ms."""
    c, g, rest, tau_w, a, b, reset, current = ADEX[name]
    neuron = rv.AdEx(
        dt=dt * 1e-3, c_mem=c * 1e-12, g_leak=g * 1e-9, v_leak=rest * 1e-3, v_exp=-50e-3, delta=2e-3,
        tau_w=tau_w * 1e-3, a=a * 1e-9, b=b * 1e-12, v_reset=reset * 1e-3, threshold=0.0,
        terms={"synapse": lambda x: x},  # the input is the current
    )  # fmt: skip
    t = after_onset(dt, length)
    return Cell(neuron, dt, torch.where(t >= 0, float(current), 0.0), 1e3, 0.0)


def izhikevich(name: str, dt: float = 0.1, length: float = 500.0) -> Cell:
    """Return the cell of a row of `IZHIKEVICH`; dt in ms."""
    *numbers, current = IZHIKEVICH[name]
    neuron, b = rv.Izhikevich.of_2003(*numbers, dt=dt), numbers[1]
    v = -(5.0 - b + math.sqrt((5.0 - b) ** 2 - 4 * 0.04 * 140.0)) / 0.08  # where both equations are at rest
    w = b * (v - neuron.v_rest.item())
    rest = {k: torch.full((1, 1), value, dtype=torch.float64) for k, value in (("v", v), ("w", w))}
    t = after_onset(dt, length)
    course = torch.where(t >= 0, current, 0.0)
    course = torch.where(t >= 0, PULSED[name](t, course), 0.0) if name in PULSED else course
    return Cell(neuron, dt, course, 1.0, 30.0, rest)


def main(folder: Path = HERE) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    adexes = {name: adex(name) for name in ADEX}
    others = {name: izhikevich(name) for name in IZHIKEVICH}
    for name, cells in (("firing-patterns-adex", adexes), ("firing-patterns-izhikevich", others)):
        figure, axes = plt.subplots(4, 2, figsize=(6, 6.4), sharex=True, sharey=True, layout="constrained")
        for axis, (title, cell) in zip(axes.flat, cells.items(), strict=True):
            t, (_, v) = after_onset(cell.dt, 500.0), cell.run()
            axis.plot(t, v, color="#4477aa", linewidth=0.8)
            low, high = float(cell.current.min()), float(cell.current.max())
            axis.plot(t, -130 + 15 * (cell.current - low) / (high - low), color="#888888", linewidth=0.8)
            axis.set_title(title, fontsize=11)
            axis.set(ylim=(-135, 40), yticks=[-80, -40, 0])
            axis.spines[["top", "right"]].set_visible(False)
        figure.supxlabel("ms after the onset of the current", fontsize=11)
        figure.supylabel("membrane (mV)", fontsize=11)
        figure.savefig(folder / f"{name}.png", dpi=120)
        plt.close(figure)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
