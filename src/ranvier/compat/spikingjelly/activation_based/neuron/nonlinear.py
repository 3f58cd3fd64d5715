"""Neurons with a voltage-dependent current, and a resonating neuron. Each is described by class attributes."""

import ranvier
from ranvier.compat.spikingjelly.activation_based.neuron.base_node import SPIKES, STEPS, rest
from ranvier.compat.spikingjelly.activation_based.neuron.node import FIRES, RESETS, Means, Node

POINT: Means = {
    "tau": lambda n: n.tau,
    "v_rest": lambda n: n.v_rest,
    "v_reset": rest,
    **FIRES,
    **RESETS,
}


class QIFNode(Node):
    neuron, parts = ranvier.QIF, True
    takes = {"tau": 2.0, "v_c": 0.8, "a0": 1.0, "v_threshold": 1.0, "v_rest": 0.0, **SPIKES, "v_reset": -0.1, **STEPS}
    means = {"v_critical": lambda n: n.v_c, "a": lambda n: n.a0, **POINT}


class EIFNode(Node):
    neuron, parts = ranvier.EIF, True
    takes = {
        "tau": 2.0, "delta_T": 1.0, "theta_rh": 0.8, "v_threshold": 1.0, "v_rest": 0.0, **SPIKES, "v_reset": -0.1,
        **STEPS,
    }  # fmt: skip
    means = {"delta": lambda n: n.delta_T, "theta": lambda n: n.theta_rh, **POINT}


class IzhikevichNode(Node):
    neuron = ranvier.Izhikevich
    takes = {
        "tau": 2.0, "v_c": 0.8, "a0": 1.0, "v_threshold": 1.0, "v_reset": 0.0, "v_rest": -0.1, "w_rest": 0.0,
        "tau_w": 2.0, "a": 0.0, "b": 0.0, **SPIKES, **STEPS,
    }  # fmt: skip
    means = {
        "v_critical": lambda n: n.v_c, "a0": lambda n: n.a0, "tau_w": lambda n: n.tau_w, "a": lambda n: n.a,
        "b": lambda n: n.b, **POINT,
    }  # fmt: skip
    kept = {"v": ("v", rest), "w": ("w", lambda n: n.w_rest)}


class RAFNode(Node):
    neuron = ranvier.ResonateAndFire
    takes = {"b": -0.2, "omega": 1.0, "dt": 1.0, **SPIKES, **STEPS}
    means = {"b": lambda n: n.b, "omega": lambda n: n.omega, "dt": lambda n: n.dt, "v_reset": rest, **FIRES, **RESETS}
    kept = {"v": ("v", rest), "u": ("u", 0.0)}
