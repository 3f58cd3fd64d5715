"""The names of `hxtorch.spiking.functional.dropout`."""

from ranvier.compat.hxtorch.spiking.functional.linear import batch_dropout

__all__ = [
    "batch_dropout",
]
