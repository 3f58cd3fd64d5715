"""Ranvier: spiking neural networks on PyTorch.

Write a neuron once, as its equation. Run it fused, forward and backward, on every backend.
"""

from ranvier import convert, data, hardware, ops, surrogate
from ranvier.backends.choose import backend
from ranvier.convert.rate import SpikingActivation
from ranvier.nn import init, models
from ranvier.nn.attention import MultiDimensionalAttention, TemporalAttention
from ranvier.nn.compare_gradients import compare_gradients
from ranvier.nn.convolution import Conv2d
from ranvier.nn.delay import Delay, DelayedLinear, LearnedDelay
from ranvier.nn.dropout import DropConnectLinear, Dropout, Dropout2d
from ranvier.nn.filter import Alpha, DoubleExponential, Lowpass, SynapseFilter
from ranvier.nn.group_mean import GroupMean
from ranvier.nn.linear import Linear
from ranvier.nn.neuron import Neuron, Option, Param, State
from ranvier.nn.neurons.adaptive import ALIF
from ranvier.nn.neurons.adlif import SEAdLIF, SiLIF
from ranvier.nn.neurons.associative import AssociativeLIF, AssociativeResonate, ParallelLIF
from ranvier.nn.neurons.balanced import BHRF, BRF
from ranvier.nn.neurons.current import CubaLI, CubaLIF
from ranvier.nn.neurons.fire_first import (
    ClampedLI,
    FireFirstALIF,
    FireFirstCubaLIF,
    FireFirstIF,
    FireFirstLIF,
    FireFirstRecurrent,
)
from ranvier.nn.neurons.gated import GatedLIF
from ranvier.nn.neurons.heaviside import Heaviside
from ranvier.nn.neurons.integrate import IF
from ranvier.nn.neurons.izhikevich import Izhikevich
from ranvier.nn.neurons.leaky import LI, LIF
from ranvier.nn.neurons.multilevel import IntegerLIF, TernaryLIF
from ranvier.nn.neurons.parallel import PSN, MaskedPSN, SlidingPSN
from ranvier.nn.neurons.parametric import KLIF, AnalogLIF, ComplementaryLIF, ParametricLIF, RestLIF
from ranvier.nn.neurons.physical import AdEx, PhysicalLI, PhysicalLIF
from ranvier.nn.neurons.quadratic import EIF, QIF
from ranvier.nn.neurons.resonate import ResonateAndFire
from ranvier.nn.neurons.timed import TimedLI, TimedLIF
from ranvier.nn.neurons.traced import Fede, TracedALIF, TracedIF, TracedLIF
from ranvier.nn.norm import (
    BatchNormThroughTime1d,
    BatchNormThroughTime2d,
    BatchNormThroughTime3d,
    NeuNorm,
    TemporalEffectiveBatchNorm1d,
    TemporalEffectiveBatchNorm2d,
    TemporalEffectiveBatchNorm3d,
    ThresholdBatchNorm1d,
    ThresholdBatchNorm2d,
    ThresholdBatchNorm3d,
)
from ranvier.nn.padded import Padded, lengths_of, padded
from ranvier.nn.pool import PopulationReadout, SumPool
from ranvier.nn.recomputed import checkpoint
from ranvier.nn.recurrent import Recurrent
from ranvier.nn.refractory import Refractory
from ranvier.nn.reset import resetting
from ranvier.nn.returning import ElementwiseRecurrent, LinearRecurrent
from ranvier.nn.saved_memory import saved_memory
from ranvier.nn.sequential import Fold, Sequential
from ranvier.nn.standardised import StandardisedConv2d, StandardisedLinear
from ranvier.nn.stream import Stream
from ranvier.nn.temporal import Temporal
from ranvier.nn.timed import TimedDelay, TimedMap, TimedRecurrent, encode_times, first_spike
from ranvier.nn.transformer import QKAttention, SpikeDrivenSelfAttention, SpikingSelfAttention
from ranvier.nn.verbs import detach, explain, record, scan, step
from ranvier.spikes.dense import products
from ranvier.train import loss, metric
from ranvier.units import decay

__version__ = "0.1.0"
