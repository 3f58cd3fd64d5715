"""The reference is the judge: every neuron on every backend gives its spikes exactly and its gradients closely."""

import copy

import pytest
import torch

import ranvier as rv
from everything import NEURONS, drive
from ranvier.compat.hxtorch.spiking.functional.order import OriginalAdEx

SHAPES = [(1, (1, 1)), (7, (3, 11)), (9, (2, 33)), (3, (1, 1000))]
DTYPES = [
    pytest.param(torch.float32, id="float32"),
    pytest.param(torch.float64, id="float64", marks=pytest.mark.slow),  # as many kernels again to compile
]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def learned(layer):
    """Every parameter of a neuron that can be trained as one that is."""
    for k in layer.learnable:
        value = getattr(layer, k).detach().clone()
        delattr(layer, k)
        layer.register_parameter(k, torch.nn.Parameter(value))
    return layer


def outcome(neuron, backend, x, state, grads):
    """Outputs, final states and all gradients on one backend."""
    xs = [v.clone().requires_grad_() for v in (x if isinstance(x, tuple) else (x,))]
    state = {k: v.clone().requires_grad_() for k, v in state.items()}
    params = [p for p in neuron.parameters()]
    with rv.backend(backend):
        y, after = neuron.scan(tuple(xs) if len(xs) > 1 else xs[0], state)
    ys = [*(y if isinstance(y, tuple) else (y,)), *after.values()]
    pairs = [(v, g) for v, g in zip(ys, grads, strict=True) if v.requires_grad]
    found = torch.autograd.grad(
        [v for v, _ in pairs], [*xs, *state.values(), *params], [g for _, g in pairs], allow_unused=True
    )
    names = (
        [f"x{k}" for k in range(len(xs))] + [f"state {k}" for k in state] + [n for n, _ in neuron.named_parameters()]
    )
    return [v.detach() for v in ys], dict(zip(names, found, strict=True))


def compare(neuron, backend, steps, shape, dtype):
    x = drive(neuron, steps, shape, dtype)
    like = x[0] if isinstance(x, tuple) else x
    generator = torch.Generator().manual_seed(1)
    state = {k: torch.rand(shape, generator=generator, dtype=dtype) * 0.5 for k in neuron.states}
    steps = torch.Generator().manual_seed(2)
    outputs = len(neuron.bound(()).outputs)
    grads = [torch.randn(like.shape, generator=steps, dtype=dtype) for _ in range(outputs)]
    grads += [torch.randn(shape, generator=steps, dtype=dtype) for _ in neuron.states]
    true, g_true = outcome(spread(neuron, shape[1:]), "reference", x, state, grads)
    fast, g_fast = outcome(neuron, backend, x, state, grads)
    names = [f"output {k}" for k in range(outputs)] + [f"state {k}" for k in neuron.states]
    for name, a, b in zip(names, true, fast, strict=True):
        # words beyond arithmetic (exp, ...) may differ in the last bit from torch's
        if neuron.spiking and name == "output 0" and bool(((a == 0) | (a == 1)).all()):
            assert torch.equal(a, b), f"{name} differs for T={steps}, shape {shape}"
        torch.testing.assert_close(
            b, a, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], msg=lambda m, n=name: f"{n}: {m}"
        )
    for name, a in g_true.items():
        b = g_fast[name]
        if a is None or b is None:
            assert (a is None or not a.any()) and (b is None or not b.any()), f"gradient of {name}"
            continue
        # one number's gradient is a sum over neurons whose terms may cancel: judged by the size of the terms
        scale = a.norm().item() if a.shape == b.shape else a.abs().sum().item()
        error = (a.sum_to_size(b.shape) - b).norm().item()
        assert error <= TOLERANCE[dtype] * max(scale, 1e-3), f"gradient of {name}: T={steps}, {shape}"


def spread(neuron, features):
    """The same neuron with parameters for each of the features."""
    wide = copy.deepcopy(neuron)
    for k, value in neuron.named_parameters():
        if value.dim() == 0:
            setattr(wide, k, torch.nn.Parameter(value.detach().expand(features).clone()))
    return wide


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", ["numba", "triton"])
@pytest.mark.parametrize("neuron", NEURONS, ids=lambda c: c.__name__)
def test_every_neuron_agrees_with_the_reference(neuron, backend, dtype):
    layer = learned(neuron()).to(dtype)
    for steps, shape in SHAPES:
        compare(layer, backend, steps, shape, dtype)


@pytest.mark.slow  # a kernel for each; `test_ops.py` has all in one
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("backend", ["numba", "triton"])
@pytest.mark.parametrize("name", sorted(rv.surrogate.SURROGATES))
def test_every_surrogate_agrees_with_the_reference(name, backend, dtype):
    layer = rv.LIF(surrogate=rv.surrogate.SURROGATES[name](), learn="beta").to(dtype)
    compare(layer, backend, 9, (2, 33), dtype)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("backend", ["numba", "triton"])
@pytest.mark.parametrize("options", [{"reset": "zero"}, {"reset": "none"}, {"detach_reset": True}], ids=str)
def test_every_reset_agrees_with_the_reference(options, backend):
    compare(rv.ALIF(learn=("beta", "kappa"), **options), backend, 9, (2, 33), torch.float32)


ADEX = {
    "every term": dict(refractory=True),
    "two synapses, exact decays": dict(refractory=True, synapses=("fast", "slow"), method="exponential"),
    "hxtorch's order": dict(refractory=True, detach_reset=True),
}


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", ["numba", "triton"])
@pytest.mark.parametrize("name", ADEX)
def test_adex_with_every_term_on_agrees_with_the_reference(name, backend, dtype):
    """Leak, exponential, both adaptations, spikes, reset and refractory time: many steps, so that all take part."""
    kind = OriginalAdEx if name == "hxtorch's order" else rv.AdEx
    layer = learned(kind(tau_mem=5e-3, t_refractory=3e-3, **ADEX[name])).to(dtype)
    x = drive(layer, 40, (2, 33), dtype)
    with rv.backend("reference"):
        z = layer(x)
        left = rv.record(layer, x, "left")[""]
    assert 0.02 < z.mean() < 0.5 and left.max() == 3.0
    compare(layer, backend, 40, (2, 33), dtype)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("backend", ["numba", "triton"])
def test_parameters_of_each_neuron(backend):
    beta = torch.rand(33)
    layer = rv.ALIF(beta=beta, threshold=torch.rand(33) + 0.5, learn=("beta", "rho"), shape=(33,))
    compare(layer, backend, 9, (2, 33), torch.float32)
    channels = rv.LIF(beta=torch.rand(5, 1, 1), learn="beta")
    compare(channels, backend, 4, (2, 5, 3, 2), torch.float32)


@pytest.mark.parametrize("steps", [63, 64, 700, 5000])
def test_long_sequences_on_segments_of_time(steps):
    """Long sequences are walked back segment by segment; the odd last one must not differ."""
    compare(rv.ALIF(learn=("beta",)).double(), "numba", steps, (1, 3), torch.float64)


@pytest.mark.parametrize("threads", [1, 2])
def test_many_tiles_and_threads(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        compare(rv.LIF(learn=("beta",)), "numba", 40, (7, 1501), torch.float32)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("backend", ["numba", "triton"])
def test_half_precision_in_and_out_with_states_in_float32(backend, dtype):
    layer = rv.LIF()
    x = drive(layer, 9, (2, 33), dtype).requires_grad_()
    with rv.backend("reference"):
        true, after = layer.scan(x)
    with rv.backend(backend):
        fast, state = layer.scan(x)
    assert fast.dtype == dtype and state["v"].dtype == torch.float32
    assert torch.equal(true, fast) and torch.equal(after["v"], state["v"])
    (a,) = torch.autograd.grad(true.sum(), x)
    (b,) = torch.autograd.grad(fast.sum(), x)
    assert b.dtype == dtype
    torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-3)  # one rounding to 8 or 11 bits
