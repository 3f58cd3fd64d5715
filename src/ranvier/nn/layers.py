"""All layers that are not neurons.

| family | layers |
|---|---|
| sequences of layers | Sequential Fold Padded |
| weights, fast on spikes | Linear Conv2d StandardisedLinear StandardisedConv2d |
| recurrence | Recurrent ElementwiseRecurrent LinearRecurrent FireFirstRecurrent Refractory |
| synaptic filters | Lowpass Alpha DoubleExponential SynapseFilter |
| delays | Delay LearnedDelay DelayedLinear |
| norms | ThresholdBatchNorm1d (2d, 3d) TemporalEffectiveBatchNorm1d (2d, 3d) BatchNormThroughTime1d (2d, 3d) NeuNorm |
| dropout | Dropout Dropout2d DropConnectLinear |
| pools and readouts | SumPool PopulationReadout GroupMean |
| attention | SpikingSelfAttention QKAttention SpikeDrivenSelfAttention TemporalAttention MultiDimensionalAttention |
| around timed spikes | TimedMap TimedDelay TimedRecurrent |
"""

from ranvier.nn.attention import MultiDimensionalAttention, TemporalAttention
from ranvier.nn.convolution import Conv2d
from ranvier.nn.delay import Delay, DelayedLinear, LearnedDelay
from ranvier.nn.dropout import DropConnectLinear, Dropout, Dropout2d
from ranvier.nn.filter import Alpha, DoubleExponential, Lowpass, SynapseFilter
from ranvier.nn.fold import Fold
from ranvier.nn.group_mean import GroupMean
from ranvier.nn.linear import Linear
from ranvier.nn.neurons.fire_first import FireFirstRecurrent
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
from ranvier.nn.padded import Padded
from ranvier.nn.pool import PopulationReadout, SumPool
from ranvier.nn.recurrent import Recurrent
from ranvier.nn.refractory import Refractory
from ranvier.nn.returning import ElementwiseRecurrent, LinearRecurrent
from ranvier.nn.sequential import Sequential
from ranvier.nn.standardised import StandardisedConv2d, StandardisedLinear
from ranvier.nn.timed import TimedDelay, TimedMap, TimedRecurrent
from ranvier.nn.transformer import QKAttention, SpikeDrivenSelfAttention, SpikingSelfAttention

__all__ = [
    "Alpha", "BatchNormThroughTime1d", "BatchNormThroughTime2d", "BatchNormThroughTime3d", "Conv2d", "Delay",
    "DelayedLinear", "DoubleExponential", "DropConnectLinear", "Dropout", "Dropout2d", "ElementwiseRecurrent",
    "FireFirstRecurrent", "Fold", "GroupMean", "LearnedDelay", "Linear", "LinearRecurrent", "Lowpass",
    "MultiDimensionalAttention", "NeuNorm", "Padded", "PopulationReadout", "QKAttention", "Recurrent", "Refractory",
    "Sequential", "SpikeDrivenSelfAttention", "SpikingSelfAttention", "StandardisedConv2d", "StandardisedLinear",
    "SumPool", "SynapseFilter", "TemporalAttention", "TemporalEffectiveBatchNorm1d", "TemporalEffectiveBatchNorm2d",
    "TemporalEffectiveBatchNorm3d", "ThresholdBatchNorm1d", "ThresholdBatchNorm2d", "ThresholdBatchNorm3d",
    "TimedDelay", "TimedMap", "TimedRecurrent",
]  # fmt: skip
