"""Convert the time constants of differential equations to decays per step, and back."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Method(NamedTuple):
    """One way to convert tau dv/dt = -v + r x to the step v(t + dt) = keep v(t) + gain x. Arrays are float64."""

    keep: Callable[[np.ndarray, float], np.ndarray]  # (tau, dt) -> the part of v that is left after a step
    tau: Callable[[np.ndarray, float], np.ndarray]  # (keep, dt) -> tau
    part: Callable[[np.ndarray], np.ndarray]  # keep -> gain / r of a leaky membrane
    step: Callable[[float], float]  # dt -> gain / r of a membrane without leak


# euler: v(t + dt) = v(t) + dt / tau (r x - v(t)). exponential: exact if x is constant within a step. impulse: x is a
# charge that arrives at once, like a spike.
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
    """The time step in seconds, and the method of conversion."""

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
        """Return gain / r of a leaky membrane with this decay."""
        return METHODS[self.method].part(np.asarray(keep, np.float64))

    @property
    def step(self) -> float:
        """Return gain / r of a membrane without leak."""
        return METHODS[self.method].step(self.dt)


ROUNDING = 2.0**-21  # largest relative error of a product of single-precision numbers


def near_one(gain: np.ndarray) -> bool:
    """Whether a gain is 1 within the rounding error of the single-precision numbers it was computed from."""
    return bool(np.all(np.abs(gain - 1.0) <= ROUNDING))


def narrow(values: np.ndarray, back: Callable[[np.ndarray], np.ndarray], wanted: np.ndarray) -> np.ndarray:
    """Return the values in single precision if `back` restores the wanted values exactly, otherwise in double
    precision.
    """
    single = values.astype(np.float32)
    same = np.array_equal(back(single.astype(np.float64)).astype(wanted.dtype), wanted)
    return single if same else values


def just_below(threshold: np.ndarray) -> np.ndarray:
    """Return the largest number below threshold: v >= threshold is the same as v > just_below(threshold). A neuron of
    Ranvier fires at its threshold or above, a NIR neuron only above.
    """
    return np.nextafter(threshold, np.asarray(-np.inf, threshold.dtype))


def just_above(threshold: np.ndarray, dtype: type = np.float32) -> np.ndarray:
    """Return the smallest number of this dtype above threshold: for v of this dtype, v > threshold is the same as
    v >= just_above(threshold).
    """
    rounded = threshold.astype(dtype)
    above = np.nextafter(rounded, np.asarray(np.inf, dtype))
    return np.where(rounded.astype(np.float64) > threshold.astype(np.float64), rounded, above)
