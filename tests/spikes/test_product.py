"""Event-driven products give the dense product's sums."""

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import ranvier as rv
from ranvier.spikes import product

widths = st.sampled_from([1, 7, 32, 33, 63, 65, 300])


@given(
    rows=st.integers(1, 200),
    columns=widths,
    width=widths,
    share=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    seed=st.integers(0, 99),
)
def test_products_by_events(rows, columns, width, share, seed):
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(rows, columns, generator=generator) < share).float()
    x *= torch.where(torch.rand(x.shape, generator=generator) < 0.5, 1.0, -2.5)  # graded events too
    weight, g = torch.randn(width, columns, generator=generator), torch.randn(rows, width, generator=generator)
    base, out = torch.randn(1, width, generator=generator), torch.full((rows, width), torch.nan)
    product.add_events(x, product.panels(weight), columns, base, out)
    true = (x.double() @ weight.double().t() + base).float()
    assert (out - true).norm() <= 1e-6 * true.norm() + 1e-30
    gradient = (g.double().t() @ x.double()).float()
    assert (product.weight_gradient(x, g) - gradient).norm() <= 1e-5 * gradient.norm() + 1e-30


@pytest.mark.parametrize("share", [0.0, 0.05, 0.6, 1.0])
@pytest.mark.parametrize("bias", [True, False])
def test_the_layer_is_torchs(share, bias):
    ours, torchs = rv.Linear(300, 65, bias=bias), nn.Linear(300, 65, bias=bias)
    ours.load_state_dict(torchs.state_dict())
    x = (torch.rand(20, 16, 300) < share).float()
    results = []
    for layer in (ours, torchs):
        one = x.clone().requires_grad_()
        y = layer(one)
        results.append((y, *torch.autograd.grad(y.square().sum(), [one, *layer.parameters()])))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dense", [True, False], ids=["dense input", "spikes"])
def test_gradients_by_the_events_of_what_comes_back(dense, monkeypatch):
    """As behind a compact surrogate: most of the gradient is zero."""
    ours, torchs, results = rv.Linear(65, 300), nn.Linear(65, 300), []
    ours.load_state_dict(torchs.state_dict())
    x = torch.randn(20, 60, 65) if dense else (torch.rand(20, 60, 65) < 0.4).float()
    back = torch.randn(20, 60, 300) * (torch.rand(20, 60, 300) < 0.1)
    taken, add_events = [], product.add_events
    monkeypatch.setattr(product, "add_events", lambda rows, *more: taken.append(rows.shape) or add_events(rows, *more))
    for layer in (ours, torchs):
        one = x.clone().requires_grad_()
        results.append(torch.autograd.grad(layer(one), [one, *layer.parameters()], back))
    assert taken == [(1200, 300)]
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-4)


def test_compiled_without_a_graph_break():
    net = torch.compile(rv.Sequential(rv.Linear(4, 3), rv.LIF()), fullgraph=True, backend="aot_eager")
    assert net(torch.rand(3, 2, 4)).shape == (3, 2, 3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_are_served_by_torch(dtype):
    layer = rv.Linear(300, 4).to(dtype)
    x = (torch.rand(300, 300) < 0.05).to(dtype)
    assert torch.equal(layer(x), nn.functional.linear(x, layer.weight, layer.bias))


def test_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert rv.Linear(3, 4)(torch.rand(5, 2, 3)).dtype == torch.bfloat16


def test_of_few_spikes_only_the_bits_are_kept():
    layer, kept = rv.Linear(300, 40), []
    x = (torch.rand(20, 16, 300) < 0.05).float()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        layer(x)
        assert [t.dtype for t in kept if t is not layer.weight] == [torch.int64]
        kept.clear()
        layer(2 * x)  # not spikes: numbers
    assert any(t.shape == x.shape for t in kept)


def test_as_a_function_of_its_parameters():
    layer, x = rv.Linear(300, 40), (torch.rand(20, 16, 300) < 0.05).float()
    weight = torch.randn(40, 300, requires_grad=True)
    y = torch.func.functional_call(layer, {"weight": weight}, x)
    torch.testing.assert_close(y, nn.functional.linear(x, weight, layer.bias), rtol=1e-5, atol=1e-4)
    assert torch.autograd.grad(y.sum(), [weight])[0].any()


def test_on_machines_with_shorter_vectors():
    """The kernels compiled for a processor that knows AVX2 and no more."""
    code = (
        "import torch, ranvier as rv\n"
        "x, layer = (torch.rand(400, 300) < 0.05).float(), rv.Linear(300, 65)\n"
        "y = layer(x); y.square().sum().backward()\n"
        "assert torch.allclose(y, torch.nn.functional.linear(x, layer.weight, layer.bias), atol=1e-5)\n"
        "assert torch.allclose(layer.weight.grad, 2 * y.t() @ x, atol=1e-3)"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "NUMBA_CPU_NAME": "haswell"}, check=True)


@pytest.mark.parametrize("columns", [690, 710, 1])
def test_a_wrong_width_is_refused(columns):
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        rv.Linear(700, 64)((torch.rand(100, 20, columns) < 0.05).float())
