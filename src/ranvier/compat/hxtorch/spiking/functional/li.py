"""The names of `hxtorch.spiking.functional.li`."""

from ranvier.compat.hxtorch.spiking.functional.exponential import exp_cuba_li_integration
from ranvier.compat.hxtorch.spiking.functional.legacy import cuba_li_integration

__all__ = [
    "cuba_li_integration",
    "exp_cuba_li_integration",
]
