"""hxtorch.spiking.transforms: encoders, decoders, weight transforms."""

from ranvier.compat.hxtorch.spiking.transforms import decode, encode, weight_transforms
from ranvier.compat.hxtorch.spiking.transforms.decode import MaxOverTime, MeanOverTime, SumOverTime
from ranvier.compat.hxtorch.spiking.transforms.encode import (
    CoordinatesToSpikes,
    PixelsToSpikeTimes,
    SpikeTimesToDense,
    SpikeTimesToSparseTensor,
)
from ranvier.compat.hxtorch.spiking.transforms.weight_transforms import linear_saturating

__all__ = [
    "CoordinatesToSpikes",
    "MaxOverTime",
    "MeanOverTime",
    "PixelsToSpikeTimes",
    "SpikeTimesToDense",
    "SpikeTimesToSparseTensor",
    "SumOverTime",
    "decode",
    "encode",
    "linear_saturating",
    "weight_transforms",
]
