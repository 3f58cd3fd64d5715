"""The neurons of deep spiking networks: each against the reference loop, in chunks, and at its own special points."""

import pytest
import torch
from torch import nn

import ranvier as rv

RULES = {
    "RestLIF": lambda: rv.RestLIF(leak=0.4, rest=0.25, learn=("leak", "threshold")),
    "RestLIF without decay of the input": lambda: rv.RestLIF(decay_input=False, reset="subtract", detach_reset=True),
    "ParametricLIF": lambda: rv.ParametricLIF(tau=3.0),
    "KLIF": lambda: rv.KLIF(k=1.5, scale_reset=True),
    "AnalogLIF": lambda: rv.AnalogLIF(act="tanh", from_threshold=False),
    "ComplementaryLIF": lambda: rv.ComplementaryLIF(learn=("leak",)),
    "QIF": lambda: rv.QIF(learn=("v_critical",)),
    "EIF": lambda: rv.EIF(learn=("theta",)),
    "Izhikevich": lambda: rv.Izhikevich(a=0.3, b=0.4, learn=("a", "b")),
    "TernaryLIF": lambda: rv.TernaryLIF(reset="zero"),
    "IntegerLIF": lambda: rv.IntegerLIF(learn=("leak",)),
    "ResonateAndFire": lambda: rv.ResonateAndFire(learn=("damping", "turn")),
    "Heaviside": lambda: rv.Heaviside(learn=("threshold",)),
    "GatedLIF": lambda: rv.GatedLIF(steps=7),
    "Lowpass": lambda: rv.Lowpass(5e-3, learn=("tau", "level")),
    "Alpha": lambda: rv.Alpha(5e-3, learn=("tau",)),
    "SynapseFilter": lambda: rv.SynapseFilter(3.0, learn=("tau",)),
    "DoubleExponential": lambda: rv.DoubleExponential(learn=("tau_rise", "gain")),
}
PARALLEL = {
    "MaskedPSN": lambda: rv.MaskedPSN(order=3, steps=7),
    "SlidingPSN": lambda: rv.SlidingPSN(order=3),
    "SlidingPSN by convolution": lambda: rv.SlidingPSN(order=3, method="convolution"),
}


def drive(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    torch.manual_seed(3)
    return (2 * torch.randn(7, 2, 5)).to(dtype)


@pytest.mark.parametrize("make", RULES.values(), ids=RULES)
def test_kernels_agree_with_reference(make):
    torch.manual_seed(0)
    layer = make()
    found = []
    for backend in ("numba", "reference"):
        x = drive().requires_grad_()
        layer.zero_grad()
        with rv.backend(backend):
            y = layer(x)
            (y * torch.linspace(-1, 2, y.numel()).view_as(y)).sum().backward()
        found.append([y.detach(), x.grad, *(p.grad for p in layer.parameters())])
    for fast, slow in zip(*found, strict=True):
        torch.testing.assert_close(fast, slow, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("make", (RULES | PARALLEL).values(), ids=RULES | PARALLEL)
def test_chunks_join_and_steps_make_a_scan(make):
    torch.manual_seed(0)
    layer, x = make(), drive()
    whole, after = layer.scan(x)
    first, state = layer.scan(x[:3])
    second, state = layer.scan(x[3:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(state, after)
    steps, state = [], None
    for x_t in x:
        y_t, state = layer.step(x_t, state)
        steps.append(y_t)
    torch.testing.assert_close(torch.stack(steps), whole)


@pytest.mark.parametrize("make", (RULES | PARALLEL).values(), ids=RULES | PARALLEL)
def test_future_and_neighbours_do_not_matter(make):
    torch.manual_seed(0)
    layer, x = make(), drive()
    other = x.clone()
    other[4:], other[:, 1] = 9.0, -9.0
    assert torch.equal(layer(x)[:4, 0], layer(other)[:4, 0])


def test_psn_sees_the_whole_sequence_or_nothing():
    layer = rv.PSN(7)
    assert layer(drive()).shape == (7, 2, 5)
    with pytest.raises(ValueError, match=r"x \[7, B"):
        layer(drive()[:3])
    with pytest.raises(ValueError, match="cannot continue from a state"):
        layer.scan(drive(), layer.scan(drive())[1])


def test_masked_psn_without_mask_is_psn():
    torch.manual_seed(0)
    free, masked = rv.PSN(7), rv.MaskedPSN(order=2, steps=7, masking=0.0)
    masked.load_state_dict({**masked.state_dict(), **free.state_dict()})
    assert torch.equal(free(drive()), masked(drive()))
    with pytest.raises(ValueError, match="needs x"):
        masked(drive()[:3])


def test_sliding_psn_has_one_answer_by_either_method():
    x = drive(torch.float64)
    assert torch.equal(rv.SlidingPSN(order=4)(x), rv.SlidingPSN(order=4, method="convolution")(x))


def test_more_steps_than_parameters_are_refused():
    with pytest.raises(ValueError, match="reaches step 7"):
        rv.GatedLIF(steps=6)(drive())
    with pytest.raises(ValueError, match="reaches step 7"):
        rv.MaskedPSN(order=2, steps=6)(drive())


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: rv.ParametricLIF(tau=1.0), "above 1"),
        (lambda: rv.SynapseFilter(tau=1.0), "above 1"),
        (lambda: rv.Lowpass(tau=0.0), "above 0"),
        (lambda: rv.Lowpass(dt=-1.0), "dt"),
        (lambda: rv.Lowpass(learn=("dt",)), "but its parameters are"),
        (lambda: rv.DoubleExponential(2e-3, 1e-3), "below tau_decay"),
        (lambda: rv.RestLIF(leak=1.5), "between 0 and 1"),
        (lambda: rv.AnalogLIF(act="sin"), "relu"),
        (lambda: rv.IntegerLIF(levels=0), "at least 1"),
        (lambda: rv.ResonateAndFire(b=0.1), "not above 0"),
        (lambda: rv.ResonateAndFire(omega=4.0), "smaller dt"),
        (lambda: rv.SlidingPSN(0), "at least 1"),
        (lambda: rv.SlidingPSN(method="fft"), "convolution"),
        (lambda: rv.MaskedPSN(masking=2.0), "between 0 and 1"),
        (lambda: rv.GatedLIF(tau=1.0), "excluded"),
        (lambda: rv.PSN(0), "at least 1"),
    ],
)
def test_nonsense_is_refused_by_name(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_learned_time_constants_read_back():
    assert rv.ParametricLIF(tau=3.0).tau.item() == pytest.approx(3.0)
    assert rv.SynapseFilter(tau=3.0).tau.item() == pytest.approx(3.0)
    assert rv.Lowpass(tau=0.05).tau.item() == pytest.approx(0.05, rel=1e-5)
    assert rv.Alpha(tau=0.05).tau.item() == pytest.approx(0.05, rel=1e-5)


def test_lowpass_takes_a_time_constant_per_feature():
    layer = rv.Lowpass(torch.tensor([0.1, 0.2]), 1e-2)
    y = layer(torch.ones(3, 1, 2))
    expected = 1 - torch.exp(-torch.arange(1, 4).unsqueeze(1) * 1e-2 / torch.tensor([0.1, 0.2]))
    torch.testing.assert_close(y[:, 0], expected)


@pytest.mark.parametrize("tau", [1e-3, 0.02, 1.0])
def test_alpha_answers_a_step_in_closed_form(tau):
    steps, dt = 200, 1e-3
    t = torch.arange(1, steps + 1, dtype=torch.float64) * dt / tau
    wanted = 1 - (1 + t) * torch.exp(-t)  # the integral of t / tau^2 exp(-t / tau)
    torch.testing.assert_close(
        rv.Alpha(tau, dt)(torch.ones(steps, 1, 1)).double().flatten(), wanted, rtol=1e-4, atol=1e-6
    )
    taus = torch.tensor([tau, 2 * tau])
    each = rv.Alpha(taus, dt, learn="tau")(torch.rand(steps, 2, 2, generator=torch.Generator().manual_seed(0)))
    assert each.isfinite().all() and rv.Alpha(1e-6, 1.0)(torch.ones(3, 1, 1)).flatten().tolist() == [1.0, 1.0, 1.0]


def test_lowpass_of_extreme_time_constants_stays_finite():
    x = torch.ones(3, 1, 1)
    assert rv.Lowpass(tau=1e-6, dt=1.0)(x).flatten().tolist() == [1.0, 1.0, 1.0]
    assert rv.Lowpass(tau=1e9, dt=1e-3)(x).abs().max() < 1e-6


def test_a_refractory_layer_hears_of_changes_to_its_neuron():
    layer, x = rv.Refractory(rv.LIF(), period=1), torch.rand(9, 2, 3, requires_grad=True)
    with rv.backend("reference"):
        (first,) = torch.autograd.grad(layer(x).sum(), x)
        layer.neuron.surrogate = rv.surrogate.boxcar(0.2, 5.0)
        (second,) = torch.autograd.grad(layer(x).sum(), x)
        (fresh,) = torch.autograd.grad(rv.Refractory(rv.LIF(surrogate=layer.neuron.surrogate), period=1)(x).sum(), x)
    assert torch.equal(second, fresh) and not torch.equal(first, second)


def test_a_run_put_on_the_neuron_of_a_recurrent_layer_is_run():
    net, x = rv.Sequential(nn.Linear(4, 5), rv.Recurrent(rv.LIF(), 5)), torch.rand(6, 2, 4) * 3
    run = net[1].neuron.run
    net[1].neuron.run = lambda *given: (run(*given)[0] * 0 + 2, *run(*given)[1:])
    for backend in ("numba", "reference"):
        with rv.backend(backend):
            assert (net(x) == 2).all() and (net[1](torch.rand(6, 2, 5)) == 2).all()
