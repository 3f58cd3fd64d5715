"""Physical neurons: terms, records in the place of the model, refractory time."""

import copy
import pickle

import pytest
import torch

import ranvier as rv
from everything import NEURONS
from ranvier.compat.hxtorch.spiking.functional.order import OriginalAdEx
from ranvier.nn.neurons.terms import TERMS

# AnalogLIF gives out its membrane through an activation; its spikes are not seen outside
SPIKING = [c for c in NEURONS if c().spiking and c is not rv.AnalogLIF]


def drive(steps=60, neurons=4, dtype=torch.float32):
    return torch.rand(steps, 2, neurons, dtype=dtype, generator=torch.Generator().manual_seed(3)) * 1.2


def test_fused_equals_reference_with_every_term_on():
    results = []
    for backend in ("reference", "numba"):
        neuron = rv.AdEx(refractory=True, learn=("c_mem", "tau_w", "v_leak"), shape=4, detach_reset=True)
        x = drive().requires_grad_()
        with rv.backend(backend):
            z = neuron(x)
        (z * torch.arange(60.0).reshape(-1, 1, 1)).sum().backward()
        results.append((z, x.grad, *(p.grad for p in neuron.parameters())))
    assert results[0][0].any() and torch.equal(results[0][0], results[1][0])
    for wanted, got in zip(*results, strict=True):
        torch.testing.assert_close(got, wanted, rtol=2e-3, atol=1e-4 * wanted.abs().max().item())


@pytest.fixture
def reference():
    with rv.backend("reference"):
        yield


@pytest.mark.usefixtures("reference")
def test_every_switch_changes_the_equation():
    full = rv.AdEx(refractory=True)
    for switch in ("leak", "exponential", "subthreshold", "spike_triggered", "refractory"):
        less = rv.AdEx(**{"refractory": True, switch: False})
        assert len(less.describe()) < len(full.describe()) and less(drive()).shape == (60, 2, 4)
    assert "w" not in rv.AdEx(subthreshold=False, spike_triggered=False).states
    silent = rv.AdEx(fire=False, exponential=False)  # what nothing resets must not run away
    assert torch.equal(silent(drive()), rv.record(silent, drive(), "v")[""])


@pytest.mark.usefixtures("reference")
def test_terms_are_changed_in_a_line():
    plain = rv.PhysicalLIF()
    same = rv.PhysicalLIF(terms={"leak": TERMS["membrane.leak"]})
    assert torch.equal(plain(drive()), same(drive()))
    more = rv.PhysicalLIF(terms={"membrane.shunt": lambda v, i, k=0.5: -k * i * v}, learn="k")
    more(drive()).sum().backward()
    assert more.k.grad is not None and "k * i * v" in more.describe()
    assert "v_leak" not in rv.PhysicalLI(terms={"leak": None}).describe()
    for wrong in ({"shunt": lambda v: v}, {"membrane.x": lambda v, unknown: v}, {"leak": 3}):
        with pytest.raises((ValueError, TypeError)):
            rv.PhysicalLIF(terms=wrong)


@pytest.mark.usefixtures("reference")
def test_several_synapses_have_their_own_time_constants():
    neuron = rv.PhysicalLI(synapses=("fast", "slow"), tau_syn_fast=2e-3, tau_syn_slow=20e-3)
    x = torch.zeros(9, 1, 1)
    x[0] = 1.0
    still = torch.zeros_like(x)
    fast, slow = neuron((x, still)), neuron((still, x))
    assert (slow[2:] > fast[2:]).all()
    one = rv.PhysicalLI(tau_syn=2e-3)
    torch.testing.assert_close(one(x), fast)


@pytest.mark.usefixtures("reference")
def test_exponential_euler_is_exact_for_a_constant_current():
    neuron = rv.PhysicalLI(method="exponential", terms={"synapse": lambda x: x}, tau_mem=10e-3)
    v = neuron(torch.ones(50, 1, 1, dtype=torch.float64))[:, 0, 0]
    t = torch.arange(50, dtype=torch.float64) * 1e-3  # the current acts one step after the input
    torch.testing.assert_close(v, 1 - torch.exp(-t / 10e-3), rtol=1e-6, atol=1e-8)


@pytest.mark.usefixtures("reference")
def test_records_take_the_place_of_the_model():
    neuron = rv.AdEx(refractory=True)
    x = drive().requires_grad_()
    z = (torch.rand(40, 2, 4) > 0.8).float()
    w = torch.rand(50, 2, 4)
    assert torch.equal(neuron(x, measured={"z": z}), z)  # the shorter record decides the length
    with rv.hardware.measuring({neuron: {"z": z, "w": w}}):
        assert torch.equal(rv.record(neuron, x, "w")[""], w[:40])
    y = neuron(x, measured={"z": z, "v": torch.rand(40, 2, 4)})
    y.sum().backward()
    assert x.grad[:39].abs().sum() > 0 and x.grad[40:].abs().sum() == 0
    with pytest.raises(ValueError, match="measured"):
        neuron(x, measured={"q": z})
    with pytest.raises(ValueError, match="agree"):
        neuron(x, measured={"z": z[:, :1]})


@pytest.mark.usefixtures("reference")
def test_records_equal_to_the_model_change_nothing():
    neuron = rv.PhysicalLIF(refractory=True, learn="c_mem")
    x = drive(dtype=torch.float64).requires_grad_()
    gradients = []
    for measured in (None, ("z",), ("z", "w")):
        with torch.no_grad():
            z = neuron(x)
        neuron.zero_grad()
        x.grad = None
        y = neuron(x, measured={"z": z} if measured else None)
        (y * torch.arange(60.0).reshape(-1, 1, 1)).sum().backward()
        gradients.append((x.grad, neuron.c_mem.grad.clone()))
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.usefixtures("reference")
def test_silent_steps_are_whole_and_robust_to_rounding():
    for period, dt, silent in ((0.3, 0.1, 3), (31e-6, 1e-6, 31), (2.5e-3, 1e-3, 3), (0.1e-3, 1e-3, 1), (0.0, 1e-3, 0)):
        neuron = rv.PhysicalLIF(refractory=True, t_refractory=period, dt=dt, c_mem=dt, tau_syn=dt * 3)
        layer = rv.Refractory(rv.LIF(), period=period, dt=dt)
        for y in (neuron(torch.full((100, 1, 1), 50.0)), layer(torch.full((100, 1, 1), 50.0))):
            when = y[:, 0, 0].nonzero()[:, 0]
            assert (when[1] - when[0]).item() == silent + 1


@pytest.mark.usefixtures("reference")
@pytest.mark.parametrize("neuron", SPIKING, ids=lambda c: c.__name__)
def test_refractory_composes_with_any_spiking_neuron(neuron):
    layer = rv.Refractory(neuron(), period=2)
    strong = 30 if neuron in (rv.SEAdLIF, rv.BRF, rv.BHRF) else 1  # they take a small part of their input in a step
    x = tuple(strong * drive() * scale for scale in (3, 0.1)[: len(neuron.inputs)])
    x = x if len(x) > 1 else x[0] - (1.8 if neuron is rv.TernaryLIF else 0.0)
    z = layer(x)
    assert z.any() and not (z[1:] * z[:-1]).any() and not (z[2:] * z[:-2]).any()
    assert neuron is not rv.TernaryLIF or z.min() == -1.0
    first, state = rv.scan(layer, x[:30] if isinstance(x, torch.Tensor) else tuple(v[:30] for v in x))
    second, _ = rv.scan(layer, x[30:] if isinstance(x, torch.Tensor) else tuple(v[30:] for v in x), state)
    assert torch.equal(torch.cat([first, second]), z)


def test_refractory_wants_spikes():
    with pytest.raises(TypeError, match="calls spike"):
        rv.Refractory(rv.LI())


@pytest.mark.usefixtures("reference")
def test_silent_neurons_do_not_adapt_unless_the_order_is_the_originals():
    w = {}
    for kind in (rv.AdEx, OriginalAdEx):
        neuron = kind(refractory=True, t_refractory=9e-3, exponential=False, subthreshold=False, threshold=-1.0)
        w[kind] = rv.record(neuron, torch.ones(10, 1, 1), "w")[""][-1].item()
    assert w[OriginalAdEx] > 5 * w[rv.AdEx]


def test_copies_and_pickles():
    neuron = rv.AdEx(refractory=True)
    with rv.backend("reference"):
        for twin in (copy.deepcopy(neuron), pickle.loads(pickle.dumps(neuron))):
            assert torch.equal(twin(drive()), neuron(drive()))


@pytest.mark.parametrize(
    "wrong", [dict(dt=0.0), dict(method="rk4"), dict(refractory=True, fire=False), dict(synapses=0), dict(tau_syn=0.0),
              dict(tau_mem=1.0, c_mem=1.0), dict(unknown=1)]
)  # fmt: skip
def test_errors(wrong):
    with pytest.raises((ValueError, TypeError)):
        rv.AdEx(**wrong)
