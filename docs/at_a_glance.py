"""Writes docs/at-a-glance.md, the page of all neurons, from their docstrings and the table below; `make docs` runs it.

`python docs/at_a_glance.py` draws the small pictures in docs/glance/ again: the response of each neuron to a step of
current.
"""

import inspect
import re
import sys
from pathlib import Path

import torch

import ranvier as rv

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import reference  # noqa: E402  (in the same folder)

STEPS, ON, OFF = 100, 10, 80  # the current flows from step ON to step OFF
WIDE, HIGH = 180, 66  # size of a picture

# For each neuron: when to use it, its source, the current in its picture, and a function that makes it, if it needs
# arguments.
NEURONS: dict[str, tuple] = {
    "IF": ("the simplest spiking neuron, without leak; converted networks", "Lapicque 1907", 0.12),
    "LIF": ("**the standard neuron: start with this one**", "Gerstner & Kistler 2002", 0.15),
    "LI": ("a readout: its membrane is the output", "", 0.15),
    "RestLIF": ("the equation of SpikingJelly's `LIFNode`", "Fang et al. 2021", 1.06),
    "ParametricLIF": ("a learned time constant", "Fang et al. 2021", 1.06),
    "KLIF": ("a learned gain of the membrane before the spike", "Jiang & Zhang 2023", 1.06),
    "ComplementaryLIF": ("gradients that reach further back", "Huang et al. 2024", 0.56),
    "AnalogLIF": ("graded activations with a spiking reset", "Wu et al. 2022", 1.06),
    "GatedLIF": (
        "training chooses leak, input and reset", "Yao et al. 2022", 0.35, lambda: rv.GatedLIF(STEPS),
    ),
    "Heaviside": ("a spike without a state", "McCulloch & Pitts 1943", 1.0),
    "CubaLIF": ("input through a synaptic current; Loihi", "Davies et al. 2018", 0.03),
    "CubaLI": ("a readout with a synaptic current: smoother than `LI`", "", 0.02),
    "ALIF": ("memory over long sequences; recurrent nets", "Bellec et al. 2018", 0.25),
    "SEAdLIF": ("adaptation with stable oscillations; speech, long sequences", "Baronig et al. 2025", 8.0),
    "SiLIF": ("adaptation with learned time steps; speech", "Fabre et al. 2025", 6.0),
    "ResonateAndFire": ("responds to inputs of one frequency", "Izhikevich 2001", 0.9),
    "BRF": ("oscillations over long sequences; stable in training", "Higuchi et al. 2024", 45.0),
    "BHRF": ("like `BRF`, but a damped harmonic oscillator", "Higuchi et al. 2024", 300.0),
    "AssociativeResonate": (
        "resonators in parallel over time", "Izhikevich 2001", 0.45,
        lambda: rv.AssociativeResonate(damping=0.1, omega=0.3, dt=1.0),
    ),
    "QIF": ("a smooth onset of the spike", "Ermentrout & Kopell 1986", 0.35),
    "EIF": ("a sharp onset of the spike, as in cortex", "Fourcaud-Trocmé et al. 2003", 0.1),
    "Izhikevich": ("many firing patterns (bursting, chattering, ...) with one equation", "Izhikevich 2003", 0.6),
    "AdEx": ("biology in SI units; BrainScaleS-2", "Brette & Gerstner 2005", 0.6),
    "PhysicalLIF": ("SI units without adaptation; analog chips", "Brette & Gerstner 2005", 0.6),
    "PhysicalLI": ("a readout in SI units", "Brette & Gerstner 2005", 0.6),
    "TernaryLIF": ("spikes of both signs", "Guo et al. 2024", 1.06),
    "IntegerLIF": ("few steps, with several spikes in each", "Luo et al. 2024", 0.5),
    "AssociativeLIF": ("very long sequences: no reset, parallel in time", "Fang et al. 2023", 0.15),
    "ParallelLIF": ("parallel in time in spite of its reset", "Heckel & Nowotny 2024", 0.15),
    "PSN": ("whole sequences of one length; not causal", "Fang et al. 2023", 2.0, lambda: rv.PSN(STEPS)),
    "MaskedPSN": (
        "like `PSN`, but each step sees a window of steps", "Fang et al. 2023", 8.0,
        lambda: rv.MaskedPSN(4, STEPS, masking=1.0),
    ),
    "SlidingPSN": (
        "like `PSN`, but for any length, and step by step", "Fang et al. 2023", 0.6, lambda: rv.SlidingPSN(4),
    ),
    "TimedLIF": ("exact gradients of spike times", "Wunderlich & Pehle 2021", 0.5),
    "TimedLI": ("the readout after `TimedLIF`", "Wunderlich & Pehle 2021", 0.15),
    "FireFirstIF": ("Spyx's order: spike before input", "Heckel & Nowotny 2024", 0.12),
    "FireFirstLIF": (
        "Spyx's order: spike before input", "Heckel & Nowotny 2024", 0.15, lambda: rv.FireFirstLIF(beta=0.9),
    ),
    "FireFirstALIF": (
        "Spyx's order, with an adaptive threshold", "Heckel & Nowotny 2024", 0.3,
        lambda: rv.FireFirstALIF(beta=0.9, gamma=0.97),
    ),
    "FireFirstCubaLIF": (
        "Spyx's order, with a synaptic current", "Heckel & Nowotny 2024", 0.02,
        lambda: rv.FireFirstCubaLIF(alpha=0.9, beta=0.9),
    ),
    "ClampedLI": ("Spyx's readout", "", 0.15),
    "TracedIF": ("local learning: spikes with a trace", "Morrison et al. 2008", 0.12),
    "TracedLIF": ("local learning", "Morrison et al. 2008", 0.15),
    "TracedALIF": ("local learning with a homeostatic threshold", "Diehl & Cook 2015", 0.25),
    "Fede": ("optic flow learned by plasticity", "Paredes-Valles et al. 2020", 1.5),
}  # fmt: skip


GRADED = ("LI", "CubaLI", "PhysicalLI", "TimedLI", "ClampedLI", "AnalogLIF")  # their outputs are numbers, not spikes


def response(name: str) -> tuple[list[float], list[float], list[float]]:
    """Return (input, membrane, output) of a neuron, one value per step."""
    torch.manual_seed(0)  # some neurons start at random
    _, _, strength, *made = NEURONS[name]
    neuron = made[0]() if made else getattr(rv, name)()
    x = torch.zeros(STEPS, 1, 1)
    x[ON:OFF] = strength
    given = (x, torch.zeros_like(x)) if name.startswith("Timed") or name == "Fede" else x
    with torch.no_grad():
        y = neuron(given)
        y = (y[0] if isinstance(y, tuple) else y).flatten()
        states = getattr(neuron, "states", ())
        shown = next((s for s in ("v", "u") if s in states), None)
        if name == "AssociativeResonate":
            shown = "re"
        v = next(iter(rv.record(neuron, given, shown).values())).flatten() if shown else y
    return x.flatten().tolist(), v.tolist(), y.tolist()


def drawn(name: str) -> str:
    """Return a small SVG: input at the bottom, membrane in the middle, spikes above, for light and dark pages."""
    _, v, y = response(name)
    spikes = [t for t, z in enumerate(y) if z != 0] if name not in GRADED else []
    low, high = min(v), max(v)
    span = high - low or 1.0

    def across(t: float) -> float:
        return round(4 + t * (WIDE - 8) / (STEPS - 1), 1)

    line = " ".join(f"{across(t)},{round(44 - 26 * (value - low) / span, 1)}" for t, value in enumerate(v))
    edge = f"4,60 {across(ON)},60 {across(ON)},53 {across(OFF)},53 {across(OFF)},60 {across(STEPS - 1)},60"
    ticks = "".join(f'<path d="M{across(t)} {3 if y[t] > 0 else 14}V{12 if y[t] > 0 else 18}"/>' for t in spikes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" width="{WIDE}" height="{HIGH}" '
        f'role="img" fill="none" stroke-width="1.4"><title>{name}: {len(spikes)} spikes while a current flows</title>'
        f'<polyline stroke="#8a8a8a" points="{edge}"/><polyline stroke="#3a8fd0" points="{line}"/>'
        f'<g stroke="#d9722b" stroke-width="1.6">{ticks}</g></svg>\n'
    )


# Equations of neurons whose docstring does not contain the equation in one paragraph.
TOLD = {
    rv.TimedLIF: "tau_mem dv/dt = i - v, tau_syn di/dt = -i; a spike also encodes its time within the step",
    rv.PhysicalLI: "c_mem dv/dt = i + g_leak (v_leak - v), tau_syn di/dt = -i + input",
}


def equation(value: type) -> str:
    """Return the paragraph of a docstring that contains the equation; if it ends with a colon, also the next one."""
    if value in TOLD:
        return TOLD[value]
    first, *rest = (inspect.getdoc(value) or "").split("\n\n")
    said = [p for p in rest[:3] if not p.startswith(("Arguments", "States", "x [T", "xi", ">>>"))]
    at = next((k for k, p in enumerate(said) if " = " in p or "dv/dt" in p), None)
    found = said[0] if at is None and said else first.partition(": ")[2] if at is None else said[at]
    if at is not None and found.endswith(":") and at + 1 < len(said):
        found += " " + said[at + 1]
    return re.sub(r";\s*(gives|returns) .*", "", re.sub(r"\s+", " ", found).strip())


def table() -> str:
    rows = ["| neuron | response | when to use it | equation | states | parameters | source |", "|" + "---|" * 7]
    for name, (when, source, *_) in NEURONS.items():
        value = getattr(rv, name)
        states = ", ".join(f"`{s}`" for s in getattr(value, "states", ())) or "-"
        params = ", ".join(f"`{p}`" for p in getattr(value, "params", {})) or "see its page"
        link = f"[`{name}`](#ranvier.{name})"
        picture = f"![{name}: its membrane and spikes while a current flows](glance/{name}.svg)"
        said = reference.escaped(equation(value)).replace("`", "")
        rows.append(f"| {link} | {picture} | {when} | {said} | {states} | {params} | {source or '-'} |")
    return "\n".join(rows)


def others() -> str:
    """Return tables of all other names of the top level, with the first sentences of their docstrings."""
    parts = []
    for group, names in reference.grouped().items():
        rows = [f"| [`{n}`](#ranvier.{n}) | {first_sentence(v)} |" for n, v in names.items() if n not in NEURONS]
        if rows:
            parts.append(f"## {group}\n\n| name | what it is |\n|---|---|\n" + "\n".join(rows))
    return "\n\n".join(parts).replace("## Neurons\n", "## Around a neuron\n")


def first_sentence(value: object) -> str:
    said = re.sub(r"\s+", " ", (inspect.getdoc(value) or "").split("\n\n")[0])
    return reference.escaped(re.split(r"(?<=[.:])\s", said)[0].rstrip(".:")) + "."


def page() -> str:
    return f"""---
hide-toc: true
---

# Neurons and layers at a glance

## Neurons

Each picture shows one neuron for {STEPS} steps. The current (grey) is on from step {ON} to step {OFF}. The membrane is
blue, and each orange mark is a spike. In the equations, `x` is the input, `z` the spike and `v` the membrane. Decays
are per step unless units are given.

{table()}

{others()}
"""


def write(path: Path) -> None:
    """Write the page if it has changed."""
    if not path.exists() or path.read_text() != page():
        path.write_text(page())


def main() -> None:
    (HERE / "glance").mkdir(exist_ok=True)
    for name in NEURONS:
        (HERE / "glance" / f"{name}.svg").write_text(drawn(name))


if __name__ == "__main__":
    main()
