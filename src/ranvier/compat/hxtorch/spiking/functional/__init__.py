"""The names and signatures of `hxtorch.spiking.functional`; Ranvier's neurons do the computation."""

from ranvier.compat.hxtorch.spiking.functional.aelif import CuBaStepCode, cuba_aelif_integration
from ranvier.compat.hxtorch.spiking.functional.eventprop import (
    EventPropLIFFunction,
    EventPropNeuronFunction,
    EventPropSynapseFunction,
)
from ranvier.compat.hxtorch.spiking.functional.exponential import exp_cuba_li_integration, exp_cuba_lif_integration
from ranvier.compat.hxtorch.spiking.functional.legacy import (
    cuba_iaf_integration,
    cuba_li_integration,
    cuba_lif_integration,
    cuba_refractory_iaf_integration,
    cuba_refractory_lif_integration,
)
from ranvier.compat.hxtorch.spiking.functional.linear import (
    WeightRounding,
    batch_dropout,
    input_neuron,
    linear,
    linear_exponential_clamp,
    linear_sparse,
)
from ranvier.compat.hxtorch.spiking.functional.refractory import refractory_update
from ranvier.compat.hxtorch.spiking.functional.threshold import SuperSpike, Unterjubel, superspike_func, threshold

__all__ = [
    "CuBaStepCode",
    "EventPropLIFFunction",
    "EventPropNeuronFunction",
    "EventPropSynapseFunction",
    "SuperSpike",
    "Unterjubel",
    "WeightRounding",
    "batch_dropout",
    "cuba_aelif_integration",
    "cuba_iaf_integration",
    "cuba_li_integration",
    "cuba_lif_integration",
    "cuba_refractory_iaf_integration",
    "cuba_refractory_lif_integration",
    "exp_cuba_li_integration",
    "exp_cuba_lif_integration",
    "input_neuron",
    "linear",
    "linear_exponential_clamp",
    "linear_sparse",
    "refractory_update",
    "superspike_func",
    "threshold",
]
