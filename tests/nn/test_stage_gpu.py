"""The stage of a deep net on a GPU's kernels, in Triton's interpreter, beside its layers one by one."""

import copy

import pytest
import torch
from torch import nn

import ranvier as rv

NETS = {
    "norm, max": lambda: [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), rv.LIF(learn="beta"), nn.MaxPool2d(2)],
    "norm, mean": lambda: [rv.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), rv.ALIF(), nn.AvgPool2d(2)],
    "norm": lambda: [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, affine=False), rv.LIF(beta=torch.rand(3, 1, 1))],
    "no convolution": lambda: [rv.ThresholdBatchNorm2d(2), rv.LIF(), nn.MaxPool2d(3, stride=1)],
    "pool": lambda: [rv.LIF(), nn.MaxPool2d(2)],
    "graded": lambda: [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, track_running_stats=False), rv.LI(), nn.MaxPool2d(2)],
    "mean of all batches": lambda: [nn.BatchNorm2d(2, momentum=None), rv.LIF()],
}


ROWS = {
    "linear": lambda: [
        nn.Linear(7, 20), rv.LIF(threshold=0.3), rv.Linear(20, 9, bias=False), rv.ALIF(), nn.Linear(9, 4), rv.LI(),
    ],
    "recurrent": lambda: [rv.Linear(7, 20), rv.Recurrent(rv.LIF(threshold=0.3), 20), nn.Linear(20, 4), rv.LI()],
    "graded": lambda: [rv.Linear(7, 20), rv.LI(), nn.Linear(20, 4), rv.LIF()],
}  # fmt: skip
DEEP = lambda: [  # noqa: E731
    nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), rv.LIF(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 2, stride=2, groups=1),
    nn.BatchNorm2d(4), rv.LIF(threshold=0.2), nn.Conv2d(4, 2, 1, bias=False), nn.BatchNorm2d(2), rv.LIF(), nn.Flatten(),
]  # fmt: skip


def outcome(net, x, backend):
    x = x.detach().requires_grad_()
    with rv.backend(backend):
        y = net(x)
    g = torch.rand(y.shape, generator=torch.Generator().manual_seed(2)) - 0.5
    return [y, *torch.autograd.grad(y, [x, *net.parameters()], g), *net.buffers()]


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("still", [False, True], ids=["moving", "still"])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", NETS)
def test_a_stage_is_its_layers_one_by_one(name, training, still):
    torch.manual_seed(0)
    net = rv.Sequential(*NETS[name]()).train(training)
    x = torch.randn(5, 3, 2, 7, 9) * 2
    x = x[:1].expand(x.shape) if still else x
    true, fast = (outcome(copy.deepcopy(net), x, backend) for backend in ("reference", "triton"))
    torch.testing.assert_close(fast, true, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 7, 33, 257, 512, 513, 1025])
@pytest.mark.parametrize("kind", ["norm", "pool", "linear"])
def test_stages_of_odd_sizes_are_their_layers_one_by_one(kind, size):
    torch.manual_seed(0)
    conv = lambda: nn.Conv2d(2, 2, 1, bias=False)  # noqa: E731
    layers = {
        "norm": lambda: [conv(), nn.BatchNorm2d(2), rv.LIF(beta=torch.rand(2, 1, 1), learn="beta")],
        "pool": lambda: [conv(), nn.BatchNorm2d(2), rv.ALIF(), nn.MaxPool2d((2, 1))],
        "linear": lambda: [
            nn.Linear(6, size), rv.LIF(beta=torch.rand(size), threshold=0.3), nn.Linear(size, 3), rv.LI(),
        ],
    }  # fmt: skip
    net = rv.Sequential(*layers[kind]())
    x = torch.randn(3, 2, 6) if kind == "linear" else torch.randn(3, 2, 2, 2, size)
    true, fast = (outcome(copy.deepcopy(net), x * 2, backend) for backend in ("reference", "triton"))
    torch.testing.assert_close(fast, true, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("name", [*ROWS, "deep"])
def test_of_spikes_from_the_stage_before_the_bits_are_kept(name):
    torch.manual_seed(0)
    net = rv.Sequential(*(DEEP() if name == "deep" else ROWS[name]()))
    x = torch.randn(5, 3, 2, 7, 9) * 2 if name == "deep" else torch.rand(5, 3, 7) * 2
    true = outcome(copy.deepcopy(net), x, "reference")
    torch.testing.assert_close(outcome(net, x, "triton"), true, rtol=1e-4, atol=1e-4)
    kept = []
    with (
        rv.backend("triton"),
        torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.dtype) or t, lambda t: t),
    ):
        net(x)
    assert kept.count(torch.int64) == {"linear": 2, "recurrent": 2, "graded": 0, "deep": 3}[name]


def test_all_verbs_give_the_same_bits():
    net, x = rv.Sequential(*NETS["norm, max"]()).eval(), torch.randn(6, 3, 2, 7, 9) * 2
    with rv.backend("triton"), torch.no_grad():
        y, state = rv.scan(net, x)
        first, half = rv.scan(net, x[:2])
        last, end = rv.scan(net, x[2:], half)
        assert torch.equal(net(x), y) and torch.equal(torch.cat([first, last]), y)
        v = rv.record(net, x, "v")["2"]
        assert torch.equal(v[-1], state["2"]["v"])
        torch.testing.assert_close(end, state)


def test_only_what_the_convolution_gave_is_kept():
    net, x = rv.Sequential(*NETS["norm, max"]()), torch.randn(8, 3, 2, 7, 9)
    kept = {}
    with (
        rv.backend("triton"),
        torch.autograd.graph.saved_tensors_hooks(lambda t: kept.setdefault(t.data_ptr(), t), lambda t: t),
    ):
        net(x)
    given = net[0](x.flatten(0, 1)).numel()
    del kept[x.data_ptr()]
    large = [t for t in kept.values() if t.numel() > given // 4 and t.dtype == torch.float32]
    assert len(large) == 1 and large[0].numel() == given


def test_one_value_per_channel_is_refused_as_torch_does():
    net = rv.Sequential(nn.BatchNorm2d(2), rv.LIF())
    with rv.backend("triton"), pytest.raises(ValueError, match="more than 1 value"):
        net(torch.rand(1, 1, 2, 1, 1))
