"""Conversion between rates and spikes, and between trained networks and spiking networks."""

from ranvier.convert.ann import Spiking, convert, quantised
from ranvier.convert.rate import MeanOverTime, SpikingActivation, rate_penalty, steps_of, sweep
from ranvier.convert.report import Layer, Report, report
from ranvier.convert.spiking import QCFS, MaxOfRates, RateIF

__all__ = [
    "QCFS",
    "Layer",
    "MaxOfRates",
    "MeanOverTime",
    "RateIF",
    "Report",
    "Spiking",
    "SpikingActivation",
    "convert",
    "quantised",
    "rate_penalty",
    "report",
    "steps_of",
    "sweep",
]
