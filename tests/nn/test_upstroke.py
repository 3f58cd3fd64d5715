"""Neurons with steep upstrokes: counts of the published models, the same for every small dt, and finite gradients."""

import pytest
import torch

import ranvier as rv

PAPER = dict(  # Brette & Gerstner 2005, in SI units; the input is the current itself
    c_mem=281e-12, g_leak=30e-9, v_leak=-70.6e-3, v_exp=-50.4e-3, delta=2e-3, tau_w=144e-3, a=4e-9, b=0.0805e-9,
    v_reset=-70.6e-3, threshold=20e-3, terms={"synapse": lambda x: x},
)  # fmt: skip


@pytest.mark.parametrize("dt", [1e-4, 2e-5])
def test_adex_of_its_paper_counts_the_same_at_every_dt(dt):
    neuron = rv.AdEx(dt=dt, **PAPER).double()
    x = torch.tensor([2e-9, 1e-9, 0.8e-9], dtype=torch.float64).expand(round(0.3 / dt), 1, 3)
    assert neuron(x).sum((0, 1)).tolist() == [32.0, 11.0, 6.0]
    assert rv.record(neuron, x, "v")[""].min() >= -70.61e-3


@pytest.mark.parametrize(
    "make",
    [
        lambda: rv.EIF(reset="subtract"), lambda: rv.QIF(reset="subtract"), lambda: rv.Izhikevich(reset="subtract"),
        lambda: rv.AdEx(delta=0.002), lambda: rv.AdEx(threshold=50.0), lambda: rv.EIF(delta=1e-6),
    ],
)  # fmt: skip
def test_no_finite_input_gives_a_gradient_that_is_none(make):
    x = (10 * torch.rand(30, 4, 8)).requires_grad_()
    make()(x).sum().backward()
    assert x.grad.isfinite().all()
