"""The names of `hxtorch.spiking.observables`."""

from ranvier.compat.hxtorch.spiking.handle import AnalogObservable, HardwareObservables

__all__ = [
    "AnalogObservable",
    "HardwareObservables",
]
