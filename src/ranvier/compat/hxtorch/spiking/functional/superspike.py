"""The names of `hxtorch.spiking.functional.superspike`."""

from ranvier.compat.hxtorch.spiking.functional.threshold import SuperSpike, superspike_func

__all__ = ["SuperSpike", "superspike_func"]
