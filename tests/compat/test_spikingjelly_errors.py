"""Where SpikingJelly refuses or stumbles, by the cases of the golden files, and what is done here."""

import json
from pathlib import Path

import pytest
import torch

from ranvier.compat.spikingjelly import clock_driven, encoding, functional, layer, neuron, surrogate

GOLDEN = Path(__file__).parents[1] / "golden"


def cases(name):
    return json.loads((GOLDEN / f"sj_{name}.json").read_text())["cases"]


# What the original raises by `assert`, or by chance, is a ValueError here; `None` where it works here.
ERRORS = {
    "Conv2d m with 4-D": (ValueError, lambda: layer.Conv2d(2, 3, 3, step_mode="m")(torch.rand(2, 2, 3, 3))),
    "BatchNorm1d m with 3-D [T,N,C]": (None, lambda: layer.BatchNorm1d(2, step_mode="m")(torch.rand(2, 2, 2))),
    "BatchNorm1d m with 2-D": (ValueError, lambda: layer.BatchNorm1d(3, step_mode="m")(torch.rand(2, 3))),
    "Dropout p=1": (ValueError, lambda: layer.Dropout(1.0)),
    "tdBN step_mode s": (
        ValueError,
        lambda: functional.set_step_mode(layer.ThresholdDependentBatchNorm1d(1.0, 1.0, 3), "s"),
    ),
    "TWA dimension=3": (ValueError, lambda: layer.TemporalWiseAttention(16, dimension=3)),
    "Voting s 1-D input": (None, lambda: layer.VotingLayer(2)(torch.rand(4))),
    "Voting m 4-D input": (None, lambda: layer.VotingLayer(2, "m")(torch.rand(2, 2, 2, 4))),
    "DropConnectLinear train p=0 == activation(linear)": (None, lambda: layer.DropConnectLinear(3, 2, p=0.0)),
    "DropConnectLinear state_mode kw": (None, lambda: layer.DropConnectLinear(3, 2, state_mode="m")),
    "LIFNode tau int": (None, lambda: neuron.LIFNode(tau=2)),
    "MaxUnpool2d indices shape mismatch": (
        ValueError,
        lambda: layer.MaxUnpool2d(2, step_mode="m")(torch.rand(2, 1, 1, 2, 2), torch.zeros(2, 1, 1, 2, 1).long()),
    ),
    "QKAttention bad type": (ValueError, lambda: layer.QKAttention(8, 2, "x")),
    "SSA dim % heads": (ValueError, lambda: layer.SpikingSelfAttention(9, 2)),
    "SSA 5-D": (ValueError, lambda: layer.SpikingSelfAttention(8, 2)(torch.rand(1, 1, 8, 2, 2))),
    "LatencyEncoder enc_function bad": (NotImplementedError, lambda: encoding.LatencyEncoder(4, "cubic")),
    "WeightedPhase out of range": (ValueError, lambda: encoding.WeightedPhaseEncoder(2)(torch.ones(1))),
    "SpikeCountToBinary slots 0": (ValueError, lambda: layer.SpikeCountToBinary(0)),
    "PSN T mismatch": (ValueError, lambda: neuron.PSN(4)(torch.rand(3, 2, 1))),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    error, action = ERRORS[name]
    if error is None:
        action()
    else:
        with pytest.raises(error):
            action()


def test_every_error_of_the_sample_is_tried():
    assert {c["case"] for c in cases("errors")} == set(ERRORS)


# The generation before: what it did, and why another thing is done here. One line each.
LEGACY = {
    "tdBN1d forward": lambda: layer.ThresholdDependentBatchNorm1d(1.0, 1.0, 3)(torch.rand(2, 2, 3)),  # it runs here
    "BatchNorm1d m [T,N,C]": lambda: layer.BatchNorm1d(3, step_mode="m")(torch.rand(2, 2, 3)),  # this rank is taken
    "DropConnectLinear state_mode=m stays single-step?": lambda: (
        layer.DropConnectLinear(3, 2, state_mode="m").step_mode == "m" or 1 / 0  # the name is heard
    ),
    "NeuNorm multi-step": lambda: layer.NeuNorm(2, 3, 3, step_mode="m")(torch.rand(4, 2, 2, 3, 3)),
    "StepModeContainer(True, IFNode)": lambda: layer.StepModeContainer(True, neuron.IFNode())(torch.rand(3)),
    "first_spike_index": lambda: (
        functional.first_spike_index(torch.tensor([[0.0, 1.0, 0.0, 1.0]])).tolist() == [[False, True, False, False]]
        or 1 / 0
    ),
    "LIAFNode ctor": lambda: neuron.LIAFNode(torch.relu, False)(torch.rand(3)),  # it can be built
}


@pytest.mark.parametrize("name", LEGACY)
def test_legacy_behaviour(name):
    assert name in {c["case"] for c in cases("legacy_0_0_0_0_14_behaviour")}
    LEGACY[name]()


def test_a_batch_of_another_size_is_refused_without_reset():
    for module in (
        neuron.IFNode(), layer.SynapseFilter(), layer.Delay(1), layer.Dropout(0.5),
        layer.ElementWiseRecurrentContainer(neuron.IFNode(), torch.add),
        layer.LinearRecurrentContainer(neuron.IFNode(), 3, 3),
    ):  # fmt: skip
        module(torch.rand(2, 3))
        with pytest.raises(ValueError, match="reset"):
            module(torch.rand(4, 3))
        functional.reset_net(module)
        module(torch.rand(4, 3))


@pytest.mark.parametrize(
    ("action", "says"),
    [
        (
            lambda: layer.Conv2d(1, 1, 3, step_mode="m")(torch.rand(2, 1, 4, 4)),
            r"\[T, N, C, H, W\], but got \(2, 1, 4, 4\)",
        ),
        (lambda: layer.NeuNorm(2, 3, 3, step_mode="m")(torch.rand(2, 2, 3, 3)), r"got"),
        (lambda: layer.VotingLayer(3)(torch.rand(2, 10)), r"multiple of votes=3.*\(2, 10\)"),
        (lambda: layer.Dropout(1.0), r"p must lie in \[0, 1\), got 1.0"),
        (lambda: layer.DropConnectLinear(3, 2, p=-0.5), r"p must lie in \[0, 1\), got -0.5"),
        (lambda: layer.Delay(-1), "not negative.*-1"),
        (lambda: neuron.LIFNode(tau=1.0), "tau.*1"),
        (lambda: setattr(neuron.LIFNode(), "step_mode", "mm"), "step_mode must be one of.*'mm'"),
    ],
)
def test_errors_say_what_was_wanted_and_what_came(action, says):
    with pytest.raises(ValueError, match=says):
        action()


def test_fused_convolution_and_norm_give_what_both_give():
    torch.manual_seed(0)
    conv, norm, x = torch.nn.Conv2d(2, 3, 3, bias=False), torch.nn.BatchNorm2d(3), torch.rand(4, 2, 5, 5)
    for _ in range(3):
        norm(conv(x))
    torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    norm.eval()
    fused = functional.fuse_convbn2d(conv, norm)
    torch.testing.assert_close(fused(x), norm(conv(x)))
    weight = functional.fused_conv2d_weight_of_convbn2d(conv, norm)
    bias = functional.fused_conv2d_bias_of_convbn2d(conv, norm)
    functional.scale_fused_conv2d_weight_of_convbn2d(conv, norm, 2.0, 0.5)
    functional.scale_fused_conv2d_bias_of_convbn2d(conv, norm, 3.0, -1.0)
    torch.testing.assert_close(functional.fused_conv2d_weight_of_convbn2d(conv, norm), 2.0 * weight + 0.5)
    torch.testing.assert_close(functional.fused_conv2d_bias_of_convbn2d(conv, norm), 3.0 * bias - 1.0)
    with pytest.raises(ValueError, match="bias=False"):
        functional.fuse_convbn2d(torch.nn.Conv2d(2, 3, 3), norm)


def test_nodes_of_early_releases_take_their_last_argument_by_place():
    node = clock_driven.neuron.LIFNode(2.0, True, 1.0, None, surrogate.ATan(), True, False)
    assert (node.step_mode, node.cupy_fp32_inference, node.detach_reset) == ("s", False, True)
    assert isinstance(node, neuron.LIFNode)


def test_derivatives_take_their_numbers_by_name():
    x, g = torch.linspace(-1.0, 1.0, 5), torch.ones(5)
    assert torch.equal(surrogate.atan_backward(g, x, alpha=3.0), surrogate.atan_backward(g, x, 3.0))


def test_backend_before_store_v_seq_by_place():
    class Own(neuron.BaseNode):
        def __init__(self, step_mode="m", backend="torch", store_v_seq=True):
            super().__init__(1.0, 0.0, surrogate.ATan(), False, step_mode, backend, store_v_seq)

        def neuronal_charge(self, x):
            self.v = self.v + x

    node = Own()
    node(torch.rand(3, 2))
    assert (node.backend, node.store_v_seq, node.v_seq.shape) == ("torch", True, (3, 2))
    assert neuron.LIFNode(2.0, True, 1.0, 0.0, surrogate.ATan(), False, "m", "cupy").backend == "cupy"
