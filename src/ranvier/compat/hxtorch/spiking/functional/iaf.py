"""The names of `hxtorch.spiking.functional.iaf`."""

from ranvier.compat.hxtorch.spiking.functional.legacy import cuba_iaf_integration, cuba_refractory_iaf_integration

__all__ = [
    "cuba_iaf_integration",
    "cuba_refractory_iaf_integration",
]
