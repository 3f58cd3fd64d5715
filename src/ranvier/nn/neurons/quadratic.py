"""Neurons whose membrane rises without input just before a spike: quadratic and exponential integrate-and-fire."""

from typing import Any, Literal

from torch import Tensor

from ranvier.nn.declare import step_length
from ranvier.nn.neuron import Learn, Neuron, Option, Param, State
from ranvier.nn.reset import Reset, detaching, resetting
from ranvier.ops import exp, minimum, spike

STEEPEST = 40.0


def onset(u: Any) -> Any:
    """Return exp(u) for the rise before a spike, with u limited so that the value and its gradients stay finite in
    single precision.
    """
    return exp(minimum(u, STEEPEST))


def check_parabola(name: str, a: Tensor, v_rest: Tensor, v_critical: Tensor, tau: Tensor, dt: float) -> None:
    """Raise an error if the step is so long that the membrane would oscillate around its rest with growing
    amplitude.
    """
    part = a * (v_critical - v_rest).abs() / tau
    if not part.is_meta and bool((part * dt > 2.0).any()):
        raise ValueError(
            f"{name}: with steps of dt={dt:g} the membrane oscillates with growing amplitude; take dt up to "
            f"{1.0 / part.max().item():g}"
        )


class QIF(Neuron):
    """Quadratic integrate-and-fire.

    v = v + (x + a (u - v_rest) (u - v_critical)) dt / tau with u = min(v, threshold);  z = 1 where v >= threshold;
    then the reset: "zero" sets v to v_reset.

    x [T, B, *features] -> spikes. tau, at least dt, in steps if dt is not given. Above v_critical the membrane rises
    without input. The equation uses the membrane only up to the threshold, so an overshoot does not grow.
    Ermentrout & Kopell, Parabolic bursting in an excitable system, 1986; Gerstner et al., Neuronal Dynamics, 5.3.

    >>> import torch, ranvier
    >>> ranvier.QIF()(torch.full((4, 1, 1), 1.0)).flatten()
    tensor([0., 0., 1., 0.])
    """

    tau: Param = Param(2.0, "time constant of the membrane", low="dt")
    dt: Option[float] = step_length()
    a: Param = Param(1.0, "curvature", low=1e-6)
    v_rest: Param = Param(0.0, "resting level")
    v_critical: Param = Param(0.8, "level above which the membrane rises without input")
    threshold: Param = Param(1.0, "membrane at which a spike is fired")
    v_reset: Param = Param(-0.1, "level the membrane begins at and is reset to")
    v = State("v_reset", "membrane")
    reset: Option[Reset] = resetting("zero")
    detach_reset: Option[bool] = detaching()
    learn: Learn[Literal["a", "tau", "threshold", "v_critical", "v_reset", "v_rest"]] = Learn()

    @staticmethod
    def rule(x, v, tau, a, v_rest, v_critical, threshold, v_reset, reset, dt):
        u = minimum(v, threshold)
        v = v + (x + a * (u - v_rest) * (u - v_critical)) / (tau / dt)
        z = spike(v - threshold)
        return z, v_reset + reset(v - v_reset, z, threshold)

    def _check_step(self) -> None:
        check_parabola("QIF", self.a, self.v_rest, self.v_critical, self.tau, self.settings["dt"])


class EIF(Neuron):
    """Exponential integrate-and-fire.

    v = v + (x + v_rest - u + delta exp((u - theta) / delta)) dt / tau with u = min(v, threshold);
    z = 1 where v >= threshold;  then the reset: "zero" sets v to v_reset.

    x [T, B, *features] -> spikes. tau, at least dt, in steps if dt is not given; delta, above 0, is the width of the
    spike's onset at the rheobase threshold theta (small values give a sharp onset). The exponent is limited to 40,
    where the membrane reaches the threshold within one step. Fourcaud-Trocmé et al., How spike generation mechanisms
    determine the neuronal response to fluctuating inputs, J. Neurosci. 23, 2003.

    >>> import torch, ranvier
    >>> ranvier.EIF()(torch.full((4, 1, 1), 1.0)).flatten()
    tensor([0., 1., 0., 1.])
    """

    tau: Param = Param(2.0, "time constant of the membrane", low="dt")
    dt: Option[float] = step_length()
    delta: Param = Param(1.0, "width of the spike's onset", low=1e-6)
    theta: Param = Param(0.8, "rheobase")
    v_rest: Param = Param(0.0, "resting level")
    threshold: Param = Param(1.0, "membrane at which a spike is fired")
    v_reset: Param = Param(-0.1, "level the membrane begins at and is reset to")
    v = State("v_reset", "membrane")
    reset: Option[Reset] = resetting("zero")
    detach_reset: Option[bool] = detaching()
    learn: Learn[Literal["delta", "tau", "theta", "threshold", "v_reset", "v_rest"]] = Learn()

    @staticmethod
    def rule(x, v, tau, delta, theta, v_rest, threshold, v_reset, reset, dt):
        u = minimum(v, threshold)
        v = v + (x + v_rest - u + delta * onset((u - theta) / delta)) / (tau / dt)
        z = spike(v - threshold)
        return z, v_reset + reset(v - v_reset, z, threshold)

    def bounds(self, name: str) -> tuple[Any, Any]:
        """Return the bounds of a parameter during learning. delta stays so large that the exponential has an effect at
        the threshold.
        """
        low, high = super().bounds(name)
        return ((self.threshold - self.theta).detach().abs() / 64, high) if name == "delta" else (low, high)
