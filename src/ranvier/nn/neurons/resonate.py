"""Resonate-and-fire neurons: membranes that oscillate."""

import math
from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor

from ranvier.nn.arguments import positive
from ranvier.nn.declare import Names
from ranvier.nn.neuron import Neuron, Option, Param, State
from ranvier.nn.reset import Reset, detaching, resetting
from ranvier.ops import spike
from ranvier.surrogate import Surrogate


class ResonateAndFire(Neuron):
    """A damped oscillator with spikes. It responds best to inputs near its own frequency.

    (u, v) is rotated by omega dt and multiplied by exp(b dt), x is added to u;  z = 1 where v >= threshold;  then the
    reset of v: "zero" sets it to v_reset.

    x [T, B, *features] -> spikes. b <= 0 in 1 / s, omega in rad / s with |omega dt| < pi, dt in seconds, above 0. The
    parameters that can be learned are `damping` = exp(b dt) and `turn` = tan(omega dt / 2); computed from `turn`, the
    rotation needs no sine and cosine. Izhikevich, Resonate-and-fire neurons, Neural Networks 14, 2001.

    >>> import torch, ranvier
    >>> x = torch.zeros(8, 1, 1)
    >>> x[0] = 2.0
    >>> ranvier.ResonateAndFire(b=-0.1, omega=0.5, dt=1.0)(x).flatten()
    tensor([0., 0., 1., 0., 0., 0., 0., 0.])
    """

    damping: Param = Param(0.8, "decay of the oscillation per step", low=0.0, high=1.0)
    turn: Param = Param(0.5, "tangent of half the angle of rotation per step")
    threshold: Param = Param(1.0, "v at which a spike is fired")
    v_reset: Param = Param(0.0, "level v begins at and is reset to")
    u = State(0.0, "current-like part")
    v = State("v_reset", "voltage-like part")
    reset: Option[Reset] = resetting("zero")
    detach_reset: Option[bool] = detaching()

    @staticmethod
    def rule(x, u, v, damping, turn, threshold, v_reset, reset):
        scale = damping / (1.0 + turn * turn)
        cos, sin = scale * (1.0 - turn * turn), scale * (2.0 * turn)
        u, v = u * cos - v * sin + x, u * sin + v * cos
        z = spike(v - threshold)
        return z, (u, v_reset + reset(v - v_reset, z, threshold))

    def bounds(self, name: str) -> tuple[Any, Any]:
        """Return the bounds of a parameter during learning. damping stays above 0: at 0 nothing is left after a step,
        and the other parameters get no gradient.
        """
        low, high = super().bounds(name)
        return (1e-3, high) if name == "damping" else (low, high)

    def __init__(
        self,
        b: float = -0.2,
        omega: float = 1.0,
        dt: float = 1.0,
        *,
        threshold: float | Tensor = 1.0,
        v_reset: float | Tensor = 0.0,
        reset: Reset = "zero",
        detach_reset: bool = False,
        surrogate: Surrogate | None = None,
        learn: Names[Literal["damping", "threshold", "turn", "v_reset"]] = (),
        shape: Sequence[int] | int | None = None,
    ):
        dt = positive("ResonateAndFire: dt", dt)
        if not isinstance(b, (int, float)) or not (math.isfinite(b) and b <= 0):
            raise ValueError(f"ResonateAndFire: b must be a number that is not above 0, got {b!r}")
        if not isinstance(omega, (int, float)) or not abs(omega * dt) < math.pi:
            raise ValueError(
                f"ResonateAndFire: omega dt must lie between -pi and pi, got {omega!r} * {dt!r}; take a smaller dt"
            )
        super().__init__(
            damping=math.exp(b * dt), turn=math.tan(omega * dt / 2), threshold=threshold, v_reset=v_reset,
            reset=reset, detach_reset=detach_reset, surrogate=surrogate, learn=learn, shape=shape,
        )  # fmt: skip
