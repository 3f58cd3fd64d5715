"""SpikingJelly's neurons: Ranvier's neurons with its defaults, its step modes and its memories."""

from ranvier.compat.spikingjelly.activation_based.neuron.base_node import AdaptBaseNode, AdaptiveBaseNode, BaseNode
from ranvier.compat.spikingjelly.activation_based.neuron.leaky import (
    ComplementaryLIFNode,
    CUBALIFNode,
    HalfThresholdIFNode,
    IFNode,
    KLIFNode,
    LIAFNode,
    LIFNode,
    ParametricLIFNode,
)
from ranvier.compat.spikingjelly.activation_based.neuron.multilevel import ILIFNode, TernaryIFNode, TernaryLIFNode
from ranvier.compat.spikingjelly.activation_based.neuron.nonlinear import EIFNode, IzhikevichNode, QIFNode, RAFNode
from ranvier.compat.spikingjelly.activation_based.neuron.online import OTTTLIFNode, SLTTLIFNode
from ranvier.compat.spikingjelly.activation_based.neuron.parallel import PSN, GatedLIFNode, MaskedPSN, SlidingPSN
from ranvier.compat.spikingjelly.activation_based.neuron.silent import (
    NonSpikingBaseNode,
    NonSpikingIFNode,
    NonSpikingLIFNode,
)

__all__ = [
    "PSN",
    "AdaptBaseNode",
    "AdaptiveBaseNode",
    "BaseNode",
    "CUBALIFNode",
    "ComplementaryLIFNode",
    "EIFNode",
    "GatedLIFNode",
    "HalfThresholdIFNode",
    "IFNode",
    "ILIFNode",
    "IzhikevichNode",
    "KLIFNode",
    "LIAFNode",
    "LIFNode",
    "MaskedPSN",
    "NonSpikingBaseNode",
    "NonSpikingIFNode",
    "NonSpikingLIFNode",
    "OTTTLIFNode",
    "ParametricLIFNode",
    "QIFNode",
    "RAFNode",
    "SLTTLIFNode",
    "SlidingPSN",
    "TernaryIFNode",
    "TernaryLIFNode",
]  # fmt: skip
