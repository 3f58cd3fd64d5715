"""The names of `hxtorch.spiking` that work without the vendor's software."""

from ranvier.compat.hxtorch.spiking import datasets, functional, modules, morphology, observables, transforms, utils
from ranvier.compat.hxtorch.spiking.experiment import Experiment, HXModule, HXModuleWrapper, run
from ranvier.compat.hxtorch.spiking.handle import (
    AnalogObservable,
    Handle,
    HardwareObservables,
    LIFObservables,
    LIObservables,
    SynapseHandle,
    TensorHandle,
)
from ranvier.compat.hxtorch.spiking.neurons import AELIF, LI, LIF, EventPropLIF, NeuronExp, ReadoutNeuronExp
from ranvier.compat.hxtorch.spiking.parameter import (
    HXParameter,
    HXTransformedModelParameter,
    MixedHXModelParameter,
    ModelParameter,
)
from ranvier.compat.hxtorch.spiking.synapses import BatchDropout, EventPropSynapse, InputNeuron, SparseSynapse, Synapse

Neuron = LIF
ReadoutNeuron = LI
EventPropNeuron = EventPropLIF

__all__ = [
    "AELIF",
    "LI",
    "LIF",
    "AnalogObservable",
    "BatchDropout",
    "EventPropLIF",
    "EventPropNeuron",
    "EventPropSynapse",
    "Experiment",
    "HXModule",
    "HXModuleWrapper",
    "HXParameter",
    "HXTransformedModelParameter",
    "Handle",
    "HardwareObservables",
    "InputNeuron",
    "LIFObservables",
    "LIObservables",
    "MixedHXModelParameter",
    "ModelParameter",
    "Neuron",
    "NeuronExp",
    "ReadoutNeuron",
    "ReadoutNeuronExp",
    "SparseSynapse",
    "Synapse",
    "SynapseHandle",
    "TensorHandle",
    "datasets",
    "functional",
    "modules",
    "morphology",
    "observables",
    "run",
    "transforms",
    "utils",
]
