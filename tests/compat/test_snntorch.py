"""What snnTorch 1.0.0 gave (tests/golden/snntorch.json), and what is given here under its names."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import ranvier
from ranvier.compat import snntorch as snn
from ranvier.compat.snntorch import functional, spikegen, surrogate, utils

CASES = json.loads((Path(__file__).parents[1] / "golden" / "snntorch.json").read_text())


@pytest.fixture(autouse=True)
def _reference():
    with ranvier.backend("reference"):
        yield


def close(a, b):
    torch.testing.assert_close(a, torch.tensor(b).reshape(a.shape), rtol=2e-5, atol=5e-6)


def built(case):
    layer = getattr(snn, case["name"])(**case["kw"], spike_grad=getattr(surrogate, case["spike"])())
    layer.load_state_dict({k: torch.tensor(v) for k, v in case["state"].items()})  # a checkpoint of the original
    return layer


def of(case):
    shape = case["shape"]
    return torch.tensor(case["x"]).reshape(shape).requires_grad_(), torch.tensor(case["w"]).reshape(shape)


def named(case):
    return case["name"] + "-" + "-".join(f"{v}" for v in case["kw"].values()) + "-" + case["spike"]


@pytest.mark.parametrize("way", ["steps", "sequence"])
@pytest.mark.parametrize("case", CASES, ids=named)
def test_neurons(case, way):
    layer, (x, w) = built(case), of(case)
    if way == "sequence" and case["kw"].get("inhibition") and case["name"].startswith("R"):
        pytest.skip("inhibition of a recurrent neuron goes step by step")
    if way == "sequence":
        spk, *_, mem = layer.scan(x)
    else:
        states, steps = [], []
        for x_t in x.unbind(0):
            out = layer(x_t, *states)
            states = list(out) if case["name"].startswith("R") else list(out[1:])
            steps.append((out[0], out[-1]))
        spk, mem = (torch.stack(v) for v in zip(*steps, strict=True))
    assert torch.equal(spk, torch.tensor(case["spk"]).reshape(spk.shape))
    close(mem, case["mem"])
    ((spk * w).sum() + 0.1 * mem.sum()).backward()
    close(x.grad, case["grad"])
    found = {k: p.grad for k, p in layer.named_parameters() if p.grad is not None}
    for k, g in case["grads"].items():
        close(found[k], g)


def test_what_a_call_gives_back():
    x = torch.rand(2, 3)
    assert isinstance(snn.Leaky(beta=0.9, init_hidden=True)(x), torch.Tensor)
    assert len(snn.Leaky(beta=0.9, init_hidden=True, output=True)(x)) == 2
    assert len(snn.Synaptic(alpha=0.8, beta=0.9)(x)) == 3 and len(snn.RSynaptic(0.8, 0.9, linear_features=3)(x)) == 3
    with pytest.raises(TypeError, match="should not be passed"):
        snn.Leaky(beta=0.9, init_hidden=True)(x, torch.zeros(2, 3))
    net = nn.Sequential(nn.Linear(3, 4), snn.Leaky(beta=0.9, init_hidden=True))
    first = net(x)
    net(x)
    assert net[1].mem.shape == (2, 4)
    with pytest.raises(ValueError, match=r"utils\.reset"):
        net(torch.rand(5, 3))
    utils.reset(net)
    assert torch.equal(net(x), first)
    assert list(snn.Leaky(beta=0.9).state_dict()) == [
        "threshold",
        "graded_spikes_factor",
        "reset_mechanism_val",
        "beta",
    ]


def test_attributes_act():
    x = 3 * torch.rand(8, 2, 3)
    lif = snn.Leaky(beta=0.9)
    first = lif.scan(x)[1]
    lif.reset_mem()
    lif.reset_mechanism = "zero"
    assert lif.reset_mechanism_val == 1 and not torch.equal(lif.scan(x)[1], first)
    lif.reset_mem()
    lif.threshold.fill_(100.0)
    assert lif.scan(x)[0].sum() == 0
    lif.spike_grad = surrogate.atan()
    y = x.clone().requires_grad_()
    lif.reset_mem()
    lif.scan(y)[0].sum().backward()
    assert y.grad.abs().sum() > 0
    off = snn.Leaky(beta=0.9, surrogate_disable=True)
    y.grad = None
    off.scan(y)[0].sum().backward()
    assert y.grad.abs().sum() == 0


def test_the_membrane_in_parallel():
    torch.manual_seed(0)
    layer, x = snn.LeakyParallel(3, 4, beta=0.8, learn_beta=True), 5 * torch.randn(5, 2, 3)
    first = ["beta", "threshold", "graded_spikes_factor", "rnn.weight_ih_l0"]  # snnTorch 1.0.0; no beta, no key
    assert list(layer.state_dict())[:4] == first
    assert list(snn.LeakyParallel(3, 4).state_dict())[:3] == first[1:]
    h, spikes = layer.rnn(x)[0], layer(x)  # torch's own: the wires between neurons are 0
    assert torch.equal(spikes, (h > 1.0).float()) and spikes.sum() > 0
    spikes.sum().backward()
    learned = layer.rnn.weight_hh_l0.grad
    assert torch.equal(learned, learned.diagonal().diag()) and learned.abs().sum() > 0
    whole = snn.LeakyParallel(3, 4, beta=0.1, weight_hh_enable=True)
    assert torch.equal(whole(x), (whole.rnn(x)[0] > 1.0).float())


T, B, N = 6, 4, 6


def test_losses_and_accuracies():
    torch.manual_seed(1)
    spk, mem, y = (torch.rand(T, B, N) > 0.6).float(), torch.randn(T, B, N), torch.tensor([0, 2, 1, 0])
    wanted = {
        "ce_rate_loss": ({}, spk, y, [1.893101]),
        "ce_count_loss": ({}, spk, y, 2.284152),
        "ce_count_loss of groups": ({"population_code": True, "num_classes": 2}, spk, y % 2, 1.849540),
        "ce_max_membrane_loss": ({}, mem, y, 2.196771),
        "mse_count_loss": ({"correct_rate": 0.8, "incorrect_rate": 0.2}, spk, y, 0.694444),
        "mse_count_loss of groups": (
            {"correct_rate": 0.8, "incorrect_rate": 0.2, "population_code": True, "num_classes": 2},
            spk, y % 2, 6.291667,
        ),
        "mse_membrane_loss": ({"on_target": 1.05, "off_target": 0.2}, mem, y, [1.305806]),
    }  # fmt: skip
    for name, (kwargs, values, targets, loss) in wanted.items():
        found = getattr(functional, name.split()[0])(**kwargs)(values, targets)
        assert found.shape == torch.tensor(loss).shape, name
        torch.testing.assert_close(found, torch.tensor(loss), rtol=0, atol=2e-4)
    assert functional.accuracy_rate(spk, y) == 0.25 and functional.accuracy_temporal(spk, y) == 0.5
    assert functional.accuracy_rate(spk, y % 2, population_code=True, num_classes=2) == 0.5
    assert functional.l1_rate_sparsity(1e-2)(spk).item() == pytest.approx(0.66)


def test_encoders():
    x = torch.tensor([0.0, 0.25, 0.5, 1.0])
    assert torch.allclose(spikegen.rate(x, 4000, gain=0.5, offset=0.2).mean(0), 0.5 * x + 0.2, atol=0.03)
    torch.manual_seed(3)
    drawn = spikegen.rate(x, 5)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.bernoulli(x.repeat(5, 1)))
    assert spikegen.rate(x, 10, first_spike_time=3)[:3].sum() == 0
    at = {
        (("normalize", True),): [4, 0, 0, 0],
        (("linear", True),): [1, 1, 0, 0],
        (("linear", True), ("normalize", True)): [4, 3, 2, 0],
        (("normalize", True), ("tau", 5), ("threshold", 0.1)): [4, 0, 0, 0],
    }
    for kwargs, steps in at.items():
        assert spikegen.latency(x, num_steps=5, **dict(kwargs)).argmax(0).tolist() == steps
    late = spikegen.latency(x, num_steps=6, first_spike_time=2, normalize=True, linear=True)
    assert late.argmax(0).tolist() == [5, 4, 4, 2]
    clipped = spikegen.latency(x, num_steps=5, normalize=True, linear=True, clip=True)
    assert clipped.sum(0).tolist() == [0, 1, 1, 1]
    with pytest.raises(ValueError, match="falls on step 12"):
        spikegen.latency(x, num_steps=5)
    d = torch.tensor([1.0, 1.2, 1.5, 1.4, 1.0, 2.0])
    assert spikegen.delta(d, off_spike=True).tolist() == [1, 1, 1, -1, -1, 1]
    assert spikegen.delta(d, padding=True).tolist() == [0, 1, 1, 0, 0, 1]
    assert spikegen.target_rate_code(6, 1, 0.3)[1].tolist() == [1, 4]


REFUSED = {
    "Alpha by subtraction": lambda: snn.Alpha(0.9, 0.8, reset_mechanism="subtract"),
    "quantised states": lambda: snn.Leaky(0.9, state_quant=torch.round),
    "a surrogate of three arguments": lambda: surrogate.custom_surrogate(lambda x, g, z: g),
    "an unknown reset": lambda: snn.Leaky(0.9, reset_mechanism="soft"),
    "latency between steps": lambda: spikegen.latency(torch.rand(3), 5, interpolate=True),
    "latency without steps": lambda: spikegen.latency(torch.rand(3)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refusals(what):
    with pytest.raises(ValueError):
        REFUSED[what]()
