"""The names of `hxtorch.spiking.functional.step_integration_code_factory`."""

from ranvier.compat.hxtorch.spiking.functional.aelif import CuBaStepCode

__all__ = [
    "CuBaStepCode",
]
