"""PySNN's names and signatures (0.1.1): modules that hold their state, one call per step, learning by rules.

Mended, against the original: refractory periods that never end or are refused (P1, P2), convolutions that are none
(P4), delays that lose spikes (P5), pooled traces (P6), NaN weights (P7), uninitialised spikes (P8), cells that spike
while refractory (P9), and an encoder that is not Poisson (P16). The threshold of `AdaptiveLIFNeuron` relaxes to 0, as
it does there (P3); `ranvier.TracedALIF` relaxes to the resting threshold.
"""

from ranvier.compat.pysnn import connection, datasets, encoding, file_io, functional, learning, network, neuron, utils

__all__ = ["connection", "datasets", "encoding", "file_io", "functional", "learning", "network", "neuron", "utils"]
