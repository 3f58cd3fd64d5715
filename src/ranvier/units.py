"""Convert time constants in seconds to decays per step."""

import math
from typing import overload

import torch
from torch import Tensor


@overload
def decay(tau: float, dt: float) -> float: ...
@overload
def decay(tau: Tensor, dt: float) -> Tensor: ...
def decay(tau: float | Tensor, dt: float) -> float | Tensor:
    """exp(-dt / tau): the factor by which a value with time constant tau (seconds) decays in one step of dt seconds.

    >>> import ranvier
    >>> round(ranvier.decay(tau=20e-3, dt=1e-3), 4)
    0.9512
    """
    if not isinstance(dt, (int, float)) or not (math.isfinite(dt) and dt > 0):
        raise ValueError(f"decay: dt must be a positive number of seconds, got {dt!r}")
    if isinstance(tau, Tensor):
        if not bool(((tau > 0) & torch.isfinite(tau)).all()):
            raise ValueError("decay: every tau must be a positive number of seconds")
        return torch.exp(-dt / tau)
    if not isinstance(tau, (int, float)) or not (math.isfinite(tau) and tau > 0):
        raise ValueError(f"decay: tau must be a positive number of seconds, got {tau!r}")
    return math.exp(-dt / tau)
