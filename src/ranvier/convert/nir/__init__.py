"""Exchange with other libraries and with chips through NIR, the neuromorphic intermediate representation.

A NIR graph names nodes (linear maps, convolutions, neurons as differential equations) and the edges between them.
`to_nir` writes a network as such a graph, `from_nir` builds a network from a graph, and `check` runs both and compares
their spikes. Pedersen et al., Neuromorphic intermediate representation, Nature Communications 15, 2024. Needs
`ranvier[nir]`.
"""

from ranvier.convert.nir.check import Agreement, check
from ranvier.convert.nir.file import load, save
from ranvier.convert.nir.picture import picture
from ranvier.convert.nir.read import from_nir
from ranvier.convert.nir.wired import Looped, Wired
from ranvier.convert.nir.write import to_nir

__all__ = ["Agreement", "Looped", "Wired", "check", "from_nir", "load", "picture", "save", "to_nir"]
