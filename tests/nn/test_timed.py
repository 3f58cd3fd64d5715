"""Timed spikes: exact gradients of the discrete network, converging to those of the continuous one."""

import copy
import itertools
import math

import continuous
import pytest
import torch
from torch import nn

import ranvier as rv

TAU_MEM, TAU_SYN, LAST = 2.0, 1.0, 8.0  # in units of tau_syn; any unit will do


READOUTS = {
    "max": lambda y, out: y.amax(0),
    "mean": lambda y, out: y.mean(0),
    "at": lambda y, out: y[len(y) // 2],
    "first": lambda y, out: -rv.first_spike(y[0], out) / 0.2,
}


def network(w1, w2, dt, readout, cut=1e-9):
    hidden = rv.TimedLIF(tau_mem=TAU_MEM, tau_syn=TAU_SYN, dt=dt, cut=cut)
    out = (rv.TimedLIF if readout == "first" else rv.TimedLI)(tau_mem=TAU_MEM, tau_syn=TAU_SYN, dt=dt)
    steps = round(LAST / dt)

    def score(times, w1, w2):
        a, b = hidden(tuple(weigh(h, w1) for h in rv.encode_times(times, steps, hidden)))
        y = out((weigh(a, w2), weigh(b, w2)))
        return READOUTS[readout](y, out), (a > 0).sum(0)

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


def steepest_error(loss, parameters, every=1, step=1e-6):
    """The largest gap between a gradient and central differences of the same loss, relative to the gradient's norm."""
    loss().backward()
    worst = 0.0
    for p in parameters:
        gradient, flat = p.grad.flatten(), p.data.view(-1)
        for k in range(0, p.numel(), every):
            before = flat[k].item()
            with torch.no_grad():
                flat[k] = before + step
                above = loss().item()
                flat[k] = before - step
                below = loss().item()
                flat[k] = before
            worst = max(worst, abs((above - below) / (2 * step) - gradient[k].item()) / gradient.norm().item())
    return worst


@pytest.mark.parametrize("readout", ["max", "mean", "at", "first"])
def test_gradient_against_finite_differences_of_the_same_model(readout):
    (w1, w2), (times, labels) = (tuple(w.requires_grad_() for w in weights())), samples(4)
    score = network(w1, w2, 0.25, readout)
    with rv.backend("reference"):
        loss = lambda: nn.functional.cross_entropy(score(times, w1, w2)[0], labels)  # noqa: E731
        assert steepest_error(loss, (w1, w2), every=13) < 1e-6


def test_time_constants_and_thresholds_are_learnable():
    times, _ = samples(4)
    lif = rv.TimedLIF(
        tau_mem=TAU_MEM, tau_syn=TAU_SYN, dt=0.25, cut=1e-9, learn=("tau_mem", "tau_syn", "threshold")
    ).double()
    w1 = weights()[0]

    def loss():
        a, b = lif(tuple(nn.functional.linear(h, w1) for h in rv.encode_times(times, 32, lif)))
        return (a * 0.3 + b).sum()

    with rv.backend("reference"):
        assert steepest_error(loss, lif.parameters()) < 1e-6


def test_delays_are_learnable_over_many_steps():
    times, _ = samples(4)
    hidden, out = (kind(tau_mem=TAU_MEM, tau_syn=TAU_SYN, dt=0.25).double() for kind in (rv.TimedLIF, rv.TimedLI))
    delay = torch.tensor([0.0, 0.1, 0.3, 1.3, 2.2], dtype=torch.float64) + 0.017
    late = rv.TimedDelay(delay=delay, tau_mem=TAU_MEM, tau_syn=TAU_SYN, dt=0.25, longest=3.0, learn="delay").double()
    w1, w2 = weights()

    def loss():
        x = tuple(weigh(h, w1) for h in late(rv.encode_times(times, 32, hidden)))
        return out(tuple(weigh(h, w2) for h in hidden(x))).mean(0).square().sum()

    with rv.backend("reference"):
        assert steepest_error(loss, [late.delay], step=1e-7) < 1e-6
        early = rv.encode_times(times, 32, hidden)
        a, _ = late(early)
        wanted = rv.encode_times(times + late.delay.detach(), 32, hidden)[0]
        torch.testing.assert_close(a, wanted)
        first, state = late.scan(tuple(h[:5] for h in early))  # what is under way goes from chunk to chunk
        second, _ = late.scan(tuple(h[5:] for h in early), state)
        torch.testing.assert_close(torch.cat([first[0], second[0]]), a, rtol=0, atol=0)
    with pytest.raises(ValueError, match="longest"):
        rv.TimedDelay(delay=0.3, longest=0.2, dt=0.1)


def test_recurrent_gradients_are_exact_too():
    times, _ = samples(4)
    layer = rv.TimedRecurrent(rv.TimedLIF(tau_mem=TAU_MEM, tau_syn=TAU_SYN, dt=0.25, cut=1e-9), 12).double()
    w1, _ = weights()

    def loss():
        x = rv.encode_times(times, 32, layer.neuron)
        return rv.first_spike(layer(tuple(weigh(h, w1) for h in x))[0], layer.neuron).square().sum()

    with rv.backend("reference"):
        assert steepest_error(loss, [layer.feedback.weight], every=7) < 1e-6


TIMED = ("eventprop", "surrogate")


def test_the_tool_compares_both_gradients_layer_by_layer_and_tells_what_grazes():
    torch.manual_seed(1)
    sizes = (5, 20, 20, 3)
    maps = [rv.TimedMap(nn.Linear(i, o, bias=False)) for i, o in itertools.pairwise(sizes)]
    nn.init.normal_(maps[0].module.weight, 2.0, 1.5)
    nn.init.normal_(maps[1].module.weight, 1.0, 1.0)
    net = rv.Sequential(maps[0], rv.TimedLIF(), maps[1], rv.TimedRecurrent(rv.TimedLIF(), 20), maps[2], rv.TimedLI())
    x = rv.encode_times(torch.rand(16, 5) * 30e-3, 50, net[1])
    with rv.backend("reference"):
        found = rv.compare_gradients(net, x, lambda v: v.mean(0).square().sum())
    by_name = {row.name: row for row in found.rows}
    assert list(by_name) == ["0.module.weight", "2.module.weight", "3.feedback.weight", "4.module.weight"]
    assert by_name["4.module.weight"].cosine > 0.999  # no spike lies between it and the loss
    assert by_name["0.module.weight"].cosine < 0.9
    assert set(found.grazing) == {"1", "3"} and all(0.0 <= share <= 1.0 for share in found.grazing.values())
    assert "graze" in str(found) and all(p.grad is None for p in net.parameters())
    wide = copy.deepcopy(net)
    wide[1].settings["cut"] = 100.0  # then every rise is too slow for the guard
    with rv.backend("reference"):
        assert rv.compare_gradients(wide, x, lambda v: v.mean()).grazing["1"] > 0.9
    with pytest.raises(ValueError, match="TimedLIF"):
        rv.compare_gradients(rv.Sequential(nn.Linear(2, 2), rv.LIF()), torch.rand(3, 1, 2), torch.sum, TIMED)


def test_kernel_equals_reference():
    torch.manual_seed(0)
    x = [torch.rand(40, 3, 7) * (torch.rand(40, 3, 7) > 0.8) * s for s in (1.5, 0.3)]
    results = []
    for backend in ("reference", "numba"):
        lif = rv.TimedLIF()
        given = [h.clone().requires_grad_() for h in x]
        with rv.backend(backend):
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
    with rv.backend("reference"):
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
    with rv.backend("reference"):
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
    with rv.backend("reference"):
        for gradient in rv.nn.neurons.timed.GRADIENTS:
            lif = rv.TimedLIF(tau_mem=TAU_MEM, tau_syn=TAU_SYN, dt=0.25, gradient=gradient)
            outs.append(lif(tuple(nn.functional.linear(h.float(), w1) for h in rv.encode_times(times, 32, lif))))
    assert torch.equal(outs[0][0], outs[1][0]) and torch.equal(outs[0][1], outs[1][1])


def test_recurrent_spikes_arrive_one_step_later():
    lif = rv.TimedLIF(tau_mem=2.0, tau_syn=1.0, dt=0.1)
    layer = rv.TimedRecurrent(lif, 2).double()
    with torch.no_grad():
        layer.feedback.weight.copy_(torch.tensor([[0.0, 0.0], [9.0, 0.0]]))  # neuron 0 drives neuron 1
    with rv.backend("reference"):
        x = rv.encode_times(torch.tensor([[0.0, 99.0]], dtype=torch.float64), 40, lif)
        a, _ = layer(tuple(9.0 * h for h in x))
        t = rv.first_spike(a, lif)[0]
    assert abs((t[1] - t[0]) - (t[0] + 0.1)) < 1e-3  # the same response, one synapse and one step later


def test_another_target_shares_its_time_constants():
    out = rv.TimedLI(tau_mem=3.0, tau_syn=0.5, dt=0.1, learn="tau_syn").double()
    lif = rv.TimedLIF(tau_mem=2.0, tau_syn=1.0, dt=0.1, target=out).double()
    with rv.backend("reference"):
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
    with rv.backend("reference"):
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
