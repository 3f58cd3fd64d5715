"""The neurons of the records against their papers' equations, written out another way, in float64."""

import cmath
import math

import pytest
import torch

import ranvier as rv

T, KINDS = 40, (rv.SEAdLIF, rv.SiLIF, rv.BRF, rv.BHRF)


def drive(scale, seed=0):
    return scale * torch.rand(T, 1, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spikes_of(neuron, x):
    """Spikes, and the first state, of a neuron in float64 on the reference."""
    with rv.backend("reference"), torch.no_grad():
        neuron = neuron.double()
        (u,) = rv.record(neuron, x, "u").values()
        return neuron(x)[:, 0], u[:, 0]


def each(x, step, *state):
    """A scalar step over time for every neuron: rows of its outputs."""
    columns = []
    for n in range(x.shape[-1]):
        now, rows = state, []
        for t in range(len(x)):
            z, u, now = step(float(x[t, 0, n]), n, *now)
            rows.append((z, u))
        columns.append(rows)
    return (torch.tensor([[column[t][k] for column in columns] for t in range(len(x))]).double() for k in (0, 1))


def test_adlif_is_the_symplectic_step_of_its_two_equations():
    neuron, x = rv.SEAdLIF.published(5, torch.Generator().manual_seed(1)), drive(60.0)
    p = {k: v.detach().double() for k, v in neuron.named_parameters()}

    def step(x, n, u, w):
        alpha, beta, a, b = (float(p[k][n]) for k in ("alpha", "beta", "a", "b"))
        u = x - w + alpha * (u - x + w)  # tau du/dt = -u + x - w, solved for a constant right side
        z = float(u >= 1)
        u = 0.0 if z else u
        goal = 120 * (a * u + b * z)
        return z, u, (u, goal + beta * (w - goal))

    z, u = each(x, step, 0.0, 0.0)
    got, membrane = spikes_of(neuron, x)
    assert torch.equal(got, z) and 0 < z.mean() < 1
    torch.testing.assert_close(membrane, u, rtol=1e-5, atol=1e-5)


def test_silif_in_its_authors_order():
    neuron, x = rv.SiLIF.published(5, torch.Generator().manual_seed(1)), drive(12.0)
    p = {k: v.detach().double() for k, v in neuron.named_parameters()}

    def step(x, n, u, w, z):  # w reads the membrane and the spike of the step before, the membrane is unreset
        dt = math.exp(p["log_dt"][n])
        alpha, beta = math.exp(-math.exp(p["log_rate"][n]) * dt), math.exp(-math.exp(p["log_slow"][n]) * dt)
        w = beta * w + float(p["a"][n]) * u + float(p["b"][n]) * z
        u = alpha * (u - z) + (1 - alpha) * (x - w)
        z = float(u >= 1)
        return z, u - z, (u, w, z)

    z, u = each(x, step, 0.0, 0.0, 0.0)
    got, membrane = spikes_of(neuron, x)
    assert torch.equal(got, z) and 0 < z.mean() < 1
    torch.testing.assert_close(membrane, u, rtol=1e-5, atol=1e-5)


def test_brf_is_a_complex_number_that_turns():
    neuron, x = rv.BRF.published(5, torch.Generator().manual_seed(1)), drive(160.0)
    p, dt = {k: v.detach().double() for k, v in neuron.named_parameters()}, 0.01

    def step(x, n, s, q):
        omega = float(p["omega"][n])
        b = (-1 + math.sqrt(1 - (dt * omega) ** 2)) / dt - float(p["damping"][n]) - q
        s = s * (1 + dt * complex(b, omega)) + dt * x
        z = float(s.real >= 1 + q)
        return z, s.real, (s, 0.9 * q + z)

    z, u = each(x, step, 0j, 0.0)
    got, real = spikes_of(neuron, x)
    assert torch.equal(got, z) and 0 < z.mean() < 1
    torch.testing.assert_close(real, u, rtol=1e-5, atol=1e-5)


def test_bhrf_is_a_damped_oscillator():
    neuron, x = rv.BHRF.published(5, torch.Generator().manual_seed(1)), drive(160.0)
    p, dt = {k: v.detach().double() for k, v in neuron.named_parameters()}, 0.01

    def step(x, n, place, speed, q):
        omega = float(p["omega"][n])
        b = 0.005 * omega**2 + float(p["damping"][n]) + q
        place = place + dt * speed
        speed = speed * (1 - 2 * dt * b) + dt * (x - omega**2 * place)
        z = float(speed >= 1 + q)
        return z, speed, (place, speed, 0.9 * q + z)

    z, u = each(x, step, 0.0, 0.0, 0.0)
    got, speed = spikes_of(neuron, x)
    assert torch.equal(got, z) and 0 < z.mean() < 1
    torch.testing.assert_close(speed, u, rtol=1e-5, atol=1e-5)


def test_a_balanced_swing_never_grows_and_keeps_its_frequency():
    omega = torch.tensor([5.0, 20.0, 60.0, 99.0])
    x = torch.zeros(2000, 1, 4, dtype=torch.float64)
    x[0] = 90.0  # below the threshold
    neuron = rv.BRF(omega=omega, damping=0.0)
    z, u = spikes_of(neuron, x)
    assert z.sum() == 0
    early, late = u[:200].abs().amax(0), u[-200:].abs().amax(0)
    torch.testing.assert_close(late, early, rtol=0.02, atol=0)  # on the edge: neither growing nor dying
    for n in range(3):
        turned = cmath.phase(complex(math.sqrt(1 - (0.01 * float(omega[n])) ** 2), 0.01 * float(omega[n])))
        spectrum = torch.fft.rfft(u[:, n]).abs()
        assert abs(int(spectrum.argmax()) - turned * 2000 / (2 * math.pi)) <= 1


def test_adlif_stays_bounded_where_forward_euler_does_not():
    """The worst corner of the published ranges: without input every swing dies."""
    neuron = rv.SEAdLIF(alpha=math.exp(-1 / 25), beta=math.exp(-1 / 60), a=1.0, q=120.0, threshold=1e9)
    x = torch.zeros(400, 1, 5, dtype=torch.float64)
    x[0] = 10.0
    _, u = spikes_of(neuron, x)
    assert u[-1].abs().max() < 0.01 * u.abs().max()


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_published_parameters_learn(kind):
    one, two, other = (kind.published(6, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    for a, b, c in zip(one.parameters(), two.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b) and a.shape == (6,)
        assert a.unique().numel() == 1 or not torch.equal(a, c)
    x = (torch.rand(30, 4, 6) * {rv.SEAdLIF: 60, rv.SiLIF: 12}.get(kind, 160)).requires_grad_()
    with rv.backend("reference"):  # the laws compare the other backends with it
        one(x).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in one.parameters())
    fixed = kind.published(6, learn=())
    assert not list(fixed.parameters())


def test_a_step_too_long_for_a_frequency_is_told():
    for kind in (rv.BRF, rv.BHRF):
        with pytest.raises(ValueError, match=r"omega up to 100 and dt 0.01; take a smaller dt"):
            kind(omega=100.0)
        with pytest.raises(ValueError, match="dt must be a positive number"):
            kind(dt=0.0)
