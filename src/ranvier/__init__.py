"""Ranvier: spiking neural networks on PyTorch.

Write a neuron once, as its equation. Run it fused, forward and backward, on every machine.
"""

from ranvier import data, surrogate, words
from ranvier.machines.choose import machine
from ranvier.nn.linear import Linear
from ranvier.nn.memory import Stream, detach, explain, record, scan, step
from ranvier.nn.neuron import Neuron, Option, Param, State
from ranvier.nn.neurons.adaptive import ALIF
from ranvier.nn.neurons.current import CubaLI, CubaLIF
from ranvier.nn.neurons.integrate import IF
from ranvier.nn.neurons.leaky import LI, LIF
from ranvier.nn.neurons.traced import Fede, TracedALIF, TracedIF, TracedLIF
from ranvier.nn.recurrent import Recurrent
from ranvier.nn.reset import resetting
from ranvier.nn.sequential import Fold, Sequential
from ranvier.nn.temporal import Temporal
from ranvier.train import loss, metric
from ranvier.units import decay

__version__ = "0.1.0"
