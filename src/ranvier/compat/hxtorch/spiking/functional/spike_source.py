"""The names of `hxtorch.spiking.functional.spike_source`."""

from ranvier.compat.hxtorch.spiking.functional.linear import input_neuron

__all__ = [
    "input_neuron",
]
