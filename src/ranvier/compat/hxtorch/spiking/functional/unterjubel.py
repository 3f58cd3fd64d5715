"""The names of `hxtorch.spiking.functional.unterjubel`."""

from ranvier.compat.hxtorch.spiking.functional.threshold import Unterjubel

__all__ = ["Unterjubel"]
