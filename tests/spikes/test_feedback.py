"""Recurrent layers in one operator, judged by the loop over steps."""

import pytest
import torch
from torch import nn

import ranvier as rv
from ranvier.backends import triton_backend
from ranvier.spikes import feedback, feedback_gpu


def outcome(layer, backend, x, state, weights):
    x = x.clone().requires_grad_()
    state = {k: v.clone().requires_grad_() for k, v in state.items()}
    with rv.backend(backend):
        y, after, traces = layer.run(x, state, ("v",))
    values = [y, *(after[k] for k in sorted(after)), traces["v"]]
    total = sum((v * w).sum() for v, w in zip(values, weights, strict=True))
    return values, torch.autograd.grad(total, [x, *state.values(), *layer.parameters()], allow_unused=True)


def compare(layer, backend, steps, batch, width, dtype=torch.float32, judge="reference", tolerance=1e-5):
    """Spikes equal to the judge's; final states, a trace and every gradient close."""
    x = torch.rand(steps, batch, width, dtype=dtype) * 1.5
    state = {k: torch.rand(batch, width, dtype=dtype) for k in ("z", *layer.neuron.states)}
    state["z"] = state["z"].round()
    shapes = [x.shape, *(state[k].shape for k in sorted(state)), x.shape]
    weights = [torch.randn(s, dtype=dtype) for s in shapes]
    true, g_true = outcome(layer, judge, x, state, weights)
    fast, g_fast = outcome(layer, backend, x, state, weights)
    assert torch.equal(true[0], fast[0]) or not layer.neuron.spiking
    for a, b in zip((*true, *g_true), (*fast, *g_fast), strict=True):
        a, b = (torch.zeros(()) if v is None else v for v in (a, b))
        # one number's gradient is a sum over all whose terms may cancel: judged by the size of the gradients of x
        scale = a.norm() if a.numel() > 1 else torch.maximum(a.norm(), g_true[0].norm())
        assert (a - b).norm() <= tolerance * max(scale.item(), 1e-2)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("backend", ["numba", "triton"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("steps, batch, width, bias", [(1, 1, 1, False), (7, 3, 11, True), (13, 5, 33, False)])
@pytest.mark.parametrize("few", [1 << 18, 64], ids=["one segment", "segments"])
def test_recurrent_layers_agree_with_the_reference(steps, batch, width, bias, dtype, few, backend, monkeypatch):
    monkeypatch.setattr(feedback, "SEGMENT", few)
    neuron = rv.ALIF(learn=("beta", "kappa"), beta=torch.rand(width) * 0.5 + 0.4)
    layer = rv.Recurrent(neuron, nn.Linear(width, width, bias=bias)).to(dtype)
    compare(layer, backend, steps, batch, width, dtype, tolerance=1e-5 if dtype == torch.float32 else 1e-10)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("neuron", [rv.LIF, rv.LI, rv.PhysicalLIF, rv.TernaryLIF, rv.AdEx, rv.TracedLIF])
def test_any_neuron_with_one_input_on_the_gpu(neuron, monkeypatch):
    monkeypatch.setattr(feedback, "SEGMENT", 64)
    layer = rv.Recurrent(neuron(learn=neuron().learnable), nn.Linear(5, 5))
    compare(layer, "triton", 6, 3, 5)


def test_several_blocks_of_the_batch(monkeypatch):
    monkeypatch.setattr(triton_backend, "processors", lambda device: 3)
    compare(rv.Recurrent(rv.LIF(learn="beta"), 5), "triton", 4, 19, 5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("batch", [1, 64, 5000])
@pytest.mark.parametrize("width", [1, 33, 256, 512])
def test_a_block_fits_the_smallest_card(width, batch, dtype):
    chosen = feedback_gpu.block(batch, width, dtype, 132)
    assert chosen.COLUMNS >= width and chosen.ROWS * chosen.COLUMNS <= 4096 and chosen.num_warps <= 16
    weight, left = chosen.CHUNK * chosen.COLUMNS, chosen.CHUNK * chosen.ROWS
    assert 2 * (weight + left) * dtype.itemsize <= 80 << 10
    assert chosen.CHUNK * dtype.itemsize >= 32  # the least that tl.dot takes is 4 in float64, 8 in float32, 16 in half


def test_half_weights_are_multiplied_as_they_are():
    """The product is in float16; u, states and sums are in float32 on both backends. In backward g_u is rounded to
    float16 for the product, hence the tolerance."""
    compare(rv.Recurrent(rv.ALIF(learn="beta"), 17).half(), "triton", 5, 3, 17, torch.float16, "numba", tolerance=2e-3)


def test_autocast_on_the_gpu_shortens_the_weight():
    layer, x = rv.Recurrent(rv.LIF(), 9), torch.rand(6, 2, 9) * 1.5
    with rv.backend("triton"), torch.autocast("cpu", torch.float16):
        y = layer(x)
    with rv.backend("triton"), torch.no_grad():
        layer.feedback.weight.copy_(layer.feedback.weight.half())
        assert y.dtype == torch.float32 and torch.equal(y, layer(x))


def test_a_rule_without_state():
    x = torch.rand(4, 2, 3) * 2
    layer = rv.Recurrent(rv.Heaviside(), 3)
    with rv.backend("reference"):
        true = layer(x)
    assert torch.equal(layer(x), true)


@pytest.mark.parametrize("backend, detached", [("numba", False), ("triton", False), ("numba", True)])
def test_the_operators(backend, detached):
    layer = rv.Recurrent(rv.LIF(learn="beta"), 3)
    key, params = layer.neuron.bound(()).key, [layer.neuron.beta, *layer.neuron.values(torch.rand(1))[1:]]
    x, z, initial = torch.rand(5, 2, 3, requires_grad=True), torch.zeros(2, 3), torch.zeros(1, 2, 3)
    arguments = x, z, initial, params, layer.feedback.weight, None, key, backend, detached
    torch.library.opcheck(torch.ops.ranvier.recurrent.default, arguments)


def test_explain():
    assert "one operator" in str(rv.explain(rv.Recurrent(rv.LIF(), 3), torch.rand(2, 2, 3)))
    with rv.backend("triton"):
        assert "a block of the batch per program" in str(rv.explain(rv.Recurrent(rv.LIF(), 3), torch.rand(2, 2, 3)))
        assert "up to 512 neurons" in str(rv.explain(rv.Recurrent(rv.LIF(), 513), torch.rand(1, 1, 513)))
    convolution = rv.Recurrent(rv.LIF(), nn.Conv2d(2, 2, 3, padding=1))
    assert "step by step" in str(rv.explain(convolution, torch.rand(2, 2, 2, 4, 4)))


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("backend", ["numba", "triton"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("steps, batch, width, bias", [(1, 1, 1, False), (13, 5, 33, True)])
def test_no_gradient_flows_through_detached_feedback(steps, batch, width, bias, dtype, backend):
    neuron = rv.ALIF(learn=("beta", "kappa"), beta=torch.rand(width) * 0.5 + 0.4)
    layer = rv.Recurrent(neuron, nn.Linear(width, width, bias=bias), detach_feedback=True).to(dtype)
    compare(layer, backend, steps, batch, width, dtype, tolerance=1e-5 if dtype == torch.float32 else 1e-10)


def test_detached_feedback_gives_the_same_spikes_and_bounded_gradients():
    """A loop that multiplies by 1.5 a step: the gradient is finite only where it does not go around."""
    x = torch.rand(500, 2, 8).requires_grad_()
    neuron = rv.LIF(surrogate=rv.surrogate.straight_through())
    layer, full = (rv.Recurrent(neuron, 8, detach_feedback=d) for d in (True, False))
    with torch.no_grad():
        layer.feedback.weight.copy_(1.5 * torch.eye(8).roll(1, 0))
    full.load_state_dict(layer.state_dict())
    assert torch.equal(layer(x), full(x)) and "detach_feedback=True" in repr(layer)
    norms = [torch.autograd.grad(r(x)[-1].sum(), x)[0].norm() for r in (layer, full)]
    assert norms[0] < 10 and not norms[1] < 1e30


def test_detached_feedback_behind_a_linear_layer_and_compiled():
    torch.manual_seed(0)
    net = rv.Sequential(rv.Linear(6, 5), rv.Recurrent(rv.LIF(), 5, detach_feedback=True), nn.Linear(5, 2), rv.LI())
    x, found = torch.rand(7, 3, 6), []
    for run in ("numba", "reference"):
        with rv.backend(run):
            found.append(torch.autograd.grad(net(x).square().sum(), list(net.parameters())))
    found.append(torch.autograd.grad(torch.compile(net, backend="aot_eager")(x).square().sum(), list(net.parameters())))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            torch.testing.assert_close(a, b)
