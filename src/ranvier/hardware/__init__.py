"""Limits of neuromorphic chips, simulated in software, and training with a chip in the loop."""

from ranvier.hardware.chip import Calibration, SimulatedChip, calibrate
from ranvier.hardware.clamp import exponential, quantise, saturating, six_bits
from ranvier.hardware.dropout import BatchDropout
from ranvier.hardware.loop import InTheLoop
from ranvier.hardware.record import (
    coordinate_bins,
    decode,
    pixel_times,
    post_process,
    sample_bins,
    spike_bins,
    time_bins,
)
from ranvier.hardware.sparse import MaskedLinear, masked_linear
from ranvier.hardware.substrate import Record, Substrate
from ranvier.nn.neurons.physical import measuring
from ranvier.ops import inject

__all__ = [
    "BatchDropout",
    "Calibration",
    "InTheLoop",
    "MaskedLinear",
    "Record",
    "SimulatedChip",
    "Substrate",
    "calibrate",
    "coordinate_bins",
    "decode",
    "exponential",
    "inject",
    "masked_linear",
    "measuring",
    "pixel_times",
    "post_process",
    "quantise",
    "sample_bins",
    "saturating",
    "six_bits",
    "spike_bins",
    "time_bins",
]
