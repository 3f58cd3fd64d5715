"""Recurrent layers in one operator, judged by the loop over ticks."""

import pytest
import torch
from torch import nn

import ranvier as rv
from ranvier.spikes import feedback


def outcome(layer, machine, x, state, weights):
    x = x.clone().requires_grad_()
    state = {k: v.clone().requires_grad_() for k, v in state.items()}
    with rv.machine(machine):
        y, after, traces = layer.run(x, state, ("v",))
    values = [y, *(after[k] for k in sorted(after)), traces["v"]]
    total = sum((v * w).sum() for v, w in zip(values, weights, strict=True))
    return values, torch.autograd.grad(total, [x, *state.values(), *layer.parameters()])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("steps, batch, width, bias", [(1, 1, 1, False), (7, 3, 11, True), (30, 2, 33, False)])
@pytest.mark.parametrize("row", [1 << 18, 64], ids=["one segment", "segments"])
def test_recurrent_layers_agree_with_the_reference(steps, batch, width, bias, dtype, row, monkeypatch):
    monkeypatch.setattr(feedback, "CACHE", row)
    neuron = rv.ALIF(learn=("beta", "kappa"), beta=torch.rand(width) * 0.5 + 0.4)
    layer = rv.Recurrent(neuron, nn.Linear(width, width, bias=bias)).to(dtype)
    x = torch.rand(steps, batch, width, dtype=dtype)
    state = {
        "z": (torch.rand(batch, width) > 0.5).to(dtype),
        **{k: torch.rand(batch, width, dtype=dtype) for k in "va"},
    }
    shapes = [x.shape, *(state[k].shape for k in sorted(state)), x.shape]
    weights = [torch.randn(s, dtype=dtype) for s in shapes]
    true, g_true = outcome(layer, "reference", x, state, weights)
    fast, g_fast = outcome(layer, "cpu", x, state, weights)
    assert torch.equal(true[0], fast[0])
    tolerance = 1e-5 if dtype == torch.float32 else 1e-10
    for a, b in zip((*true, *g_true), (*fast, *g_fast), strict=True):
        assert (a - b).norm() <= tolerance * max(a.norm().item(), 1e-2)


def test_the_operators():
    layer = rv.Recurrent(rv.LIF(learn="beta"), 3)
    key, params = layer.neuron.bound(()).key, [layer.neuron.beta, layer.neuron.threshold]
    x, z, initial = torch.rand(5, 2, 3, requires_grad=True), torch.zeros(2, 3), torch.zeros(1, 2, 3)
    torch.library.opcheck(torch.ops.ranvier.feedback.default, (x, z, initial, params, layer.feedback.weight, None, key))


def test_explain():
    assert "one operator" in str(rv.explain(rv.Recurrent(rv.LIF(), 3), torch.rand(2, 2, 3)))
    convolution = rv.Recurrent(rv.LIF(), nn.Conv2d(2, 2, 3, padding=1))
    assert "tick by tick" in str(rv.explain(convolution, torch.rand(2, 2, 2, 4, 4)))
