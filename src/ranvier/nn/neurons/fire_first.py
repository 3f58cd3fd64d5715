"""Neurons that compute their spike before they add their input. This is the order of operations in Spyx.

The spike of a step is computed from the membrane after the previous step, which must be strictly above threshold. Then
the membrane decays, the input is added, and the reset for that spike is subtracted. So a spike comes one step later
than in `LIF`, and a membrane exactly at threshold does not spike. Decays are clamped to [0, 1], also during learning.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ranvier.nn.declare import step_length
from ranvier.nn.neuron import Learn, Neuron, Option, Param, State, Time
from ranvier.nn.recurrent import Recurrent
from ranvier.nn.temporal import Temporal, check_sequence, promoted
from ranvier.ops import spike, spike_derivative

Emit = Literal["before", "after"]

EMITS: dict[Emit, Callable[[Any, Any], Any]] = {
    "before": lambda z, u: z,
    "after": lambda z, u: spike(u, strict=True),
}


def _emitting() -> Any:
    """Return the option `emit`. The output is the spike of this step ("before"), or that of the next step ("after"),
    which is already known.
    """
    return Option(
        "before", "the spike of this step, or of the next", make=lambda emit: EMITS[emit], choices=tuple(EMITS)
    )


class FireFirstIF(Neuron):
    """Integrate-and-fire that computes its spike before it adds its input.

    z = 1 where v > threshold;  v = v + x - z threshold.

    x [T, B, *features] input current per step; returns spikes z of the same shape. With `emit="after"` the output is
    the spike of the next step, which is already known. Heckel & Nowotny, Spyx, arXiv:2402.18994, 2024.

    >>> import torch, ranvier
    >>> ranvier.FireFirstIF()(torch.full((5, 1, 1), 0.5)).flatten()
    tensor([0., 0., 0., 1., 0.])
    """

    threshold: Param = Param(1.0, "a membrane above it fires")
    v = State(0.0, "membrane")
    emit: Option[Emit] = _emitting()
    learn: Learn[Literal["threshold"]] = Learn()

    @staticmethod
    def rule(x, v, threshold, emit):
        z = spike(v - threshold, strict=True)
        v = v + x - z * threshold
        return emit(z, v - threshold), v


class FireFirstLIF(Neuron):
    """Leaky integrate-and-fire that computes its spike before it adds its input.

    z = 1 where v > threshold;  v = beta v + x - z threshold: the subtracted threshold does not decay in this step.

    x [T, B, *features] input current per step; returns spikes z of the same shape. beta is the decay per step, clamped
    to [0, 1]. Heckel & Nowotny, Spyx, arXiv:2402.18994, 2024.

    >>> import torch, ranvier
    >>> ranvier.FireFirstLIF(beta=1.0)(torch.full((4, 1, 1), 2.0)).flatten()
    tensor([0., 1., 1., 1.])
    """

    beta: Param = Param(0.9, "decay of the membrane per step", low=0.0, high=1.0)
    tau: Time = Time("beta", "time constant of the membrane")
    dt: Option[float] = step_length()
    threshold: Param = Param(1.0, "a membrane above it fires")
    v = State(0.0, "membrane")
    emit: Option[Emit] = _emitting()
    learn: Learn[Literal["beta", "tau", "threshold"]] = Learn()

    @staticmethod
    def rule(x, v, beta, threshold, emit):
        z = spike(v - threshold, strict=True)
        v = beta * v + x - z * threshold
        return emit(z, v - threshold), v


class FireFirstALIF(Neuron):
    """Leaky integrate-and-fire with an adaptive threshold, which computes its spike before it adds its input.

    theta = threshold + a;  z = 1 where v > theta;  v = beta v + x - z theta;
    a = gamma a + (1 - gamma) z.

    x [T, B, *features] input current per step; returns spikes z of the same shape. beta and gamma are decays per step,
    clamped to [0, 1]. Heckel & Nowotny, Spyx, arXiv:2402.18994, 2024.

    >>> import torch, ranvier
    >>> ranvier.FireFirstALIF(beta=1.0, gamma=0.0)(torch.full((5, 1, 1), 1.5)).flatten()
    tensor([0., 1., 0., 1., 1.])
    """

    beta: Param = Param(0.9, "decay of the membrane per step", low=0.0, high=1.0)
    tau: Time = Time("beta", "time constant of the membrane")
    dt: Option[float] = step_length()
    gamma: Param = Param(0.9, "decay of the adaptation per step", low=0.0, high=1.0)
    tau_a: Time = Time("gamma", "time constant of the adaptation")
    threshold: Param = Param(1.0, "threshold without adaptation; a membrane above it fires")
    v = State(0.0, "membrane")
    a = State(0.0, "adaptation: rise of the threshold")
    learn: Learn[Literal["beta", "gamma", "tau", "tau_a", "threshold"]] = Learn()

    @staticmethod
    def rule(x, v, a, beta, gamma, threshold):
        theta = threshold + a
        z = spike(v - theta, strict=True)
        return z, (beta * v + x - z * theta, gamma * a + (1.0 - gamma) * z)


class FireFirstCubaLIF(Neuron):
    """Current-based leaky integrate-and-fire that computes its spike before it adds its input.

    z = 1 where v > threshold;  i = alpha i + x;  v = beta (v - z threshold) + i.

    x [T, B, *features] charge per step; returns spikes z of the same shape. alpha and beta are the decays of current
    and membrane per step, clamped to [0, 1]. Heckel & Nowotny, Spyx, arXiv:2402.18994, 2024.

    >>> import torch, ranvier
    >>> x = torch.tensor([1.5, 0.0, 0.0, 0.0]).reshape(4, 1, 1)
    >>> ranvier.FireFirstCubaLIF(alpha=0.5, beta=1.0)(x).flatten()
    tensor([0., 1., 1., 0.])
    """

    alpha: Param = Param(0.8, "decay of the current per step", low=0.0, high=1.0)
    tau_syn: Time = Time("alpha", "time constant of the current")
    beta: Param = Param(0.9, "decay of the membrane per step", low=0.0, high=1.0)
    tau_mem: Time = Time("beta", "time constant of the membrane")
    dt: Option[float] = step_length()
    threshold: Param = Param(1.0, "a membrane above it fires")
    v = State(0.0, "membrane")
    i = State(0.0, "synaptic current")
    emit: Option[Emit] = _emitting()
    learn: Learn[Literal["alpha", "beta", "tau_mem", "tau_syn", "threshold"]] = Learn()

    @staticmethod
    def rule(x, v, i, alpha, beta, threshold, emit):
        z = spike(v - threshold, strict=True)
        i = alpha * i + x
        v = beta * (v - z * threshold) + i
        return emit(z, v - threshold), (v, i)


class ClampedLI(Neuron):
    """Leaky integrator with the defaults of Spyx: a readout without spikes.

    v = beta v + x;  returns v in the shape of x [T, B, *features].

    >>> import torch, ranvier
    >>> ranvier.ClampedLI(beta=1.0)(torch.ones(3, 1, 1)).flatten()
    tensor([1., 2., 3.])
    """

    beta: Param = Param(0.8, "decay of the membrane per step", low=0.0, high=1.0)
    tau: Time = Time("beta", "time constant of the membrane")
    dt: Option[float] = step_length()
    v = State(0.0, "membrane")
    learn: Learn[Literal["beta", "tau"]] = Learn()

    @staticmethod
    def rule(x, v, beta):
        v = beta * v + x
        return v, v


class FireFirstRecurrent(Temporal):
    """A recurrent neuron that computes its spike before it adds its input, and whose spikes return within the same
    step.

    z[t] = spike(v[t - 1] - threshold);  v[t] = neuron(x[t] + feedback(z[t])): the spike is known before the input is
    added, so the feedback has no delay of one step.

    neuron: a `FireFirstIF`, `FireFirstLIF` or `FireFirstCubaLIF` built with `emit="after"`. feedback: the number of
    neurons, or a module from z_t [B, *features] to the same shape. x [T, B, *features] -> z of the same shape.

    >>> import torch, ranvier
    >>> ranvier.FireFirstRecurrent(ranvier.FireFirstLIF(emit="after"), 16)(torch.rand(10, 2, 16)).shape
    torch.Size([10, 2, 16])
    """

    # This is `Recurrent` with its spikes one step earlier: z[t] here is z[t - 1] there.

    def __init__(self, neuron: Neuron, feedback: int | nn.Module):
        super().__init__()
        if getattr(neuron, "settings", {}).get("emit") != "after":
            raise TypeError(
                f"FireFirstRecurrent: the neuron must know its next spike; pass FireFirstLIF(emit='after'), "
                f"got {neuron!r}"
            )
        self.loop = Recurrent(neuron, feedback)
        self.records = neuron.records

    @property
    def neuron(self) -> Neuron:
        return self.loop.neuron

    @property
    def feedback(self) -> nn.Module:
        return self.loop.feedback

    def ready(self, v: Tensor) -> Tensor:
        """Return the spikes of the next step, from the membranes v [B, *features]."""
        neuron: Any = self.neuron
        with spike_derivative(neuron.surrogate, v.dtype):
            return spike(v - neuron.threshold.to(v.dtype), strict=True)

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        check_sequence(self, x)
        like = torch.zeros_like(x.sum(0), dtype=promoted(x.dtype))
        inner = self.neuron.initial(like) if state is None else state
        first = self.ready(inner["v"]).to(x.dtype)
        ahead, after, traces = self.loop.run(x, {"z": first, **inner}, names)

        def delayed(z: Tensor) -> Tensor:
            return torch.cat([first.unsqueeze(0), z])[: x.shape[0]]

        traces = {n: delayed(t) if n == "z" else t for n, t in traces.items()}
        return delayed(ahead), {k: v for k, v in after.items() if k != "z"}, traces

    def explain(self, x: Any) -> str:
        return self.loop.explain(x)
