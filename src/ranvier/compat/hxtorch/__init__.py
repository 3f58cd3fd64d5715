"""The names of hxtorch: `from ranvier.compat.hxtorch import spiking`. Every signal is [T, B, neurons], times in
seconds.
"""

from typing import Any

from ranvier.compat.hxtorch import logger, spiking


def init_hardware(*args: Any, **kwargs: Any) -> None:
    """Raise a ValueError: this package does not drive a chip."""
    raise ValueError("init_hardware: there is no chip here; use Experiment(mock=True), or pass it hardware=")


def release_hardware() -> None:
    """Do nothing: no chip is in use."""


__all__ = [
    "init_hardware",
    "logger",
    "release_hardware",
    "spiking",
]
