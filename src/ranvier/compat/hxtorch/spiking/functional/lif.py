"""The names of `hxtorch.spiking.functional.lif`."""

from ranvier.compat.hxtorch.spiking.functional.exponential import exp_cuba_lif_integration
from ranvier.compat.hxtorch.spiking.functional.legacy import cuba_lif_integration, cuba_refractory_lif_integration

__all__ = [
    "cuba_lif_integration",
    "cuba_refractory_lif_integration",
    "exp_cuba_lif_integration",
]
