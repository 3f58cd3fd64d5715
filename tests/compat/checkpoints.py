"""Checkpoints between SpikingJelly and its names here: `python checkpoints.py LIBRARY WRITE [READ]`.

It builds every layer of LIBRARY ("spikingjelly", or the package here), loads what READ holds for it strictly, runs it
on the input there, and writes its checkpoint, input and output. It runs in
either environment.
"""

import importlib
import sys
import types
import warnings

import torch


def cases(library):
    warnings.simplefilter("ignore")
    module = types.ModuleType("tensorboard")
    module.SummaryWriter = object  # one of the library's modules imports it
    sys.modules.setdefault("torch.utils.tensorboard", module)
    names = ("neuron", "layer", "rnn", "encoding")
    neuron, layer, rnn, encoding = (importlib.import_module(f"{library}.activation_based.{n}") for n in names)
    return {
        "IFNode": (lambda: neuron.IFNode(step_mode="m"), (4, 2, 3)),
        "LIFNode": (lambda: neuron.LIFNode(step_mode="m"), (4, 2, 3)),
        "ParametricLIFNode": (lambda: neuron.ParametricLIFNode(3.0, step_mode="m"), (4, 2, 3)),
        "KLIFNode": (lambda: neuron.KLIFNode(step_mode="m"), (4, 2, 3)),
        "PSN": (lambda: neuron.PSN(4), (4, 2, 3)),
        "MaskedPSN": (lambda: neuron.MaskedPSN(2, 4, step_mode="m"), (4, 2, 3)),
        "SlidingPSN": (lambda: neuron.SlidingPSN(3, step_mode="m"), (4, 2, 3)),
        "GatedLIFNode": (lambda: neuron.GatedLIFNode(4), (4, 2, 3, 5, 5)),
        "GatedLIFNode per channel": (lambda: neuron.GatedLIFNode(4, 3), (4, 2, 3, 5, 5)),
        "OTTTLIFNode": (lambda: neuron.OTTTLIFNode().eval(), (2, 3)),
        "NonSpikingLIFNode": (lambda: neuron.NonSpikingLIFNode(decode="last_mem"), (4, 2, 3)),
        "NonSpikingIFNode": (lambda: neuron.NonSpikingIFNode(decode="max-mem"), (4, 2, 3)),
        "NeuNorm": (lambda: layer.NeuNorm(2, 3, 3, step_mode="m"), (4, 2, 2, 3, 3)),
        "SynapseFilter": (lambda: layer.SynapseFilter(5.0, True, step_mode="m"), (4, 2, 3)),
        "DropConnectLinear": (lambda: layer.DropConnectLinear(3, 4, p=0.0, activation=None), (2, 3)),
        "BatchNormThroughTime1d": (lambda: layer.BatchNormThroughTime1d(4, 3, step_mode="m"), (4, 2, 3)),
        "BatchNormThroughTime2d": (lambda: layer.BatchNormThroughTime2d(4, 3, step_mode="m"), (4, 2, 3, 4, 4)),
        "ThresholdDependentBatchNorm2d": (lambda: layer.ThresholdDependentBatchNorm2d(1.0, 0.5, 3), (4, 2, 3, 4, 4)),
        "TemporalEffectiveBatchNorm2d": (lambda: layer.TemporalEffectiveBatchNorm2d(4, 3), (4, 2, 3, 4, 4)),
        "TemporalWiseAttention": (lambda: layer.TemporalWiseAttention(4, 2), (4, 2, 3, 5, 5)),
        "MultiDimensionalAttention": (lambda: layer.MultiDimensionalAttention(4, 4, 2, 2), (4, 2, 4, 5, 5)),
        "SpikingSelfAttention": (lambda: layer.SpikingSelfAttention(8, 2), (4, 2, 8, 6)),
        "TokenQKAttention": (lambda: layer.TokenQKAttention(8, 2), (4, 2, 8, 6)),
        "ChannelQKAttention": (lambda: layer.ChannelQKAttention(8, 2), (4, 2, 8, 6)),
        "SpikeDrivenSelfAttention": (lambda: layer.SpikeDrivenSelfAttention(8, 2), (4, 2, 8, 3, 3)),
        "Conv2d": (lambda: layer.Conv2d(2, 3, 3, step_mode="m"), (4, 2, 2, 5, 5)),
        "BatchNorm2d": (lambda: layer.BatchNorm2d(3, step_mode="m"), (4, 2, 3, 4, 4)),
        "Linear": (lambda: layer.Linear(3, 4, step_mode="m"), (4, 2, 3)),
        "WSConv2d": (lambda: layer.WSConv2d(2, 3, 3, step_mode="m"), (4, 2, 2, 5, 5)),
        "WSLinear": (lambda: layer.WSLinear(3, 4), (4, 2, 3)),
        "LinearRecurrentContainer": (
            lambda: layer.LinearRecurrentContainer(neuron.LIFNode(), 3, 3, step_mode="m"),
            (4, 2, 3),
        ),
        "SpikingLSTM": (lambda: rnn.SpikingLSTM(3, 4, 2, bidirectional=True), (5, 2, 3)),
        "SpikingGRU": (lambda: rnn.SpikingGRU(3, 4, 2, bidirectional=True), (5, 2, 3)),
        "SpikingVanillaRNN": (lambda: rnn.SpikingVanillaRNN(3, 4, 2, bidirectional=True), (5, 2, 3)),
        "PopEncoder": (lambda: encoding.PopEncoder(2, 3, 4, (-1.0, 1.0), 0.5), (5, 2)),
    }


def run(library, given):
    """{name: checkpoint, parameters, input, output} of every case; `given` says what is loaded and shown."""
    found = {}
    for name, (make, shape) in cases(library).items():
        torch.manual_seed(1)
        module = make()
        if name in given:
            module.load_state_dict(given[name]["state"])
        x = given[name]["x"] if name in given else 2 * torch.rand(*shape)
        state = {k: v.clone() for k, v in module.state_dict().items()}
        y = module(x)
        y = y[0] if isinstance(y, tuple) else y
        found[name] = {
            "state": state, "parameters": [n for n, _ in module.named_parameters()], "x": x, "y": y.detach(),
        }  # fmt: skip
    return found


if __name__ == "__main__":
    torch.save(run(sys.argv[1], torch.load(sys.argv[3]) if len(sys.argv) > 3 else {}), sys.argv[2])
