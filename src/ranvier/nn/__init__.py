"""Neurons and layers, as torch.nn has them: `rv.nn.LIF`, `rv.nn.Linear`.

All of `ranvier.nn.neurons` and of `ranvier.nn.layers` (which list them by family), what a neuron of your own is
declared with (`Neuron`, `Param`, `State`, `Option`, `Time`, `resetting`), and the base of all layers that know time
(`Temporal`). `init` has initial weights, `models` whole nets.
"""

from ranvier.nn import init, layers, models, neurons
from ranvier.nn.layers import *  # noqa: F403
from ranvier.nn.neuron import Learn, Neuron, Option, Param, State, Time
from ranvier.nn.neurons import *  # noqa: F403
from ranvier.nn.reset import resetting
from ranvier.nn.temporal import Temporal

__all__ = [
    "Learn", "Neuron", "Option", "Param", "State", "Temporal", "Time", "init", "layers", "models", "neurons",
    "resetting",
]  # fmt: skip
__all__ += layers.__all__
__all__ += neurons.__all__
