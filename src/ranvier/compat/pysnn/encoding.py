"""PySNN's encoder, as a true Poisson process: the steps are independent of each other."""

import torch
from torch import Tensor

from ranvier.data.encode import rate


def poisson_encoding(intensities: Tensor, duration: float, dt: float) -> Tensor:
    """Spikes of the given rates: intensities (any shape, float32, Hz) -> bool [*shape, steps], time last.

    duration and dt are in ms; steps = duration / dt, rounded down. The probability of a spike per step is
    rate * dt / 1000, at most 1. Negative rates raise a ValueError, and another dtype raises a TypeError.
    """
    if not isinstance(intensities, Tensor) or intensities.dtype != torch.float32:
        got = intensities.dtype if isinstance(intensities, Tensor) else type(intensities).__name__
        raise TypeError(f"intensities must be a float32 tensor of rates in Hz, got {got}; call .float()")
    if bool((intensities < 0).any()):
        raise ValueError(f"intensities are rates >= 0, got {intensities.min().item()}")
    if not (dt > 0 and duration >= dt):
        raise ValueError(f"duration and dt are times in ms, 0 < dt <= duration, got {duration!r} and {dt!r}")
    steps = int(duration / dt + 1e-6)  # 0.3 / 0.1 is 2.9999999999999996
    chance = (intensities * dt / 1000).clamp(max=1.0)
    return rate(chance, steps).movedim(0, -1).bool()


class PoissonEncoder:
    """`poisson_encoding` as an object with a fixed duration and dt."""

    def __init__(self, duration: float, dt: float):
        self.duration, self.dt = duration, dt

    def __call__(self, intensities: Tensor) -> Tensor:
        return poisson_encoding(intensities, self.duration, self.dt)
