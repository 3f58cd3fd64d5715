"""A batch norm and its neurons in one pass: the same as one after the other, with less kept for backward."""

import copy

import pytest
import torch
from torch import nn

import ranvier as rv
from ranvier.nn import stage_norm
from ranvier.nn.stage_norm import NormStage

N = 6
NETS = {
    "plain": lambda: [nn.BatchNorm1d(N), rv.LIF(beta=0.5)],
    "learned": lambda: [nn.BatchNorm1d(N), rv.ALIF(learn=("beta", "threshold"), shape=(N,))],
    "one number learned": lambda: [nn.BatchNorm1d(N), rv.LIF(beta=0.5, learn="beta")],
    "no affine": lambda: [nn.BatchNorm1d(N, affine=False), rv.BRF(omega=torch.linspace(5, 60, N)), nn.Linear(N, 2)],
    "no running": lambda: [nn.Linear(N, N), nn.BatchNorm1d(N, track_running_stats=False), rv.LI(beta=0.5)],
    "mean of all": lambda: [nn.Linear(N, N), nn.BatchNorm1d(N, momentum=None), rv.SEAdLIF.published(N)],
    "two": lambda: [nn.BatchNorm1d(N), rv.LIF(beta=0.5), nn.BatchNorm1d(N), rv.LIF(beta=0.9)],
}


def build(name, dtype=torch.float64, train=True):
    torch.manual_seed(1)
    return rv.Sequential(*NETS[name]()).to(dtype).train(train)


def results(net, x, backend="numba"):
    """Output, gradients and buffers."""
    given = x.clone().requires_grad_()
    with rv.backend(backend):
        y = net(given)
    params = list(net.parameters())
    found = torch.autograd.grad(y, [given, *params], torch.linspace(0, 1, y.numel()).view_as(y).to(y))
    return y.detach(), found, list(net.buffers())


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("name", NETS)
def test_one_pass_is_the_layers_one_after_the_other(name, train):
    x, fused = 3 * torch.randn(9, 10, N, dtype=torch.float64), build(name, train=train)
    plain = copy.deepcopy(fused)
    assert any(isinstance(part, NormStage) for part in fused.plan().parts)
    one, other = results(fused, x), results(plain, x, "reference")
    torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("shape", [(1, 2, N), (9, 1, N), (5, 13, N), (3, 100, N), (50, 48, N)])
def test_sizes(shape):
    x, fused = 3 * torch.randn(shape, dtype=torch.float64), build("learned")
    plain = copy.deepcopy(fused)
    torch.testing.assert_close(results(fused, x), results(plain, x, "reference"), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("train", [True, False])
def test_an_input_that_is_the_same_at_all_steps_is_normalised_once(train):
    x = 3 * torch.randn(1, 7, N, dtype=torch.float64).expand(9, -1, -1)
    fused = build("learned", train=train)
    plain, other = copy.deepcopy(fused), copy.deepcopy(fused)
    with rv.backend("reference"):
        wanted = plain(x)
    assert torch.equal(fused(x), wanted) and torch.equal(rv.scan(other, x)[0], wanted)
    for net in (fused, other):
        torch.testing.assert_close(net[0].running_var, plain[0].running_var)


@pytest.mark.parametrize("threads", [1, 2])
def test_float32_spikes_are_equal_on_one_thread_and_two(threads):
    torch.manual_seed(0)
    x, fused = 3 * torch.randn(400, 100, N), build("learned", torch.float32)
    plain, before = copy.deepcopy(fused), torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        one = results(fused, x)
    finally:
        torch.set_num_threads(before)
    wanted = results(plain, x, "reference")
    assert torch.equal(one[0], wanted[0]) and 0.05 < one[0].mean() < 0.95
    torch.testing.assert_close(one[1:], wanted[1:], rtol=1e-4, atol=0.02)  # sums of 40,000 terms


def test_scan_and_record_give_the_same_bits():
    x = 3 * torch.randn(9, 10, N)
    nets = [build("learned", torch.float32) for _ in range(3)]
    y = nets[0](x)
    assert torch.equal(rv.scan(nets[1], x)[0], y)
    (spikes,) = rv.record(nets[2], x, "z").values()
    assert torch.equal(spikes, y)


def test_one_step_of_one_sample_gives_the_same_bits_as_a_sequence():
    x, net, state, found = 3 * torch.randn(9, 1, N), build("learned", torch.float32, train=False), None, []
    for step in x.split(1):
        y, state = rv.scan(net, step, state)
        found.append(y)
    assert torch.equal(torch.cat(found), net(x)) and torch.equal(net(x[:1]), found[0])


def test_states_that_do_not_fit_run_one_after_the_other(monkeypatch):
    x, fused = 3 * torch.randn(9, 10, N, dtype=torch.float64), build("learned")
    plain = copy.deepcopy(fused)
    monkeypatch.setattr(stage_norm, "TRAIL", 9)
    assert [stage_norm._together(*given) for given in ((50, 128, 99), (50, 8, 30), (7, 8, 6), (7, 8, 0))] == [
        2,
        25,
        1,
        0,
    ]
    torch.testing.assert_close(results(fused, x), results(plain, x, "reference"), rtol=1e-7, atol=1e-9)


def test_the_output_of_the_norm_is_not_kept():
    net, sizes = build("plain", torch.float32), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
        net((3 * torch.randn(20, 30, N)).requires_grad_())
    assert sum(size >= 20 * 30 * N for size in sizes) == 1


def test_what_does_not_fit_is_told_by_torch():
    net = build("plain", torch.float32)
    with pytest.raises(RuntimeError, match=r"layer 0 \(BatchNorm1d\)"):
        net(torch.rand(5, 2, N + 1))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        net(torch.rand(1, 1, N))
    assert net(torch.rand(5, 2, N, dtype=torch.float32, requires_grad=True)).requires_grad
