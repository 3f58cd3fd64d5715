"""The names of `hxtorch.spiking.modules`."""

from ranvier.compat.hxtorch.spiking.experiment import HXModule, HXModuleWrapper
from ranvier.compat.hxtorch.spiking.neurons import AELIF, LI, LIF, EventPropLIF, NeuronExp, ReadoutNeuronExp
from ranvier.compat.hxtorch.spiking.synapses import BatchDropout, EventPropSynapse, InputNeuron, SparseSynapse, Synapse

__all__ = [
    "AELIF",
    "LI",
    "LIF",
    "BatchDropout",
    "EventPropLIF",
    "EventPropSynapse",
    "HXModule",
    "HXModuleWrapper",
    "InputNeuron",
    "NeuronExp",
    "ReadoutNeuronExp",
    "SparseSynapse",
    "Synapse",
]
