"""`cext`, the package of CUDA neurons of SpikingJelly's earliest releases."""

from ranvier.compat.spikingjelly.cext import neuron

__all__ = ["neuron"]
