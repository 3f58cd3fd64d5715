"""Neurons with a leak proportional to the membrane, and one without leak. Each is described by class attributes."""

import math
from typing import Any

import torch
from torch import Tensor

import ranvier
from ranvier.compat.spikingjelly.activation_based import surrogate
from ranvier.compat.spikingjelly.activation_based.neuron.base_node import SPIKES, STEPS, rest
from ranvier.compat.spikingjelly.activation_based.neuron.node import FIRES, RESETS, Means, Node
from ranvier.nn.neurons.parametric import leak


def leaking(tau: Any) -> Any:
    """Return 1 / tau; a tau of 1 or less raises an error."""
    if not isinstance(tau, Tensor):
        return leak(tau)
    if not bool((tau > 1).all()):
        raise ValueError(f"tau must be above 1, got {tau!r}")
    return 1.0 / tau


MEMBRANE: Means = {**FIRES, **RESETS, "rest": rest}
LEAKS: Means = {"leak": lambda n: leaking(n.tau), "decay_input": lambda n: n.decay_input, **MEMBRANE}
LIF: dict[str, Any] = {"tau": 2.0, "decay_input": True, **SPIKES, **STEPS}


class IFNode(Node):
    neuron, parts = ranvier.RestLIF, True
    takes = {**SPIKES, **STEPS}
    means = {"leak": lambda n: 0.0, "decay_input": lambda n: False, **MEMBRANE}


class LIFNode(Node):
    neuron, parts = ranvier.RestLIF, True
    takes = LIF
    means = LEAKS


class ParametricLIFNode(Node):
    """`LIFNode` that learns its time constant, by the parameter w = logit(1 / tau)."""

    neuron, parts = ranvier.ParametricLIF, True
    takes = {"init_tau": 2.0, "decay_input": True, **SPIKES, **STEPS}
    means = {"decay_input": lambda n: n.decay_input, **MEMBRANE}
    learned = {"w": ("rate", lambda given: torch.tensor(-math.log(1.0 / leak(given["init_tau"]) - 1.0)))}


class KLIFNode(Node):
    """`LIFNode` with a learned gain k."""

    neuron = ranvier.KLIF
    takes = {"scale_reset": False, **LIF}
    means = {"scale_reset": lambda n: n.scale_reset, **LEAKS}
    learned = {"k": ("k", lambda given: torch.tensor(1.0))}


def _zero(node: Any) -> float:
    if node.v_reset not in (None, 0, 0.0):
        raise ValueError(f"{type(node).__name__}: v_reset must be None or 0.0, got {node.v_reset!r}")
    return 0.0


class CUBALIFNode(Node):
    neuron = ranvier.CubaLIF
    takes = {
        "c_decay": 0.5, "v_decay": 0.75, **SPIKES, "v_threshold": 0.5, "surrogate_function": surrogate.Rect(), **STEPS,
    }  # fmt: skip
    means = {"alpha": lambda n: n.c_decay, "beta": lambda n: n.v_decay, **FIRES, **RESETS}
    kept = {"v": ("v", _zero), "c": ("i", 0.0)}


class LIAFNode(Node):
    """A leaky neuron whose output is act(v), where v is the membrane after charge, minus the threshold if
    threshold_related. act: any function of a tensor.
    """

    neuron = ranvier.AnalogLIF
    takes = {"act": ..., "threshold_related": ..., **LIF}
    means = {**LEAKS, "act": lambda n: "identity", "from_threshold": lambda n: n.threshold_related}

    def fuse(self, x_seq: Tensor) -> Tensor:
        return self.act(super().fuse(x_seq))


class ComplementaryLIFNode(Node):
    neuron = ranvier.ComplementaryLIF
    takes = {
        "tau": 2.0, "v_threshold": 1.0, "surrogate_function": surrogate.Rect(), "step_mode": "s",
        "store_state_seqs": False, "backend": "torch",
    }  # fmt: skip
    means = {"leak": lambda n: leaking(n.tau), **FIRES}
    kept = {"v": ("v", 0.0), "m": ("m", 0.0)}
    v_reset = None  # the reset subtracts

    @property
    def store_v_seq(self) -> bool:
        return self.store_state_seqs


class HalfThresholdIFNode(IFNode):
    """`IFNode` with soft reset, whose initial membrane is half the threshold."""

    takes = {k: v for k, v in {**SPIKES, **STEPS}.items() if k != "v_reset"}
    kept = {"v": ("v", lambda n: n.v_threshold / 2)}
    v_reset = None
