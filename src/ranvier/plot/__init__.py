"""Pictures of spiking networks: tensors in, matplotlib axes out.

| what | pictures |
|---|---|
| spikes | raster histogram comparison |
| lines | membranes traces curve |
| one neuron | fi_curve phase_plane |
| matrices | weights fields confusion |
| networks | network energy_bars animation |

Each function draws on `ax`, or on a new figure without background whose colours are visible on light and dark pages.
Colours also differ in lightness, for people who cannot distinguish red from green. On your own axes the colours are
those of your style. `alt_text(ax)` describes in words what a picture shows. Matplotlib is imported when a picture is
drawn.
"""

from ranvier.plot.axes import alt_text
from ranvier.plot.lines import curve, membranes, traces
from ranvier.plot.nets import animation, energy_bars, network
from ranvier.plot.neurons import fi_curve, phase_plane
from ranvier.plot.spikes import comparison, histogram, raster
from ranvier.plot.tables import confusion, fields, weights

__all__ = [
    "alt_text", "animation", "comparison", "confusion", "curve", "energy_bars", "fi_curve", "fields", "histogram",
    "membranes", "network", "phase_plane", "raster", "traces", "weights",
]  # fmt: skip
