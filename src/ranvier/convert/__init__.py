"""Conversion between rates and spikes, and between trained networks and spiking networks."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from ranvier.convert import nir as nir
else:

    def __getattr__(name: str) -> Any:
        if name == "nir":  # imported when it is used
            return import_module("ranvier.convert.nir")
        raise AttributeError(f"module 'ranvier.convert' has no attribute {name!r}")
