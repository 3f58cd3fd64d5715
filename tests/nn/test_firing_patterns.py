"""Neurons with steep upstrokes fire as in the papers that describe them, the same at every small dt."""

import importlib.util
import math
from pathlib import Path

import numba
import numpy as np
import pytest
import torch

import ranvier as rv

PAPER = dict(  # Brette & Gerstner 2005, in SI units; the input is the current itself
    c_mem=281e-12, g_leak=30e-9, v_leak=-70.6e-3, v_exp=-50.4e-3, delta=2e-3, tau_w=144e-3, a=4e-9, b=0.0805e-9,
    v_reset=-70.6e-3, threshold=20e-3,
)  # fmt: skip
CURRENT = {"terms": {"synapse": lambda x: x}}


def drawn():
    """docs/firing_patterns.py, which has the tables of the papers."""
    path = Path(__file__).parents[2] / "docs" / "firing_patterns.py"
    spec = importlib.util.spec_from_file_location("firing_patterns", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


patterns = drawn()


@numba.njit
def euler(current, dt, c, g, rest, onset, delta, tau, a, b, reset, cut):
    """The equations of the paper by Euler's method, written without Ranvier: the times of the spikes."""
    v, w, found = rest, 0.0, []
    for k in range(len(current)):
        u = min(v, cut)
        dv = (g * (rest - u) + g * delta * math.exp((u - onset) / delta) - w + current[k]) / c
        w += dt * (a * (u - rest) - w) / tau
        v += dt * dv
        if v >= cut:
            found.append(k * dt)
            v = reset
            w += b
    return np.array(found)


def truth(current, dt, p):
    names = "c_mem", "g_leak", "v_leak", "v_exp", "delta", "tau_w", "a", "b", "v_reset", "threshold"
    return euler(current, dt, *(float(p[k]) for k in names))


def fired(current, dt):
    """The times of the spikes of the paper's neuron, in seconds."""
    x = torch.as_tensor(current).reshape(-1, 1, 1)
    z, _, traces = rv.AdEx(dt=dt, **PAPER, **CURRENT).double().run(x, names=("v",))
    return z.flatten().nonzero().flatten().numpy() * dt, traces["v"].min().item()


@pytest.mark.parametrize(("current", "spikes"), [(2e-9, 32), (1e-9, 11), (0.8e-9, 6)])
def test_adex_of_its_paper_counts_the_same_at_every_dt(current, spikes):
    assert len(truth(np.full(300_000, current), 1e-6, PAPER)) == spikes
    for dt in (1e-4, 2e-5, 1e-6):
        at, lowest = fired(np.full(round(0.3 / dt), current), dt)
        assert len(at) == spikes and lowest >= -70.61e-3


def test_adex_fires_as_in_figure_2_of_its_paper():
    """0.5 nA for 200 ms, nothing for 300 ms, 0.8 nA for 500 ms."""

    def course(dt):
        t = np.arange(round(1.0 / dt)) * dt
        return np.where(t < 0.2, 0.5e-9, np.where(t < 0.5, 0.0, 0.8e-9))

    true = truth(course(1e-6), 1e-6, PAPER)
    for dt in (1e-4, 1e-5):
        at, _ = fired(course(dt), dt)
        assert len(at) == len(true) and abs(at - true).max() < 70 * dt


def kind(times, length, membrane):
    """What a cell does under a current that begins at 0 and lasts `length`; times of spikes and membrane in one unit.

    A gap is an interval of more than five times the shortest; spikes between gaps are a burst.
    """
    if not len(times) or times[-1] < length / 3:
        return "transient" if len(times) else "silent"
    between = np.diff(times)
    gaps = np.flatnonzero(between > 5 * between.min())
    sizes = np.diff([0, *(gaps + 1), len(times)])  # of the bursts
    late = between[len(between) // 2 :]
    if len(gaps) and sizes[0] > 1 and (sizes[1:] == 1).all() and between[gaps].min() > 2 * between[: gaps[0]].max():
        return "initial burst"
    whole = sizes[1:-1]  # the first comes from rest, the last may be cut off
    if len(gaps) > 1 and (whole > 1).all() and np.ptp(whole) == 0 and np.ptp(between[gaps][1:]) < 0.2 * length / 10:
        return "delayed bursting" if times[0] > 2 * membrane else "bursting"
    if late.std() > 0.2 * late.mean():
        return "irregular"
    change = between[-1] / between[0]
    if change > 2:
        return "adapting"
    return "delayed accelerating" if change < 0.8 and times[0] > 2 * membrane else "tonic"


@pytest.mark.parametrize("dt", [0.1, 0.02])  # ms
@pytest.mark.parametrize("name", patterns.ADEX)
def test_adex_has_all_firing_patterns_of_naud_et_al(name, dt):
    cell = patterns.adex(name, dt)
    membrane = (cell.neuron.c_mem / cell.neuron.g_leak).item() * 1e3
    times = cell.run()[0].numpy()
    assert kind(times, 500.0, membrane) == name
    parameters = {k: getattr(cell.neuron, k) for k in cell.neuron.params}
    true = truth(np.full(500_000, cell.current[-1].item() * 1e-12), 1e-6, parameters) * 1e3
    assert kind(true, 500.0, membrane) == name and abs(len(times) - len(true)) <= (2 if dt == 0.1 else 1)


IZHIKEVICH = {
    "regular spiking": "adapting", "intrinsically bursting": "initial burst", "chattering": "bursting",
    "fast spiking": "tonic", "low-threshold spiking": "adapting", "thalamo-cortical": "tonic",
}  # fmt: skip


@pytest.mark.parametrize("dt", [0.1, 0.02])  # ms
@pytest.mark.parametrize("name", IZHIKEVICH)
def test_izhikevich_has_the_firing_patterns_of_its_paper(name, dt):
    assert kind(patterns.izhikevich(name, dt).run()[0].numpy(), 500.0, math.inf) == IZHIKEVICH[name]


def test_a_step_that_is_too_long_is_refused():
    long = {
        "tau_syn is 0.005 s, and steps of dt=0.01 s": lambda: rv.AdEx(dt=1e-2),
        "take dt up to 0.0001": lambda: rv.PhysicalLIF(tau_mem=1e-4),
        "divides by g_leak": lambda: rv.AdEx(g_leak=0.0, method="exponential"),
        "growing amplitude; take dt up to 0.41": lambda: rv.QIF(a=6.0),
        "take dt up to 0.37": lambda: rv.Izhikevich(a0=6.0),
        "must be at least 1|must lie between 1": lambda: rv.EIF(tau=0.5),
        "omega dt must be below 1": lambda: rv.BRF(omega=200.0),
    }
    for said, make in long.items():
        with pytest.raises(ValueError, match=said):
            make()
    neuron = rv.AdEx()
    for name, value in (("dt", 1e-2), ("tau_syn", 1e-4)):  # and when it is set later; nothing is changed then
        with pytest.raises(ValueError, match="cannot follow"):
            setattr(neuron, name, value)
    assert neuron.dt == 1e-3 and neuron.tau_syn.item() == pytest.approx(5e-3)
    assert rv.AdEx(dt=1e-2, method="exponential").dt == 1e-2


@pytest.mark.parametrize("dt", [0.5, 0.1, 0.02])
def test_the_other_numbers_of_the_paper(dt):
    def rate(name):
        return len(patterns.izhikevich(name, dt).run()[0])

    assert rate("fast spiking") > 4 * rate("regular spiking") and rate("low-threshold spiking") > 2 * rate(
        "regular spiking"
    )
    times, v = patterns.izhikevich("thalamo-cortical, released", dt).run()
    assert v[round(240 / dt)].item() == pytest.approx(-87, abs=0.5)  # held there
    assert (times > 150).all() and 4 <= len(times) <= 8 and times[-1] < 250  # a burst as it is let go
    times, v = patterns.izhikevich("resonator", dt).run()
    assert (times > 150).all() and 7 <= len(times) <= 10  # silent before the pulse, firing ever after
    course = v[round(110 / dt) : round(240 / dt)]
    turns = ((course[1:-1] > course[:-2]) & (course[1:-1] >= course[2:])).sum()
    assert turns >= 2  # it swings below the threshold
