"""Spyx's neurons and layers. `run` runs one of them, or a Sequential, over time."""

from ranvier.compat.spyx.layers import (
    ActivityRegularization,
    Flatten,
    PopulationCode,
    Sequential,
    SumPool,
    run,
    sum_pool,
)
from ranvier.compat.spyx.neurons import (
    ALIF,
    IF,
    LI,
    LIF,
    PSU_LIF,
    RIF,
    RLIF,
    AssociativeLIF,
    CuBaLIF,
    RCuBaLIF,
    StatefulLayer,
)

__all__ = [
    "ALIF",
    "IF",
    "LI",
    "LIF",
    "PSU_LIF",
    "RIF",
    "RLIF",
    "ActivityRegularization",
    "AssociativeLIF",
    "CuBaLIF",
    "Flatten",
    "PopulationCode",
    "RCuBaLIF",
    "Sequential",
    "StatefulLayer",
    "SumPool",
    "run",
    "sum_pool",
]
