"""The interface of a device: it receives weights and spikes, and returns recordings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor


@dataclass(frozen=True)
class Record:
    """The recording of one layer. Each field is [T, B, neurons] or None: spikes in {0, 1}; voltage and adaptation in
    the device's own units.
    """

    spikes: Tensor | None
    voltage: Tensor | None = None
    adaptation: Tensor | None = None


@runtime_checkable
class Substrate(Protocol):
    """A real or simulated device that runs a feed-forward network of spiking layers.

    `write` sets the weights, one matrix [out, in] per layer in the device's units; `run` sends spikes [T, B, in] and
    returns one `Record` per layer.
    """

    def write(self, weights: Sequence[Tensor]) -> None: ...

    def run(self, spikes: Tensor) -> Sequence[Record]: ...
