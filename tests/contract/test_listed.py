"""Inputs that once went wrong, each with its right value."""

import copy
import pickle
import warnings

import pytest
import torch
from catalogue import one_by_one, tensors
from judge import close, equal, leaves, outcome, run
from torch import nn

import ranvier as rv


def few(*shape, density=0.3, seed=0):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < density).float()


@pytest.mark.parametrize("neuron", [rv.TernaryLIF, rv.IntegerLIF, rv.LI], ids=lambda c: c.__name__)
def test_graded_neurons_that_return_behind_spikes(neuron):
    """Their weight's gradient: what returns is no bit."""
    torch.manual_seed(0)
    some = neuron() if neuron is rv.LI else neuron(threshold=0.2)
    net = rv.Sequential(rv.Linear(20, 64), rv.LIF(), rv.Linear(64, 48), rv.Recurrent(some, 48))
    x = few(12, 5, 20, density=0.9)
    found, wanted = outcome(net, x), outcome(one_by_one(net), x, "reference")
    close(found[0], wanted[0])
    close(found[1], wanted[1])
    assert wanted[1][-1].abs().max() > 0


@pytest.mark.parametrize("width", [1, 2, 63, 65, 2000])
def test_a_recurrent_layer_of_another_width_is_refused(width):
    """By its name, before a kernel reads what is not there."""
    x = few(12, 5, 20, density=0.9)
    for make in (nn.Linear, rv.Linear):
        net = rv.Sequential(make(20, 64), rv.LIF(), make(64, 48), rv.Recurrent(rv.LIF(), width))
        for _ in range(2):
            with pytest.raises(ValueError, match="Recurrent"):
                net(x)
        with pytest.raises(ValueError, match="Recurrent"):
            rv.scan(net, x)
        with pytest.raises(ValueError, match="Recurrent"):
            rv.Stream(net)(x[0])


def test_deep_pictures_spike_alike_by_every_verb():
    torch.manual_seed(0)
    net = rv.Sequential(
        nn.Conv2d(2, 16, 3, padding=1), nn.BatchNorm2d(16), rv.LIF(), nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), rv.LIF(),
    )  # fmt: skip
    x = few(10, 8, 2, 24, 24, density=0.4)
    ways = [copy.deepcopy(net) for _ in range(3)]
    y, z = ways[0](x), rv.scan(ways[1], x)[0]
    equal([z.detach(), rv.record(ways[2], x, "z")["6"].detach()], [y.detach()] * 2)


def test_saved_memory_within_saved_memory():
    inner = rv.Sequential(nn.Linear(3, 4), rv.LIF())

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = rv.Sequential(nn.Linear(3, 4), rv.LIF(), nn.Linear(4, 2), rv.LI())

        def forward(self, x):
            rv.saved_memory(inner, x)
            return self.body(x)

    x = torch.rand(5, 2, 3)
    assert [row[0] for row in rv.saved_memory(Net(), x).rows] == ["body.0-1", "body.2-3"]


def test_losses_and_metrics_can_be_pickled():
    from ranvier.train import loss, metric, torchmetric

    traces, labels = torch.rand(5, 3, 4), torch.tensor([0, 1, 2])
    for make in (loss.integral_crossentropy, loss.mse_spikerate, loss.mean_crossentropy, metric.integral_accuracy):
        one = make()
        equal(tensors(pickle.loads(pickle.dumps(one))(traces, labels)), tensors(one(traces, labels)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        score = pickle.loads(pickle.dumps(torchmetric.IntegralAccuracy()))
    score.update(traces, labels)
    assert 0 <= score.compute() <= 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, "autocast"], ids=str)
def test_neurons_without_states_in_short_numbers(dtype):
    x = torch.rand(5, 2, 3) * 2
    for layer in (rv.Heaviside(), rv.Sequential(nn.Linear(3, 4), rv.Heaviside())):
        short = dtype != "autocast"
        one = copy.deepcopy(layer).to(dtype) if short else layer
        with torch.autocast("cpu", torch.bfloat16, enabled=not short):
            y = one(leaves(x.to(dtype) if short else x))
        y.float().sum().backward()
        assert y.shape[:2] == (5, 2) and bool(((y == 0) | (y == 1)).all())


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=["nan", "inf"])
@pytest.mark.parametrize("density", [0.0, 0.02, 0.5])
@pytest.mark.parametrize("kind", ["linear", "convolution", "linear stage", "handed on", "recurrent"])
def test_a_weight_that_is_no_number_shows_at_any_density(kind, density, value):
    """As torch's layers show it: no number times nothing is no number."""
    torch.manual_seed(0)
    x = few(8, 40, 256, density=density)
    nets = {
        "linear": lambda: rv.Linear(256, 40),
        "convolution": lambda: rv.Conv2d(16, 32, 3),
        "linear stage": lambda: rv.Sequential(rv.Linear(256, 40), rv.LI()),
        "handed on": lambda: rv.Sequential(nn.Linear(256, 300), rv.LIF(), rv.Linear(300, 40), rv.LI()),
        "recurrent": lambda: rv.Sequential(rv.Linear(256, 40), rv.Recurrent(rv.LI(), 40)),
    }
    net = nets[kind]()
    if kind == "convolution":
        x = few(40, 16, 12, 12, density=density)
    weight = net[2].weight if kind == "handed on" else net[0].weight if isinstance(net, rv.Sequential) else net.weight
    with torch.no_grad():
        weight.view(-1)[5] = value
    plain = _plain(copy.deepcopy(net))
    found, wanted = run(net, x).isfinite(), run(plain, x).isfinite()
    assert not bool(wanted.all())
    assert torch.equal(found, wanted)


def _plain(net):
    """The same with torch's own linear layers and convolutions."""
    if isinstance(net, rv.Linear):
        other = nn.Linear(net.in_features, net.out_features)
    elif isinstance(net, rv.Conv2d):
        other = nn.Conv2d(net.in_channels, net.out_channels, net.kernel_size)  # type: ignore[arg-type]
    else:
        return one_by_one(rv.Sequential(*(_plain(m) if isinstance(m, (rv.Linear, rv.Conv2d)) else m for m in net)))
    other.load_state_dict(net.state_dict())
    return other


def test_a_picture_spread_over_time_as_a_leaf():
    torch.manual_seed(0)
    nets = [
        rv.Sequential(nn.Linear(4, 6), rv.LIF(threshold=0.3)),
        rv.Sequential(nn.BatchNorm2d(2), rv.LIF(threshold=0.3)),
        rv.Sequential(nn.Conv2d(2, 3, 3), rv.LIF(threshold=0.3), nn.MaxPool2d(2)),
        rv.Sequential(nn.Flatten(), nn.Linear(72, 4), rv.LI()),
    ]
    shapes = [(2, 4), (2, 2, 4, 4), (2, 2, 6, 6), (2, 2, 6, 6)]
    for net, shape in zip(nets, shapes, strict=True):
        img, found = torch.rand(shape), []
        for copied in (False, True):
            x = img.expand(6, *shape)
            x = (x.clone() if copied else x).requires_grad_()
            copy.deepcopy(net)(x).cumsum(0).sum().backward()
            found.append(x.grad)
        close([found[0].contiguous()], [found[1]])
        assert found[0][1:].abs().sum() > 0
