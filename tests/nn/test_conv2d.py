"""rv.Conv2d is torch's convolution, whichever way it goes."""

import pytest
import torch
from torch import nn

import ranvier as rv
from ranvier.spikes import convolution


def pictures(share, *shape):
    return (torch.rand(*shape) < share).float()


@pytest.mark.parametrize("share", [0.0, 0.05, 0.35, 0.6, 1.0])
@pytest.mark.parametrize("given", [{"padding": 1}, {"padding": "same", "bias": False}, {"stride": 2}])
def test_the_layer_is_torchs(share, given):
    torch.manual_seed(0)
    ours, torchs = rv.Conv2d(40, 65, 3, **given), nn.Conv2d(40, 65, 3, **given)
    ours.load_state_dict(torchs.state_dict())
    x, results = pictures(share, 8, 40, 15, 17), []
    for layer in (ours, torchs.double()):
        one = x.to(layer.weight.dtype).requires_grad_()
        y = layer(one)
        results.append((y, *torch.autograd.grad(y.square().sum(), [one, *layer.parameters()])))
    for a, b in zip(*results, strict=True):
        assert (a - b).norm() <= 3e-5 * b.norm()  # in float32 torch's own sums differ by that from those in float64


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({"groups": 2}, 3),
        ({"dilation": 2}, 3),
        ({"padding": 1, "padding_mode": "circular"}, 3),
        ({"padding": "same"}, 2),
        ({"stride": 2}, 1),
    ],
)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_what_events_cannot_do_is_torchs(given, size):
    layer, x = rv.Conv2d(40, 64, size, **given), pictures(0.05, 8, 40, 16, 16)
    assert layer.explain(x).startswith("dense: events are for")
    assert torch.equal(layer(x), nn.Conv2d.forward(layer, x))


def test_other_inputs_are_torchs():
    layer = rv.Conv2d(40, 64, 3)
    assert layer(pictures(0.05, 0, 40, 16, 16)).shape == (0, 64, 14, 14)
    assert layer(pictures(0.05, 40, 50, 50)).shape == (64, 48, 48)
    x = pictures(0.05, 8, 40, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    with pytest.raises(RuntimeError, match="channels"):
        layer(pictures(0.05, 8, 41, 16, 16))
    with pytest.raises(RuntimeError, match="Kernel size"):
        layer(pictures(0.05, 800, 40, 2, 2))
    wide = layer.double()
    assert torch.equal(wide(x.double()), nn.Conv2d.forward(wide, x.double()))


def test_explain(monkeypatch):
    at = {"convolution": 0.3, "convolution weight": 0.4}
    monkeypatch.setattr(convolution.crossover, "crossover", lambda kind, columns, width: at[kind])
    layer = rv.Conv2d(40, 64, 3)
    told = {share: layer.explain(pictures(share, 8, 40, 16, 16)) for share in (0.05, 0.35, 0.45, 1.0)}
    assert told[0.05].startswith("numba: by events, ") and told[0.35].startswith(
        "numba: dense, weight gradient by events"
    )
    assert told[0.45].startswith("dense, 4") and all("ms by events" in told[share] for share in (0.05, 0.35, 0.45))
    assert told[1.0] == "dense: more than 50% of the inputs are not zero"
    assert "65,536 inputs" in layer.explain(pictures(0.05, 2, 40, 4, 4))
    net = rv.Sequential(rv.Conv2d(40, 64, 3), nn.BatchNorm2d(64), rv.LIF())
    assert "by events" in str(rv.explain(net, pictures(0.05, 2, 4, 40, 16, 16))).splitlines()[0]


def test_of_spikes_only_the_bits_are_kept():
    layer, x = rv.Conv2d(40, 64, 3), pictures(0.05, 8, 40, 16, 16)
    (row,) = rv.saved_memory(layer, x).rows
    assert row[3] == "int64 [2048, 1]"
    assert not rv.saved_memory(layer, 2 * x).rows  # not spikes: numbers, which are x itself


def test_in_a_stage():
    torch.manual_seed(0)
    ours, torchs = (
        rv.Sequential(kind(40, 64, 3, padding=1), nn.BatchNorm2d(64), rv.LIF(), nn.MaxPool2d(2), nn.Flatten())
        for kind in (rv.Conv2d, nn.Conv2d)
    )
    torchs.load_state_dict(ours.state_dict())
    x, results = 2 * pictures(0.05, 4, 4, 40, 12, 12), []
    for net in (ours, torchs):
        y = net(x)
        results.append((y, torch.autograd.grad((y * torch.arange(y.shape[-1])).sum(), net[0].weight)[0]))
    assert (results[0][0] != results[1][0]).float().mean() < 1e-4
    assert (results[0][1] - results[1][1]).norm() < 1e-3 * results[1][1].norm()
    still = x[:1].expand(4, -1, -1, -1, -1)
    assert rv.Sequential(ours[0])(still).stride(0) == 0


def test_compiled_it_is_torchs():
    layer, x = rv.Conv2d(40, 64, 3), pictures(0.05, 8, 40, 16, 16)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x), rtol=1e-5, atol=1e-5)


def test_as_a_function_of_its_parameters():
    layer, x = rv.Conv2d(40, 64, 3), pictures(0.05, 8, 40, 16, 16)
    weight = torch.randn_like(layer.weight).requires_grad_()
    y = torch.func.functional_call(layer, {"weight": weight}, x)
    torch.testing.assert_close(y, nn.functional.conv2d(x, weight, layer.bias), rtol=1e-5, atol=1e-4)
    assert torch.autograd.grad(y.sum(), [weight])[0].any()
