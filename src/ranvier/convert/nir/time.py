"""How the time constants of a differential equation become the decays of a step, and back."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Method(NamedTuple):
    """One way to go from tau dv/dt = -v + r x to v' = keep v + gain x. All on float64 arrays."""

    keep: Callable[[np.ndarray, float], np.ndarray]  # (tau, dt) -> what is left of v after a step
    tau: Callable[[np.ndarray, float], np.ndarray]  # (keep, dt) -> tau
    part: Callable[[np.ndarray], np.ndarray]  # keep -> gain / r of a leaky membrane
    step: Callable[[float], float]  # dt -> gain / r of a membrane without leak


# euler: v' = v + dt / tau (r x - v). exponential: exact for an x that is held during the step. impulse: x is a charge
# that arrives at once, as spikes do.
METHODS: dict[str, Method] = {
    "euler": Method(lambda tau, dt: 1.0 - dt / tau, lambda keep, dt: dt / (1.0 - keep), lambda k: 1.0 - k, float),
    "exponential": Method(
        lambda tau, dt: np.exp(-dt / tau), lambda keep, dt: -dt / np.log(keep), lambda k: 1.0 - k, float
    ),
    "impulse": Method(
        lambda tau, dt: np.exp(-dt / tau), lambda keep, dt: -dt / np.log(keep), np.ones_like, lambda dt: 1.0
    ),
}


@dataclass(frozen=True)
class Clock:
    """The time step in seconds, and the method that goes with it."""

    dt: float
    method: str

    def __post_init__(self) -> None:
        if isinstance(self.dt, bool) or not isinstance(self.dt, (int, float)) or not 0 < self.dt < math.inf:
            raise ValueError(f"NIR: dt must be a positive number of seconds, got {self.dt!r}")
        if self.method not in METHODS:
            raise ValueError(f"NIR: method must be one of {list(METHODS)}, got {self.method!r}")

    def keep(self, tau: np.ndarray) -> np.ndarray:
        return METHODS[self.method].keep(np.asarray(tau, np.float64), self.dt)

    def tau(self, keep: np.ndarray) -> np.ndarray:
        return METHODS[self.method].tau(np.asarray(keep, np.float64), self.dt)

    def part(self, keep: np.ndarray) -> np.ndarray:
        """gain / r of a leaky membrane with this decay."""
        return METHODS[self.method].part(np.asarray(keep, np.float64))

    @property
    def step(self) -> float:
        """gain / r of a membrane without leak."""
        return METHODS[self.method].step(self.dt)


ROUNDING = 2.0**-21  # of products of single-precision numbers


def near_one(gain: np.ndarray) -> bool:
    """Whether a gain is 1 but for the rounding of the single-precision numbers it was made of."""
    return bool(np.all(np.abs(gain - 1.0) <= ROUNDING))


def narrow(values: np.ndarray, back: Callable[[np.ndarray], np.ndarray], wanted: np.ndarray) -> np.ndarray:
    """The values in single precision if what they stand for comes back exactly, else in double precision."""
    single = values.astype(np.float32)
    same = np.array_equal(back(single.astype(np.float64)).astype(wanted.dtype), wanted)
    return single if same else values


def just_below(threshold: np.ndarray) -> np.ndarray:
    """v >= threshold is v > just_below(threshold): NIR fires above a threshold, a neuron here from it on."""
    return np.nextafter(threshold, np.asarray(-np.inf, threshold.dtype))


def just_above(threshold: np.ndarray, dtype: type = np.float32) -> np.ndarray:
    """The smallest number of this type above: v > threshold is v >= just_above(threshold) for such v."""
    rounded = threshold.astype(dtype)
    above = np.nextafter(rounded, np.asarray(np.inf, dtype))
    return np.where(rounded.astype(np.float64) > threshold.astype(np.float64), rounded, above)
