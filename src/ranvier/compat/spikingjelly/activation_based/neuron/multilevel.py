"""Neurons with an output of more than two values. Each is described by class attributes."""

from typing import Any

import ranvier
from ranvier.compat.spikingjelly.activation_based import surrogate
from ranvier.compat.spikingjelly.activation_based.neuron.base_node import SPIKES, STEPS
from ranvier.compat.spikingjelly.activation_based.neuron.leaky import LEAKS, LIF, MEMBRANE, leaking
from ranvier.compat.spikingjelly.activation_based.neuron.node import Node


class TernaryIFNode(Node):
    neuron = ranvier.TernaryLIF
    takes = {**SPIKES, **STEPS}
    means = {"leak": lambda n: 0.0, "decay_input": lambda n: False, **MEMBRANE}


class TernaryLIFNode(Node):
    neuron = ranvier.TernaryLIF
    takes = LIF
    means = LEAKS


def _levels(node: Any) -> int:
    if not isinstance(node.surrogate_function, surrogate.MultiLevelSpikeCount):
        raise TypeError(f"ILIFNode: surrogate_function must be a MultiLevelSpikeCount, got {node.surrogate_function!r}")
    return int(node.surrogate_function.max_spike_count)  # type: ignore[arg-type]


class ILIFNode(Node):
    neuron = ranvier.IntegerLIF
    takes = {
        "tau": 4.0 / 3.0, "v_threshold": 1.0, "surrogate_function": surrogate.MultiLevelSpikeCount(4),
        "detach_reset": False, **STEPS,
    }  # fmt: skip
    means = {
        "leak": lambda n: leaking(n.tau), "threshold": lambda n: n.v_threshold, "levels": _levels,
        "detach_reset": lambda n: n.detach_reset,
    }  # fmt: skip
    kept = {"v": ("v", 0.0)}
    v_reset = None

    @property
    def hand(self) -> bool:
        return False
