"""The names of `hxtorch.spiking.utils`."""

from ranvier.compat.hxtorch.spiking.utils import calib_helper

__all__ = ["calib_helper"]
