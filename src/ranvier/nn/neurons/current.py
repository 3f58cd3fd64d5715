"""Current-based neurons: the input adds to a synaptic current, which charges the membrane."""

from typing import Literal

from ranvier.nn.declare import step_length
from ranvier.nn.neuron import Learn, Neuron, Option, Param, State, Time
from ranvier.nn.reset import Reset, detaching, resetting
from ranvier.ops import spike


class CubaLIF(Neuron):
    """Current-based leaky integrate-and-fire.

    i = alpha i + x;  v = beta v + i;  z = 1 where v >= threshold;  then the reset of v.

    x [T, B, *features] charge per step; returns spikes z of the same shape. alpha and beta in [0, 1] are the decays
    of current and membrane per step. Gerstner & Kistler 2002; Davies et al., Loihi, IEEE Micro 38, 2018.

    >>> import torch, ranvier
    >>> x = torch.tensor([1.0, 0.0, 0.0, 0.0]).reshape(4, 1, 1)
    >>> ranvier.CubaLIF(alpha=0.5, beta=1.0)(x).flatten()
    tensor([1., 0., 0., 0.])
    """

    alpha: Param = Param(0.8, "decay of the current per step", low=0.0, high=1.0)
    tau_syn: Time = Time("alpha", "time constant of the current")
    beta: Param = Param(0.9, "decay of the membrane per step", low=0.0, high=1.0)
    tau_mem: Time = Time("beta", "time constant of the membrane")
    dt: Option[float] = step_length()
    threshold: Param = Param(1.0, "membrane at which a spike is fired")
    v = State(0.0, "membrane")
    i = State(0.0, "synaptic current")
    reset: Option[Reset] = resetting()
    detach_reset: Option[bool] = detaching()
    learn: Learn[Literal["alpha", "beta", "tau_mem", "tau_syn", "threshold"]] = Learn()

    @staticmethod
    def rule(x, v, i, alpha, beta, threshold, reset):
        i = alpha * i + x
        v = beta * v + i
        z = spike(v - threshold)
        return z, (reset(v, z, threshold), i)


class CubaLI(Neuron):
    """Current-based leaky integrator: a readout without spikes.

    i = alpha i + x;  v = beta v + i;  returns v in the shape of x [T, B, *features].

    >>> import torch, ranvier
    >>> ranvier.CubaLI(alpha=0.0, beta=0.5)(torch.ones(3, 1, 1)).flatten()
    tensor([1.0000, 1.5000, 1.7500])
    """

    alpha: Param = Param(0.8, "decay of the current per step", low=0.0, high=1.0)
    tau_syn: Time = Time("alpha", "time constant of the current")
    beta: Param = Param(0.9, "decay of the membrane per step", low=0.0, high=1.0)
    tau_mem: Time = Time("beta", "time constant of the membrane")
    dt: Option[float] = step_length()
    v = State(0.0, "membrane")
    i = State(0.0, "synaptic current")
    learn: Learn[Literal["alpha", "beta", "tau_mem", "tau_syn"]] = Learn()

    @staticmethod
    def rule(x, v, i, alpha, beta):
        i = alpha * i + x
        v = beta * v + i
        return v, (v, i)
