"""Neurons whose spikes also encode their time within the step, so that ordinary derivatives are exact gradients of
spike times.

A timed spike is a pair (a, b): the effect that a spike with weight 1 has, at the end of the step, on the current and on
the membrane of its target. For a spike r seconds before the end of the step, a = exp(-r / tau_syn) and b = kappa(r);
without a spike, (a, b) is (0, 0). A layer of weights maps both numbers in the same way (`ranvier.TimedMap`), so a step
is exact for any number of incoming spikes.
"""

from typing import TYPE_CHECKING, Any, Literal

from ranvier.nn.neuron import Learn, Neuron, Option, Param, State
from ranvier.ops import abs, exp, maximum, spike, stop, where

Gradient = Literal["eventprop", "surrogate"]
GRADIENTS: tuple[Gradient, ...] = ("eventprop", "surrogate")


def kappa(r: Any, tau_syn: Any, tau_mem: Any) -> Any:
    """Return the effect of a unit jump of the synaptic current on the membrane after r seconds.

    kappa(r) = tau_syn / (tau_syn - tau_mem) (exp(-r / tau_syn) - exp(-r / tau_mem)), and (r / tau) exp(-r / tau) where
    the two time constants are equal. It uses `ranvier.ops`, so r and the time constants may be values of a rule, or
    tensors.
    """
    per_syn, per_mem = 1.0 / tau_syn, 1.0 / tau_mem  # because a division costs as much as ten multiplications
    x = r * (per_syn - per_mem)
    close = abs(x) < 0.05
    # (1 - exp(-x)) / x; computed by its series where the difference would lose precision
    series = 1.0 - x * (1 / 2 - x * (1 / 6 - x * (1 / 24 - x * (1 / 120 - x * (1 / 720)))))
    mem = exp(-(r * per_mem))
    far = (mem - exp(-(r * per_syn))) * (1.0 / where(close, 1.0, tau_mem * (per_syn - per_mem)))
    return where(close, r * per_mem * mem * series, far)


def _target(name: str, target: Any) -> Any:
    if target is not None and not isinstance(target, (TimedLIF, TimedLI)):
        raise TypeError(f"{name} must be the layer that receives the spikes (TimedLIF or TimedLI), got {target!r}")
    return target


class _Timed(Neuron):
    """Base of timed neurons. Learned time constants stay above dt / 16; with smaller ones, a state would decay to zero
    within a step.
    """

    dt: Option[float] = Option(1e-3, "length of a step in seconds", number=True)

    if TYPE_CHECKING:  # for constructors that call this one

        def __init__(self, **given: Any) -> None: ...

    def bounds(self, name: str) -> tuple[Any, Any]:
        low, high = super().bounds(name)
        return (max(low, self.settings["dt"] / 16) if name.startswith("tau") else low), high


class TimedLIF(_Timed):
    """Current-based leaky integrate-and-fire with timed spikes. Its gradients are exact, as those of EventProp, but are
    derived automatically.

    The solution of tau_mem dv/dt = i - v and tau_syn di/dt = -i is exact over a step of dt seconds. Where v rises above
    `threshold`, the time of the crossing is computed by linear interpolation between the start and the end of the step.
    At that time `threshold` is subtracted from v, and the spike reaches its targets in the same step:

    v1 = exp(-dt / tau_mem) v + kappa(dt) i + xv,  i = exp(-dt / tau_syn) i + xi,
    f = (threshold - v) / (v1 - v),  r = (1 - f) dt,  a = exp(-r / tau_syn),  b = kappa(r),
    v = v1 - threshold exp(-r / tau_mem) where v1 > threshold.

    Inputs (xi, xv), each [T, B, *features]: the two parts of weighted timed spikes. Outputs (a, b) of the same shape.
    tau_mem, tau_syn > 0 in seconds. `gradient="eventprop"` differentiates the time of the spike; "surrogate" gives the
    same output, but differentiates whether there is a spike, by `surrogate`. `cut` limits the derivative of grazing
    spikes, at which the membrane rises slowly: the derivative uses a slope of at least `cut` per tau_mem. `target`: the
    layer that receives the spikes, if its time constants differ from those of this layer; this layer then uses the
    target's tensors. A neuron has at most one spike per step; a second spike is delayed to the start of the next step.
    Wunderlich & Pehle, Event-based backpropagation can compute exact gradients, Scientific Reports 11, 2021.

    >>> import torch, ranvier
    >>> lif = ranvier.TimedLIF(dt=1e-3)
    >>> x = ranvier.encode_times(torch.tensor([[2.5e-3]]), 12, lif)
    >>> a, b = lif(tuple(8.0 * half for half in x))
    >>> ranvier.first_spike(a, lif)  # the membrane crosses 4.2 ms after the input
    tensor([[0.0067]])
    """

    tau_mem: Param = Param(20e-3, "time constant of the membrane in seconds", low=1e-12)
    tau_syn: Param = Param(5e-3, "time constant of the synaptic current in seconds", low=1e-12)
    threshold: Param = Param(1.0, "a membrane above it fires")
    tau_mem_to: Param = Param(20e-3, "the target's tau_mem (with `target`)", low=1e-12, learnable=False)
    tau_syn_to: Param = Param(5e-3, "the target's tau_syn (with `target`)", low=1e-12, learnable=False)
    v = State(0.0, "membrane")
    i = State(0.0, "synaptic current")
    gradient: Option[Gradient] = Option("eventprop", "what is differentiated", choices=GRADIENTS)
    cut: Option[float] = Option(0.1, "smallest slope of a crossing in the derivative, per tau_mem", number=True)
    target: Option[Any] = Option(None, "the layer that receives the spikes", check=_target)
    learn: Learn[Literal["tau_mem", "tau_syn", "threshold"]] = Learn()

    if not TYPE_CHECKING:  # type checkers make it from the declarations above

        def __init__(self, *, target: Any = None, **given: Any):
            super().__init__(target=target, **given)
            if target is not None:
                # share the tensors of the target, so that changes by learning are seen here too
                for k in ("tau_mem", "tau_syn"):
                    shared = getattr(target, k)
                    delattr(self, f"{k}_to")
                    (self.register_parameter if k in target._parameters else self.register_buffer)(f"{k}_to", shared)

    def switch(self, gradient: Gradient) -> "TimedLIF":
        """Differentiate by `gradient` ("eventprop" or "surrogate") from now on; return the layer."""
        self.gradient = gradient
        return self

    @staticmethod
    def rule(xi, xv, v, i, tau_mem, tau_syn, threshold, tau_mem_to, tau_syn_to, dt, gradient, cut, target):
        exact = gradient == "eventprop"
        v1 = exp(-dt / tau_mem) * v + kappa(dt, tau_syn, tau_mem) * i + xv
        fires = v1 > threshold
        crosses = fires & (v < threshold)
        f = stop(where(crosses, (threshold - v) / where(crosses, v1 - v, 1.0), 0.0))
        if exact:  # f solves v + f (v1 - v) = threshold; its derivative uses a slope that is limited by `cut`
            slack = (threshold - v - f * (v1 - v)) / stop(maximum(v1 - v, cut * dt / tau_mem))
            f = f + where(crosses, slack - stop(slack), 0.0)
        r = (1.0 - f) * dt
        syn, mem = (tau_syn_to, tau_mem_to) if target is not None else (tau_syn, tau_mem)
        a, b = exp(-(r * (1.0 / syn))), kappa(r, syn, mem)
        fall = threshold * exp(-(r * (1.0 / tau_mem)))
        after = exp(-dt / tau_syn) * i + xi
        if exact:
            return (where(fires, a, 0.0), where(fires, b, 0.0)), (where(fires, v1 - fall, v1), after)
        z = spike(v1 - threshold, strict=True)
        return (z * stop(a), z * stop(b)), (v1 - stop(z * fall), after)


class TimedLI(_Timed):
    """Current-based leaky integrator for timed spikes: a readout whose membrane is exact at the end of every step.

    v = exp(-dt / tau_mem) v + kappa(dt) i + xv,  i = exp(-dt / tau_syn) i + xi;  the output is v at the end of the
    step.

    Inputs (xi, xv), each [T, B, *features]; v of the same shape. tau_mem, tau_syn > 0 and dt > 0 in seconds.

    >>> import torch, ranvier
    >>> li = ranvier.TimedLI(dt=1e-3)
    >>> x = ranvier.encode_times(torch.tensor([[1.5e-3]]), 4, li)
    >>> li(x).flatten()
    tensor([0.0000, 0.0235, 0.0623, 0.0920])
    """

    tau_mem: Param = Param(20e-3, "time constant of the membrane in seconds", low=1e-12)
    tau_syn: Param = Param(5e-3, "time constant of the synaptic current in seconds", low=1e-12)
    v = State(0.0, "membrane")
    i = State(0.0, "synaptic current")
    learn: Learn[Literal["tau_mem", "tau_syn"]] = Learn()

    @staticmethod
    def rule(xi, xv, v, i, tau_mem, tau_syn, dt):
        v = exp(-dt / tau_mem) * v + kappa(dt, tau_syn, tau_mem) * i + xv
        return v, (v, exp(-dt / tau_syn) * i + xi)
