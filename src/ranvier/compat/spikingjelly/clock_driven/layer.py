"""The layers of `clock_driven`: those of `activation_based`, and `MultiStep*` names for sequences."""

from ranvier.compat.spikingjelly.activation_based import layer as _layer
from ranvier.compat.spikingjelly.activation_based.base import MultiStepModule
from ranvier.compat.spikingjelly.activation_based.layer import *  # noqa: F403


class MultiStepDropout(MultiStepModule, _layer.Dropout):
    def __init__(self, p: float = 0.5):
        _layer.Dropout.__init__(self, p, "m")


class MultiStepDropout2d(MultiStepModule, _layer.Dropout2d):
    def __init__(self, p: float = 0.5):
        _layer.Dropout2d.__init__(self, p, "m")


MultiStepTemporalWiseAttention = _layer.TemporalWiseAttention
MultiStepThresholdDependentBatchNorm1d = _layer.ThresholdDependentBatchNorm1d
MultiStepThresholdDependentBatchNorm2d = _layer.ThresholdDependentBatchNorm2d
MultiStepThresholdDependentBatchNorm3d = _layer.ThresholdDependentBatchNorm3d
