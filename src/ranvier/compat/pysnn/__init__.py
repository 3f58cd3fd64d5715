"""PySNN's names and signatures (0.1.1): modules that store their state, one call per step, and learning rules.

These faults of PySNN are corrected here: refractory periods that never end or raise an error, convolutions that do not
compute a convolution, delays that lose spikes, wrong pooled traces, NaN weights, uninitialised spikes, cells that spike
while they are refractory, and an encoder that is not Poisson. As in PySNN, the threshold of `AdaptiveLIFNeuron` relaxes
to 0; that of `ranvier.TracedALIF` relaxes to the resting threshold.
"""

from ranvier.compat.pysnn import connection, datasets, encoding, file_io, functional, learning, network, neuron, utils

__all__ = ["connection", "datasets", "encoding", "file_io", "functional", "learning", "network", "neuron", "utils"]
