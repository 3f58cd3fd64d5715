"""SpikingJelly's learners: what the original gave, both step modes, convolutions, rewards, online training."""

import gc
import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from ranvier.compat.spikingjelly import functional, layer, learning, neuron

CASES = json.loads((Path(__file__).parents[1] / "golden" / "sj_learning.json").read_text())["cases"]
FUNCTIONS = {"identity": lambda w: w, "clamp(-1,1)": lambda w: w.clamp(-1, 1)}


def made(case, mode):
    net = nn.Sequential(layer.Linear(4, 3, bias=False), neuron.IFNode())
    functional.set_step_mode(net, mode)
    net[0].weight.data = torch.tensor(case["weight"])
    taus = {k: v for k, v in case["params"].items() if k != "f"}
    given = {**taus, **dict.fromkeys(("f_pre", "f_post"), FUNCTIONS[case["params"].get("f", "identity")])}
    if "reward" in case:
        return net, learning.MSTDPLearner(mode, 2, *net, **given)
    return net, learning.STDPLearner(mode, *net, **given)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['learner']} {c['params']}")
def test_learners_step_by_step(case):
    net, learner = made(case, "s")
    rewards = [(torch.tensor(r),) for r in case["reward"]] if "reward" in case else [()] * len(case["x"])
    for x, spikes, reward, change in zip(case["x"], case["out_spikes"], rewards, case["delta_w"], strict=True):
        assert net(torch.tensor(x)).tolist() == spikes
        found = learner.step(*reward, on_grad=False)
        torch.testing.assert_close(found, torch.tensor(change), rtol=1e-5, atol=1e-6)
    for name in ("trace_pre", "trace_post"):
        if name in case:
            torch.testing.assert_close(getattr(learner, name), torch.tensor(case[name]))
    learner.reset()
    assert learner.trace_pre is None


@pytest.mark.parametrize("case", CASES[:2], ids=lambda c: str(c["params"]))
def test_a_sequence_gives_the_sum_of_its_steps_to_the_gradient(case):
    net, learner = made(case, "m")
    net(torch.tensor(case["x"]))
    assert learner.step(on_grad=True, scale=2.0) is None
    torch.testing.assert_close(net[0].weight.grad, -2.0 * torch.tensor(case["delta_w"]).sum(0), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="run the net"):
        learner.step()
    learner.disable()
    functional.reset_net(net)
    net(torch.tensor(case["x"]))
    with pytest.raises(ValueError, match="run the net"):
        learner.step()
    learner.enable()


def test_convolutions_learn_as_the_linear_map_they_are():
    torch.manual_seed(0)
    pre, post = (torch.rand(3, 2, 2, 5) < 0.5).float(), (torch.rand(3, 2, 4, 3) < 0.5).float()
    conv = nn.Conv1d(2, 4, 3, bias=False)
    *traces, change = learning.stdp_multi_step(conv, pre, post, None, None, 2.0, 3.0)
    state, total = (None, None), 0.0
    for x, z in zip(pre, post, strict=True):
        *state, part = learning.stdp_conv1d_single_step(conv, x, z, *state, 2.0, 3.0)
        total = total + part
    torch.testing.assert_close(total, change)
    torch.testing.assert_close(state, traces)
    up, down, x, y = torch.zeros(4, 2, 3), torch.zeros(4, 2, 3), torch.zeros(2, 2, 5), torch.zeros(2, 4, 3)
    for a, b in zip(pre, post, strict=True):  # by hand: every output place sees a window of three
        x, y = x / 2.0 + a, y * (2.0 / 3.0) + b
        up += sum(torch.einsum("bo,bik->oik", b[..., p], x[..., p : p + 3]) for p in range(3))
        down += sum(torch.einsum("bo,bik->oik", y[..., p], a[..., p : p + 3]) for p in range(3))
    torch.testing.assert_close(change, conv.weight.detach() * (up - down))


def test_eligibility_trace_of_one_sample():
    torch.manual_seed(1)
    net = nn.Sequential(layer.Linear(3, 2, bias=False), neuron.IFNode())
    nn.init.uniform_(net[0].weight, 0.5, 1.0)
    learner = learning.MSTDPETLearner("s", *net, tau_pre=2.0, tau_post=2.0, tau_trace=5.0)
    weight, e, eligible, x_trace, y_trace = net[0].weight.detach(), 0.0, 0.0, None, None
    for reward in (1.0, -2.0, 0.5, 1.0):
        x = (torch.rand(3) < 0.7).float()
        z = net(x)
        e = e * math.exp(-1 / 5.0) + eligible / 5.0
        found = learner.step(reward, on_grad=False)
        torch.testing.assert_close(found, torch.zeros_like(weight) + reward * e)
        x_trace, y_trace, eligible = learning.mstdpet_linear_single_step(
            net[0], x, z.detach(), x_trace, y_trace, 2.0, 2.0, 5.0
        )
    assert bool((found != 0).any())


def test_a_batch_of_another_size_is_refused():
    net = nn.Sequential(layer.Linear(3, 2), neuron.IFNode())
    learner = learning.MSTDPLearner("s", 4, *net, tau_pre=2.0, tau_post=2.0)
    net(torch.rand(2, 3))
    with pytest.raises(ValueError, match="batch_size=4"):
        learner.step(1.0)


def test_counts_become_spikes_and_counts_again():
    counts = torch.tensor([[2.0, 0.0], [1.0, 3.0]], requires_grad=True)
    spikes = layer.SpikeCountToBinary(3).eval()(counts)
    assert spikes.tolist() == [[1, 0], [1, 0], [0, 0], [1, 1], [0, 1], [0, 1]]
    (spikes * torch.arange(6.0).view(6, 1)).sum().backward()
    torch.testing.assert_close(counts.grad, torch.tensor([[1.0, 1.0], [4.0, 4.0]]))
    assert torch.equal(layer.TemporalBinSum(3).eval()(spikes), counts)
    assert layer.SpikeCountToBinary(3)(counts) is counts  # training: as it is
    assert layer.TemporalBinSum(4, always_convert=True)(spikes).tolist() == [[3, 1], [0, 2]]


def test_online_training_learns_from_traces():
    torch.manual_seed(0)
    net = layer.OTTTSequential(
        nn.Linear(4, 8), neuron.OTTTLIFNode(), nn.Unflatten(1, (2, 4)), nn.Flatten(), nn.Linear(8, 2)
    )
    x = torch.rand(3, 2, 4)
    for x_t in x:
        net.zero_grad()
        y = net(x_t)
        y.sum().backward()
        # the readout learns from the trace of its input, whatever it saw at this step
        torch.testing.assert_close(net[4].weight.grad, net[1].trace.sum(0).expand(2, 8))
    assert bool((net[0].weight.grad != 0).any())
    spikes = net[1].eval()
    functional.reset_net(net)
    assert torch.is_tensor(spikes(torch.rand(2, 8)))
    with pytest.raises(ValueError, match="step_mode"):
        functional.set_step_mode(neuron.SLTTLIFNode(), "m")


def test_no_gradient_flows_from_step_to_step():
    node, x = neuron.SLTTLIFNode(), torch.rand(3, 2, 4, requires_grad=True)
    y = functional.multi_step_forward(x, node)
    y[-1].sum().backward()
    assert not x.grad[:2].any() and x.grad[2].any()


@pytest.mark.parametrize("kind", ["MSTDPLearner", "MSTDPETLearner"])
def test_the_graph_of_the_reward_is_released(kind):
    synapse, sn = layer.Linear(4, 3, bias=False), neuron.IFNode()
    own = {"batch_size": 2} if kind == "MSTDPLearner" else {"tau_trace": 5.0}
    learner = getattr(learning, kind)("s", synapse=synapse, sn=sn, tau_pre=2.0, tau_post=2.0, **own)
    value = torch.ones(2, requires_grad=True)

    def alive():
        gc.collect()
        return sum(type(o) in (torch.Tensor, torch.nn.Parameter) for o in gc.get_objects())

    counts = []
    for _ in range(20):
        sn(synapse(torch.rand(2, 4)))
        learner.step(value * 2.0)
        functional.detach_net(sn)
        counts.append(alive())
    assert counts[-1] == counts[5] and not synapse.weight.grad.requires_grad
