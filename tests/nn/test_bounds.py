"""Learned parameters stay where their neurons allow them."""

import pytest
import torch

import ranvier as rv
from everything import NEURONS, drive


@pytest.mark.long  # half a minute for all neurons together
@pytest.mark.parametrize("neuron", [c for c in NEURONS if c().learnable], ids=lambda c: c.__name__)
def test_training_leads_no_parameter_out_of_its_bounds(neuron):
    layer = neuron(learn=neuron().learnable)
    x, optimiser = drive(layer, 4, (2, 3)), torch.optim.Adam(layer.parameters(), 0.02)
    with rv.backend("reference"):
        for _ in range(300):
            optimiser.zero_grad()
            y = layer(x)
            ((y[0] if isinstance(y, tuple) else y).mean() - 0.4).square().backward()
            optimiser.step()
    for name, _ in layer.named_parameters():
        value, (low, high) = layer.value(name), layer.bounds(name)
        assert value.isfinite().all() and (value >= low).all() and (value <= high).all(), name
