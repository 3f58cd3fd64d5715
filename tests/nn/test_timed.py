"""Timed spikes: exact gradients of the discrete network, converging to those of the continuous one."""

import math

import continuous
import pytest
import torch
from torch import nn

import ranvier as rv

TAU_MEM, TAU_SYN, LAST = 2.0, 1.0, 8.0  # in units of tau_syn; any unit will do


def network(w1, w2, dt, readout, cut=1e-9):
    hidden = rv.TimedLIF(tau_mem=TAU_MEM, tau_syn=TAU_SYN, dt=dt, cut=cut)
    out = (rv.TimedLIF if readout == "first" else rv.TimedLI)(tau_mem=TAU_MEM, tau_syn=TAU_SYN, dt=dt)
    steps = round(LAST / dt)

    def score(times, w1, w2):
        a, b = hidden(tuple(weigh(h, w1) for h in rv.encode_times(times, steps, hidden)))
        y = out((weigh(a, w2), weigh(b, w2)))
        s = y.amax(0) if readout == "max" else y.mean(0) if readout == "mean" else -rv.first_spike(y[0], out) / 0.2
        return s, (a > 0).sum(0)

    return score


def weigh(h, w):
    """h [T, B, in] by w [out, in], or by one matrix per sample [B, out, in]."""
    return nn.functional.linear(h, w) if w.dim() == 2 else torch.einsum("tbi,boi->tbo", h, w)


def weights(seed=1, hidden=12):
    g = torch.Generator().manual_seed(seed)
    w1 = torch.randn(hidden, 5, generator=g, dtype=torch.float64) * 0.8 + 1.4
    w2 = torch.randn(3, hidden, generator=g, dtype=torch.float64) * 0.4 + 0.5
    return w1, w2


def samples(n, seed=0):
    g = torch.Generator().manual_seed(seed)
    xy = torch.rand(n, 2, generator=g, dtype=torch.float64)
    times = torch.cat([0.2 + 3 * xy, 0.2 + 3 * (1 - xy), torch.full((n, 1), 0.2, dtype=torch.float64)], 1)
    return times, torch.randint(3, (n,), generator=g)


@pytest.mark.parametrize("readout", ["max", "mean", "first"])
def test_gradient_against_finite_differences_of_the_same_model(readout):
    (w1, w2), (times, labels) = weights(), samples(4)
    with rv.machine("reference"):
        score = network(w1, w2, 0.25, readout)

        def loss(a, b):
            return nn.functional.cross_entropy(score(times, a, b)[0], labels)

        a, b = w1.clone().requires_grad_(), w2.clone().requires_grad_()
        loss(a, b).backward()
        with torch.no_grad():
            for w, g in ((w1, a.grad), (w2, b.grad)):
                worst = 0.0
                for k in range(0, w.numel(), 13):
                    e = torch.zeros_like(w).flatten()
                    e[k] = 1e-6
                    e = e.view_as(w)
                    args = [(w1 + e * s, w2) if w is w1 else (w1, w2 + e * s) for s in (1, -1)]
                    slope = (loss(*args[0]) - loss(*args[1])) / 2e-6
                    worst = max(worst, abs(slope - g.flatten()[k]).item() / g.norm().item())
                assert worst < 1e-6


def test_time_constants_and_thresholds_are_learnable():
    times, _ = samples(4)
    lif = rv.TimedLIF(
        tau_mem=TAU_MEM, tau_syn=TAU_SYN, dt=0.25, cut=1e-9, learn=("tau_mem", "tau_syn", "threshold")
    ).double()
    w1 = weights()[0]

    def value():
        a, b = lif(tuple(nn.functional.linear(h, w1) for h in rv.encode_times(times, 32, lif)))
        return (a * 0.3 + b).sum()

    with rv.machine("reference"):
        value().backward()
        for name, p in lif.named_parameters():
            with torch.no_grad():
                p += 1e-6
                up = value()
                p -= 2e-6
                down = value()
                p += 1e-6
            assert abs((up - down) / 2e-6 - p.grad).item() < 1e-6 * max(1.0, abs(p.grad.item())), name


def test_kernel_equals_reference():
    torch.manual_seed(0)
    x = [torch.rand(40, 3, 7) * (torch.rand(40, 3, 7) > 0.8) * s for s in (1.5, 0.3)]
    results = []
    for machine in ("reference", "cpu"):
        lif = rv.TimedLIF()
        given = [h.clone().requires_grad_() for h in x]
        with rv.machine(machine):
            a, b = lif(tuple(given))
        (a.sum() + (b * torch.arange(40.0).reshape(-1, 1, 1)).sum()).backward()
        results.append((a, b, *(h.grad for h in given)))
    assert results[0][0].any()
    assert torch.equal(results[0][0] > 0, results[1][0] > 0)
    for wanted, got in zip(*results, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5 * wanted.abs().max().item())


def test_first_spike_is_exact_for_one_neuron():
    """v(t) = kappa(t) w = threshold: the closed form, and its derivative by w, as dt falls."""
    w = torch.tensor(8.0, dtype=torch.float64, requires_grad=True)
    # with tau_mem = 2 tau_syn, kappa(t) = exp(-t/2) - exp(-t): a quadratic in exp(-t/2)
    exact = -2 * torch.log((1 + torch.sqrt(1 - 4 / w)) / 2)
    (slope,) = torch.autograd.grad(exact, w)
    errors = []
    with rv.machine("reference"):
        for dt in (0.05, 0.005):
            lif = rv.TimedLIF(tau_mem=2.0, tau_syn=1.0, dt=dt)
            x = rv.encode_times(torch.zeros(1, 1, dtype=torch.float64), round(0.6 / dt), lif)
            t = rv.first_spike(lif(tuple(w * h for h in x))[0], lif)[0, 0]
            (g,) = torch.autograd.grad(t, w)
            errors.append((abs(t - exact).item(), abs(g / slope - 1).item()))
    assert errors[1][0] < 1e-5 and errors[1][1] < 1e-2 and errors[1][1] < errors[0][1] / 5


def test_equal_time_constants_are_the_limit():
    x = None
    out = []
    for tau in (1.0, 1.0 + 1e-7):
        lif = rv.TimedLIF(tau_mem=tau, tau_syn=1.0, dt=0.1, learn="tau_mem").double()
        x = rv.encode_times(torch.tensor([[0.33, 0.7]], dtype=torch.float64), 30, lif)
        a, b = lif(tuple(6 * h for h in x))
        b.sum().backward()
        out.append((a, b, lif.tau_mem.grad))
    for p, q in zip(*out, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


def test_grazing_spikes_give_large_but_finite_gradients():
    with rv.machine("reference"):
        gradients = []
        for cut in (1e-9, 0.1):
            lif = rv.TimedLIF(tau_mem=2.0, tau_syn=1.0, dt=0.01, cut=cut)
            w = torch.tensor(4.0 + 1e-4, dtype=torch.float64, requires_grad=True)  # the peak of kappa is 1/4: it grazes
            x = rv.encode_times(torch.zeros(1, 1, dtype=torch.float64), 200, lif)
            a, _ = lif(tuple(w * h for h in x))
            assert a.any()
            rv.first_spike(a, lif).sum().backward()
            gradients.append(abs(w.grad.item()))
    assert math.isfinite(gradients[0]) and gradients[0] > 30 and gradients[1] < gradients[0] / 2


def test_surrogate_is_the_same_network():
    times, _ = samples(5)
    w1 = weights()[0].float()
    outs = []
    with rv.machine("reference"):
        for gradient in rv.nn.neurons.timed.GRADIENTS:
            lif = rv.TimedLIF(tau_mem=TAU_MEM, tau_syn=TAU_SYN, dt=0.25, gradient=gradient)
            outs.append(lif(tuple(nn.functional.linear(h.float(), w1) for h in rv.encode_times(times, 32, lif))))
    assert torch.equal(outs[0][0], outs[1][0]) and torch.equal(outs[0][1], outs[1][1])


def test_recurrent_spikes_arrive_one_tick_later():
    lif = rv.TimedLIF(tau_mem=2.0, tau_syn=1.0, dt=0.1)
    layer = rv.TimedRecurrent(lif, 2).double()
    with torch.no_grad():
        layer.feedback.weight.copy_(torch.tensor([[0.0, 0.0], [9.0, 0.0]]))  # neuron 0 drives neuron 1
    with rv.machine("reference"):
        x = rv.encode_times(torch.tensor([[0.0, 99.0]], dtype=torch.float64), 40, lif)
        a, _ = layer(tuple(9.0 * h for h in x))
        t = rv.first_spike(a, lif)[0]
    assert abs((t[1] - t[0]) - (t[0] + 0.1)) < 1e-3  # the same response, one synapse and one tick later


def test_another_target_shares_its_time_constants():
    out = rv.TimedLI(tau_mem=3.0, tau_syn=0.5, dt=0.1, learn="tau_syn").double()
    lif = rv.TimedLIF(tau_mem=2.0, tau_syn=1.0, dt=0.1, to=out).double()
    with rv.machine("reference"):
        x = rv.encode_times(torch.zeros(1, 1, dtype=torch.float64), 40, lif)
        v = out(lif(tuple(9.0 * h for h in x)))
    v[-1].sum().backward()
    assert lif.tau_syn_to is out.tau_syn and out.tau_syn.grad.abs() > 0


@pytest.mark.parametrize("wrong", [dict(dt=0.0), dict(gradient="exact"), dict(cut=0.0), dict(to=3), dict(tau_mem=-1.0)])
def test_errors(wrong):
    with pytest.raises((ValueError, TypeError)):
        rv.TimedLIF(**wrong)


@pytest.mark.slow  # a minute
@pytest.mark.parametrize("readout", ["max", "first"])
def test_gradients_converge_to_those_of_the_continuous_network(readout):
    (w1, w2), (times, labels) = weights(), samples(16)
    medians = []
    truth = []
    for t, y in zip(times, labels, strict=True):
        a, b = w1.clone().requires_grad_(), w2.clone().requires_grad_()
        score, counts = continuous.network(t, a, b, TAU_MEM, TAU_SYN, LAST, readout)
        truth.append((torch.autograd.grad(nn.functional.cross_entropy(score[None], y[None]), (a, b)), counts))
    with rv.machine("reference"):
        for dt in (1 / 20, 1 / 200):
            score = network(w1, w2, dt, readout)
            # a copy of the weights for every sample gives the gradient of each in one pass
            a, b = (w.expand(len(times), *w.shape).clone().requires_grad_() for w in (w1, w2))
            s, counts = score(times, a, b)
            nn.functional.cross_entropy(s, labels, reduction="sum").backward()
            errors = []
            for k, (wanted, fired) in enumerate(truth):
                if torch.equal(counts[k], fired):
                    gap = sum((g[k] - w).square().sum() for g, w in zip((a.grad, b.grad), wanted, strict=True))
                    errors.append((gap / sum(w.square().sum() for w in wanted)).sqrt().item())
            medians.append(sorted(errors)[len(errors) // 2])
            assert len(errors) >= 12
    print(f"{readout}: median error per sample {medians[0]:.4f} at tau_syn / 20, {medians[1]:.4f} at tau_syn / 200")
    assert medians[0] <= 0.10 and medians[1] <= 0.01
