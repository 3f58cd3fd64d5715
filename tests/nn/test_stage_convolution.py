"""Convolution, norm, neuron and pool in one pass: the same as one after the other, with less kept for backward."""

import copy

import pytest
import torch
from torch import nn

import ranvier as rv
from ranvier.backends import pooled
from ranvier.backends.pooled import Pictures
from ranvier.nn.plan import Plan, Stage
from ranvier.nn.sequential import STAGES
from ranvier.nn.stage_convolution import ConvolutionStage


def planned(layers):
    return Plan.of(layers, STAGES).parts


def lif(**given):
    return rv.LIF(beta=0.5, **given)


LEARNED = {"learn": ("beta", "threshold"), "shape": (4, 1, 1)}
NETS = {
    "norm and greatest": lambda: [nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), lif(), nn.MaxPool2d(2)],
    "no pool": lambda: [nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4, affine=False), rv.ALIF()],
    "no norm, learned": lambda: [nn.Conv2d(2, 4, 3), lif(**LEARNED), nn.MaxPool2d(2)],
    "learned at every place": lambda: [
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), rv.RestLIF(rest=torch.rand(4, 7, 9) / 9, learn="rest"), nn.MaxPool2d(2)
    ],
    "two stages": lambda: [
        nn.Conv2d(2, 4, 3), rv.ThresholdBatchNorm2d(4, momentum=None), lif(), nn.MaxPool2d(2),
        nn.Conv2d(4, 3, 2), nn.BatchNorm2d(3, track_running_stats=False), lif(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(3, 2),
    ],
}  # fmt: skip


def both(make, x, dtype=torch.float64, train=True):
    """Output, gradients and buffers of one pass and of layers one after the other, from the same weights."""
    torch.manual_seed(1)
    fused = rv.Sequential(*make()).to(dtype).train(train)
    plain, found = copy.deepcopy(fused), []
    for net, backend in ((fused, "numba"), (plain, "reference")):
        given = x.to(dtype).clone().requires_grad_()
        with rv.backend(backend):
            y = net(given if len(x) > 1 else given.expand(5, *x.shape[1:]))
        y.backward(torch.rand(y.shape, generator=torch.Generator().manual_seed(2), dtype=dtype))
        found.append((y.detach(), given.grad, [p.grad for p in net.parameters()], list(net.buffers())))
    return found


@pytest.mark.parametrize("name", NETS)
def test_one_pass_is_the_layers_one_after_the_other(name):
    torch.manual_seed(0)
    one, other = both(NETS[name], 2 * torch.rand(5, 3, 2, 9, 11))
    assert torch.equal(one[0], other[0]) or "two stages" in name
    torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    ("shape", "train"), [((1, 3, 2, 9, 11), True), ((5, 3, 2, 9, 11), False), ((5, 1, 2, 4, 4), True)]
)
def test_still_pictures_evaluation_single_samples(shape, train):
    torch.manual_seed(0)
    torch.testing.assert_close(
        *both(NETS["norm and greatest"], 2 * torch.rand(shape), train=train), rtol=1e-7, atol=1e-9
    )


def test_float32_spikes_are_equal():
    torch.manual_seed(0)
    (y, *grads), (z, *others) = both(NETS["norm and greatest"], 2 * torch.rand(5, 3, 2, 9, 11), torch.float32)
    assert y.dtype == torch.float32 and torch.equal(y, z) and 0.1 < y.mean() < 0.9
    torch.testing.assert_close(grads, others, rtol=1e-4, atol=5e-4)  # sums of thousands of terms


def kept(net, x):
    """Bytes that are kept for backward, each memory once."""
    seen = {}

    def see(tensor):
        seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(see, lambda tensor: tensor):
        y = net(x)
    assert y.requires_grad
    return sum(seen.values())


def test_only_the_convolution_is_kept():
    x = torch.rand(6, 2, 1, 18, 18)
    net = rv.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), lif(), nn.MaxPool2d(2))
    full = 6 * 2 * 8 * 16 * 16 * 4
    net(x)  # compiled
    assert kept(net, x) < 1.5 * full
    with rv.backend("reference"):
        assert kept(net, x) > 3 * full


def test_threads_agree():
    rule, size = lif().bound(()).scaled, Pictures(6, 16, 30, 31, 4, 2)
    torch.manual_seed(0)
    x, initial = torch.randn(6, 16 * size.numbers), torch.zeros(1, size.numbers)
    params = [
        torch.tensor([0.5]),
        torch.tensor([1.0]),
        torch.tensor([2.0]),
        *(torch.rand(size.numbers) for _ in range(3)),
    ]
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 2):
            torch.set_num_threads(count)
            z = pooled.forward(rule, x, initial, params, size)
            wanted = (True, False, False, False, False, True, True)
            found.append((z, *pooled.backward(rule, x, initial, params, z, z + 0.5, wanted, size)))
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(found[0], found[1])
    assert all(torch.equal(a, b) for a, b in zip(found[1], found[2], strict=True))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])


def test_what_makes_a_stage():
    conv, norm, neuron, pool = NETS["norm and greatest"]()
    assert [type(s) for s in planned([conv, norm, neuron, pool])] == [ConvolutionStage]
    assert planned([nn.Flatten(), neuron]) and not any(isinstance(s, Stage) for s in planned([nn.Flatten(), neuron]))
    assert [type(s) for s in planned([conv, norm, nn.ReLU(), neuron, pool])] == [
        nn.Conv2d,
        nn.BatchNorm2d,
        nn.ReLU,
        ConvolutionStage,
    ]
    assert not any(isinstance(s, Stage) for s in planned([conv, rv.TimedLIF()]))  # more than one input


def test_what_it_cannot_do_in_one_pass_it_does_one_by_one():
    torch.manual_seed(0)
    x = 2 * torch.rand(4, 2, 2, 9, 11)
    for pool in (
        nn.MaxPool2d(3, stride=2),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.AvgPool2d((2, 3)),
        nn.MaxPool2d(2, padding=1),
    ):
        net = rv.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), lif(), pool).eval()
        with rv.backend("reference"):
            y = net(x)
        torch.testing.assert_close(net(x), y)


def test_long_sequences_run_one_by_one(monkeypatch):
    torch.manual_seed(0)
    net, x = rv.Sequential(*NETS["norm and greatest"]()).eval(), 2 * torch.rand(4, 2, 2, 9, 11)
    y = net(x)
    monkeypatch.setattr("ranvier.nn.stage_convolution.TRAIL", 4)
    monkeypatch.setattr("ranvier.nn.stage_convolution.one_pass", None)
    torch.testing.assert_close(net(x), y)


def test_hooks_and_verbs_see_every_layer():
    torch.manual_seed(0)
    net, x, seen = rv.Sequential(*NETS["norm and greatest"]()).eval(), 2 * torch.rand(4, 2, 2, 9, 11), []
    y = net(x)
    assert torch.equal(rv.scan(net, x)[0], y)
    assert rv.record(net, x, "z")["2"].shape == (4, 2, 4, 7, 9)
    handle = net[2].register_forward_hook(lambda module, given, z: seen.append(z.shape))
    assert torch.equal(net(x), y) and seen == [(4, 2, 4, 7, 9)]
    handle.remove()
    with pytest.raises(RuntimeError, match="first derivatives only"):
        given = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(net(given).sum(), given, create_graph=True)
        first.sum().backward()


def test_parameters_that_do_not_fit_are_refused():
    net = rv.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), lif(shape=(5, 1, 1)))
    with pytest.raises(ValueError, match="build the layer with shape"):
        net(torch.rand(4, 2, 2, 9, 11))


def test_compiled_equals_eager():
    torch.manual_seed(0)
    net, x = rv.Sequential(*NETS["norm and greatest"]()).eval(), 2 * torch.rand(4, 2, 2, 9, 11)
    torch._dynamo.reset()
    assert torch.equal(torch.compile(net, fullgraph=True, backend="aot_eager")(x), net(x))


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), None], ids=["pool", "no pool"])
def test_channels_last_in_channels_last_out(pool):
    """As torch's convolution has it; the numbers are the same."""
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), rv.LIF(), *([pool] if pool else [])]
    net = rv.Sequential(*layers).eval()
    x = torch.rand(4, 2, 3, 6, 6)
    last = x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    y, z = net(x), net(last)
    assert torch.equal(y, z) and y.is_contiguous()
    assert z.permute(0, 1, 3, 4, 2).is_contiguous()


def test_a_single_picture_has_its_gradient():
    """torch's batch norm misreads such a picture on the way back if its stride over pictures is not whole."""
    torch.manual_seed(1)
    net = rv.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), lif(), nn.AvgPool2d(2, ceil_mode=True)).double()
    x = torch.rand(1, 1, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    found = torch.autograd.grad(net(x).square().sum(), (x, *net.parameters()))
    y = x
    with rv.backend("reference"):
        for layer in net:
            y = layer(y) if isinstance(layer, rv.Temporal) else rv.Fold(layer)(y)
    wanted = torch.autograd.grad(y.square().sum(), (x, *net.parameters()))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
