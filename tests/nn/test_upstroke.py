"""Neurons with steep upstrokes: finite gradients."""

import pytest
import torch

import ranvier as rv


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
