"""The parts of a Sinabs layer that act on its membrane: number of spikes, reset, surrogate derivative."""

import math
from dataclasses import dataclass

from ranvier import ops, surrogate
from ranvier.surrogate import Surrogate


class MultiSpike:
    """floor(v / threshold) spikes in a step; none where v < 0."""

    most = math.inf


class SingleSpike:
    """One spike where v >= threshold."""

    most = 1.0


@dataclass(frozen=True)
class MaxSpike:
    """`MultiSpike` with at most `max_num_spikes_per_bin` spikes."""

    max_num_spikes_per_bin: int | None = None

    @property
    def most(self) -> float:
        return math.inf if self.max_num_spikes_per_bin is None else float(self.max_num_spikes_per_bin)


@dataclass(frozen=True)
class MembraneSubtract:
    """Every spike subtracts `subtract_value` from the membrane; if it is None, the threshold."""

    subtract_value: float | None = None


@dataclass(frozen=True)
class MembraneReset:
    """A spike sets the membrane to `reset_value`; the gradient of the membrane passes only where there is no spike."""

    reset_value: float = 0.0


@dataclass(frozen=True)
class SingleExponential:
    """Surrogate derivative grad_scale / (grad_width threshold) exp(-|v - threshold| / (grad_width threshold))."""

    grad_width: float = 0.5
    grad_scale: float = 1.0

    @property
    def core(self) -> Surrogate:
        """Return the surrogate as a function of u = v / threshold - 1."""
        return surrogate.custom(_exponential, "single_exponential", width=self.grad_width, scale=self.grad_scale)


def _exponential(u, width, scale):  # type: ignore[no-untyped-def]
    return scale / width * ops.exp(-abs(u) / width)
