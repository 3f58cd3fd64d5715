"""The names of hxtorch: `from ranvier.compat.hxtorch import spiking`. Every signal is [T, B, neurons], times in
seconds.
"""

from ranvier.compat.hxtorch import spiking

__all__ = [
    "spiking",
]
