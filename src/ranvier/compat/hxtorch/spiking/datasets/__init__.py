"""The names of `hxtorch.spiking.datasets`."""

from ranvier.compat.hxtorch.spiking.datasets.yinyang import YinYangDataset

__all__ = [
    "YinYangDataset",
]
