"""halco's coordinates of neurons. There is no chip here: coordinates can be stored and compared, but have no effect."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class NeuronRowOnDLS:
    """A row of neuron circuits, 0 or 1."""

    value: int = 0


@dataclass(frozen=True)
class NeuronColumnOnDLS:
    """A column of neuron circuits, 0 to 255."""

    value: int = 0


@dataclass(frozen=True)
class AtomicNeuronOnDLS:
    """One neuron circuit, by row and column."""

    row: NeuronRowOnDLS
    column: NeuronColumnOnDLS


@dataclass(frozen=True)
class LogicalNeuronOnDLS:
    """A neuron: its compartments, and its first circuit."""

    compartments: Any
    anchor: AtomicNeuronOnDLS
