"""The names of hxtorch: `from ranvier.compat.hxtorch import spiking`. Every signal is [T, B, neurons], times in
seconds.
"""

from typing import Any

from ranvier.compat.hxtorch import logger, spiking


def init_hardware(*args: Any, **kwargs: Any) -> None:
    """ValueError: there is no chip here."""
    raise ValueError("init_hardware: there is no chip here; run Experiment(mock=True), or give it hardware=")


def release_hardware() -> None:
    """Nothing: no chip is held."""


__all__ = [
    "init_hardware",
    "logger",
    "release_hardware",
    "spiking",
]
