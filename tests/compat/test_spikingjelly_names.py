"""Every name of the reference page, its arguments, and both step modes of what has memory, in chunks too."""

import inspect

import pytest
import torch

import ranvier
from ranvier.compat.spikingjelly import functional, layer, neuron

CONV = "in_channels out_channels kernel_size stride padding dilation groups bias padding_mode step_mode"
TRANSPOSE = (
    "in_channels out_channels kernel_size stride padding output_padding groups bias dilation padding_mode step_mode"
)
POOL = "kernel_size stride padding dilation return_indices ceil_mode step_mode"
NORM = "num_features eps momentum affine track_running_stats step_mode"
SIGNATURES = {
    **dict.fromkeys(("Conv1d", "Conv2d", "Conv3d"), CONV),
    **dict.fromkeys(("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"), TRANSPOSE),
    **dict.fromkeys(("MaxPool1d", "MaxPool2d", "MaxPool3d"), POOL),
    **dict.fromkeys(("MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"), "kernel_size stride padding step_mode"),
    "AvgPool1d": "kernel_size stride padding ceil_mode count_include_pad step_mode",
    **dict.fromkeys(
        ("AvgPool2d", "AvgPool3d"), "kernel_size stride padding ceil_mode count_include_pad divisor_override step_mode"
    ),
    **dict.fromkeys(("AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d"), "output_size step_mode"),
    **dict.fromkeys(("BatchNorm1d", "BatchNorm2d", "BatchNorm3d"), NORM),
    "GroupNorm": "num_groups num_channels eps affine step_mode",
    "Linear": "in_features out_features bias step_mode",
    "Flatten": "start_dim end_dim step_mode",
    "Upsample": "size scale_factor mode align_corners recompute_scale_factor step_mode",
    "WSConv2d": f"{CONV} gain eps",
    "WSLinear": "in_features out_features bias step_mode gain eps",
    **dict.fromkeys(
        ("MultiStepContainer", "SeqToANNContainer", "TLastMultiStepContainer", "TLastSeqToANNContainer"), "args"
    ),
    "StepModeContainer": "stateful args step_mode",
    "ElementWiseRecurrentContainer": "sub_module element_wise_function step_mode",
    "LinearRecurrentContainer": "sub_module in_features out_features bias step_mode",
    "NeuNorm": "in_channels height width k shared_across_channels step_mode",
    **dict.fromkeys((f"ThresholdDependentBatchNorm{d}d" for d in (1, 2, 3)), "alpha v_th args kwargs"),
    **dict.fromkeys((f"TemporalEffectiveBatchNorm{d}d" for d in (1, 2, 3)), "T args kwargs"),
    **dict.fromkeys((f"BatchNormThroughTime{d}d" for d in (1, 2, 3)), f"T {NORM}"),
    "Dropout": "p step_mode dropout_spikes",  # a name of older versions
    "Dropout2d": "p step_mode dropout_spikes",
    "DropConnectLinear": (
        "in_features out_features bias p samples_num invariant activation step_mode state_mode"  # the older name too
    ),
    "SynapseFilter": "tau learnable step_mode",
    "Delay": "delay_steps step_mode",
    "VotingLayer": "voting_size step_mode",
    "PrintShapeModule": "ext_str",
    "TemporalWiseAttention": "T reduction dimension",
    "MultiDimensionalAttention": "T C reduction_t reduction_c kernel_size use_temporal use_channel use_spatial",
    **dict.fromkeys(
        ("SpikingSelfAttention", "SpikeDrivenSelfAttention", "TokenQKAttention", "ChannelQKAttention"),
        "dim num_heads spiking_neuron kwargs",
    ),
    "SpikeCountToBinary": "num_slots always_convert",
    "TemporalBinSum": "num_slots always_convert",
    "ReplaceforGrad": "",
    "GradwithTrace": "module",
    "SpikeTraceOp": "module",
    "OTTTSequential": "args",
    "QKAttention": "dim num_heads qka_type spiking_neuron kwargs",
}


def test_names():
    assert set(layer.__all__) == set(SIGNATURES)


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name):
    assert " ".join(inspect.signature(getattr(layer, name)).parameters) == SIGNATURES[name]


REMEMBERING = {
    "SynapseFilter": (lambda: layer.SynapseFilter(3.0), (4,)),
    "Delay": (lambda: layer.Delay(2), (4,)),
    "NeuNorm": (lambda: layer.NeuNorm(2, 3, 3), (2, 2, 3, 3)),
    "Dropout": (lambda: layer.Dropout(0.5), (2, 4)),
    "BatchNormThroughTime1d": (lambda: layer.BatchNormThroughTime1d(6, 4).eval(), (2, 4)),
    "ElementWiseRecurrentContainer": (
        lambda: layer.ElementWiseRecurrentContainer(neuron.IFNode(), torch.sub), (2, 4)
    ),
    "LinearRecurrentContainer": (lambda: layer.LinearRecurrentContainer(neuron.LIFNode(), 4, 4), (2, 4)),
    "IFNode": (neuron.IFNode, (4,)),
    "LIFNode on single numbers": (neuron.LIFNode, ()),
    "ParametricLIFNode": (neuron.ParametricLIFNode, (2, 4)),
    "QIFNode": (neuron.QIFNode, (2, 4)),
    "IzhikevichNode": (lambda: neuron.IzhikevichNode(a=0.2, b=0.1), (2, 4)),
    "KLIFNode": (neuron.KLIFNode, (2, 4)),
    "CUBALIFNode": (neuron.CUBALIFNode, (2, 4)),
    "ILIFNode": (neuron.ILIFNode, (2, 4)),
    "HalfThresholdIFNode": (neuron.HalfThresholdIFNode, (2, 4)),
    "TernaryLIFNode": (neuron.TernaryLIFNode, (2, 4)),
    "SlidingPSN": (lambda: neuron.SlidingPSN(3), (2, 4)),
    "MaskedPSN": (lambda: neuron.MaskedPSN(2, 6, lambda_init=1.0), (2, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", REMEMBERING)
def test_single_steps_equal_a_sequence_in_chunks_too(name):
    make, shape = REMEMBERING[name]
    x = 2 * torch.rand(6, *shape)
    found = []
    with ranvier.backend("reference"):
        for run in (
            lambda module: functional.multi_step_forward(x, module),
            lambda module: functional.set_step_mode(module, "m") or module(x),
            lambda module: functional.set_step_mode(module, "m") or functional.chunk_multi_step_forward(4, x, module),
        ):
            torch.manual_seed(1)
            module = make()
            torch.manual_seed(2)
            found.append(run(module))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])


def test_step_mode_reaches_all_but_what_stands_in_containers():
    inner = neuron.IFNode()
    net = torch.nn.Sequential(layer.Conv2d(1, 2, 3), neuron.LIFNode(), layer.MultiStepContainer(inner))
    functional.set_step_mode(net, "m")
    assert (net[0].step_mode, net[1].step_mode, inner.step_mode) == ("m", "m", "s")
    with pytest.raises(ValueError, match="step_mode"):
        net[1].step_mode = "x"


def test_detach_cuts_the_graph():
    node = neuron.LIFNode()
    x = torch.rand(2, 3, requires_grad=True)
    node(x)
    assert node.v.requires_grad
    functional.detach_net(node)
    assert not node.v.requires_grad
