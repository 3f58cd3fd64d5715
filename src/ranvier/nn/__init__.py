"""Neurons and layers, as in torch.nn: `rv.nn.LIF`, `rv.nn.Linear`.

This module contains all of `ranvier.nn.neurons` and `ranvier.nn.layers`, which list their contents by family. It also
contains the names for declaring your own neuron (`Neuron`, `Param`, `State`, `Option`, `Time`, `resetting`), and the
base class of all temporal layers (`Temporal`). `init` initialises weights; `models` contains whole networks.
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
