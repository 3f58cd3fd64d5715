"""The neuron of Izhikevich (2003)."""

import math
from typing import Any, Literal

from ranvier.nn.declare import step_length
from ranvier.nn.neuron import Learn, Neuron, Option, Param, State
from ranvier.nn.neurons.quadratic import check_parabola
from ranvier.nn.reset import Reset, detaching, resetting
from ranvier.ops import minimum, spike


class Izhikevich(Neuron):
    """Quadratic integrate-and-fire with a recovery current w. Depending on its parameters it spikes regularly, in
    bursts, or chatters.

    v = v + (x + a0 (u - v_rest) (u - v_critical) - w) dt / tau with u = min(v, threshold);  z = 1 where v >= threshold;
    w = w + (a (min(v, threshold) - v_rest) - w) dt / tau_w + b z;  then the reset of v: "zero" sets it to v_reset.

    x [T, B, *features] -> spikes. tau and tau_w, at least dt, in steps if dt is not given; v and w without unit.
    Izhikevich, Simple model of spiking neurons, IEEE TNN 14, 2003, in the form of Gerstner et al., Neuronal Dynamics,
    6.2. `Izhikevich.of_2003` builds it from the four numbers of the 2003 paper.

    >>> import torch, ranvier
    >>> ranvier.Izhikevich(b=0.5)(torch.full((5, 1, 1), 1.5)).flatten()
    tensor([0., 1., 0., 0., 1.])
    """

    tau: Param = Param(2.0, "time constant of the membrane", low="dt")
    dt: Option[float] = step_length()
    a0: Param = Param(1.0, "curvature of the membrane's equation", low=1e-6)
    v_rest: Param = Param(-0.1, "resting level")
    v_critical: Param = Param(0.8, "level above which the membrane rises without input")
    tau_w: Param = Param(2.0, "time constant of the recovery", low="dt")
    a: Param = Param(0.0, "strength with which the recovery follows the membrane")
    b: Param = Param(0.0, "what a spike adds to the recovery")
    threshold: Param = Param(1.0, "membrane at which a spike is fired")
    v_reset: Param = Param(-0.1, "level the membrane begins at and is reset to")
    v = State("v_reset", "membrane")
    w = State(0.0, "recovery current")
    reset: Option[Reset] = resetting("zero")
    detach_reset: Option[bool] = detaching()
    learn: Learn[Literal["a", "a0", "b", "tau", "tau_w", "threshold", "v_critical", "v_reset", "v_rest"]] = Learn()

    @staticmethod
    def rule(x, v, w, tau, a0, v_rest, v_critical, tau_w, a, b, threshold, v_reset, reset, dt):
        u = minimum(v, threshold)
        v = v + (x + a0 * (u - v_rest) * (u - v_critical) - w) / (tau / dt)
        z = spike(v - threshold)
        w = w + (a * (minimum(v, threshold) - v_rest) - w) / (tau_w / dt) + b * z
        return z, (v_reset + reset(v - v_reset, z, threshold), w)

    def _check_step(self) -> None:
        check_parabola("Izhikevich", self.a0, self.v_rest, self.v_critical, self.tau, self.settings["dt"])

    @classmethod
    def of_2003(cls, a: float, b: float, c: float, d: float, dt: float = 0.5, **given: Any) -> "Izhikevich":
        """Return the neuron of the paper: v' = 0.04 v^2 + 5 v + 140 - u + I, u' = a (b v - u), and v = c, u = u + d at
        30 mV.

        dt in milliseconds, v in millivolts. Here w = u - b v_rest, so the input of the layer is x = I - b v_rest, where
        `v_rest` is that of the layer. The membrane starts at c and w at 0; for other values call `neuron.scan(x, {"v":
        ..., "w": ...})`.

        >>> import torch, ranvier
        >>> regular = ranvier.Izhikevich.of_2003(0.02, 0.2, -65.0, 8.0)
        >>> current = torch.full((2000, 1, 1), 10.0) - 0.2 * regular.v_rest  # one second
        >>> regular(current).sum()
        tensor(23.)
        """
        root = math.sqrt(5.0**2 - 4 * 0.04 * 140.0)
        return cls(
            tau=1.0, dt=dt, a0=0.04, v_rest=(-5.0 - root) / 0.08, v_critical=(-5.0 + root) / 0.08, tau_w=1.0 / a, a=b,
            b=d, threshold=30.0, v_reset=c, **given,
        )  # fmt: skip
