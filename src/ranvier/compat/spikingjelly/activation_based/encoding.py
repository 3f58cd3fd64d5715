"""SpikingJelly's encoders. Encoders with a memory encode their first input, and store the result until
`reset()`.
"""

import math

import torch
from torch import Tensor, nn

import ranvier
from ranvier.compat.spikingjelly.activation_based.base import MemoryModule, StepModule


class StatelessEncoder(StepModule, nn.Module):
    """An encoder without memory: it encodes every input."""

    def __init__(self, step_mode: str = "s"):
        super().__init__()
        self.step_mode = step_mode


class StatefulEncoder(MemoryModule):
    """An encoder that turns its first input into T steps and returns them one after the other, repeatedly."""

    def __init__(self, T: int, step_mode: str = "s"):
        super().__init__(step_mode)
        if isinstance(T, bool) or not isinstance(T, int) or T < 1:
            raise ValueError(f"{type(self).__name__}: T must be a whole number of at least 1, got {T!r}")
        self.T = T
        self.register_memory("spike", None)
        self.register_memory("t", 0)

    def single_step_encode(self, x: Tensor) -> Tensor:
        """Encode x: return its spikes at all T steps, [T, *x.shape]."""
        raise NotImplementedError

    def single_step_forward(self, x: Tensor | None = None) -> Tensor:  # type: ignore[override]
        if self.spike is None:
            if x is None:
                raise ValueError(f"{type(self).__name__}: the first call after reset() needs an input")
            self.spike = self.single_step_encode(x)
        now = self.spike[self.t]
        self.t = (self.t + 1) % self.T
        return now

    def multi_step_forward(self, x_seq: Tensor | None = None) -> Tensor:  # type: ignore[override]
        steps = self.T if x_seq is None else len(x_seq)
        return torch.stack([self.single_step_forward(None if x_seq is None else x_seq[t]) for t in range(steps)])


class PeriodicEncoder(StatefulEncoder):
    """An encoder that repeats the given spikes [T, ...] periodically."""

    def __init__(self, spike: Tensor, step_mode: str = "s"):
        super().__init__(len(spike), step_mode)
        self.set_reset_value("spike", spike)
        self.reset()


def _checked(name: str, x: Tensor, high: float = 1.0) -> Tensor:
    if not bool(((x >= 0) & (x <= high)).all()):
        raise ValueError(f"{name}: input must lie between 0 and {high:g}, got {x.min():g} to {x.max():g}")
    return x


# The step of the spike of an input x in [0, 1], for T steps; halves are rounded to even.
LATENCY = {
    "linear": lambda x, steps: ((steps - 1.0) * (1.0 - x)).round(),
    "log": lambda x, steps: (steps - 1.0 - torch.log1p(math.expm1(steps - 1.0) * x)).round(),
}


class LatencyEncoder(StatefulEncoder):
    """One spike per input, which comes earlier for larger inputs. Inputs are in [0, 1]."""

    def __init__(self, T: int, enc_function: str = "linear", step_mode: str = "s"):
        super().__init__(T, step_mode)
        if enc_function not in LATENCY:
            raise NotImplementedError(f"enc_function must be one of {list(LATENCY)}, got {enc_function!r}")
        self.enc_function = enc_function

    def single_step_encode(self, x: Tensor) -> Tensor:
        at = LATENCY[self.enc_function](_checked("LatencyEncoder", x), self.T).long()
        return nn.functional.one_hot(at, self.T).movedim(-1, 0).to(x.dtype)


class PoissonEncoder(StatelessEncoder):
    """Spikes with probability x, drawn at every call."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.rand_like(x).le(x).to(x.dtype)


class WeightedPhaseEncoder(StatefulEncoder):
    """The first K binary digits of the input, one per step; inputs are in [0, 1 - 2^-K]."""

    def __init__(self, K: int, step_mode: str = "s"):
        super().__init__(K, step_mode)

    def single_step_encode(self, x: Tensor) -> Tensor:
        whole = (_checked("WeightedPhaseEncoder", x, 1.0 - 2.0**-self.T) * 2.0**self.T).floor().long()
        digits = [(whole >> k) & 1 for k in range(self.T - 1, -1, -1)]
        return torch.stack(digits).to(x.dtype)


class PopEncoder(nn.Module):
    """Encode each number by the activity of pop_dim Gaussian receptive fields, which is the same at all steps.

    [N, obs_dim] -> [spike_ts, N, obs_dim * pop_dim]. The centres of the fields are spread over mean_range; centres and
    widths are learned.
    """

    def __init__(self, obs_dim: int, pop_dim: int, spike_ts: int, mean_range: tuple[float, float], std: float):
        super().__init__()
        if not std > 0:
            raise ValueError(f"{type(self).__name__}: std must be positive, got {std!r}")
        self.obs_dim, self.pop_dim, self.spike_ts = obs_dim, pop_dim, spike_ts
        self.mean = nn.Parameter(torch.linspace(*mean_range, pop_dim).repeat(1, obs_dim, 1))
        self.std = nn.Parameter(torch.full((1, obs_dim, pop_dim), float(std)))

    def activity(self, obs: Tensor) -> Tensor:
        distance = (obs.view(-1, self.obs_dim, 1) - self.mean) / self.std
        return torch.exp(-0.5 * distance**2).flatten(1)

    def forward(self, obs: Tensor) -> Tensor:
        return self.activity(obs).expand(self.spike_ts, -1, -1)


class PopSpikeEncoderDeterministic(PopEncoder):
    """`PopEncoder` whose activity drives integrate-and-fire neurons: regular spikes."""

    def __init__(self, obs_dim: int, pop_dim: int, spike_ts: int, mean_range: tuple[float, float], std: float):
        super().__init__(obs_dim, pop_dim, spike_ts, mean_range, std)
        self.neuron = ranvier.IF(threshold=0.999, surrogate=ranvier.surrogate.straight_through())

    def forward(self, obs: Tensor) -> Tensor:
        return self.neuron(super().forward(obs).contiguous())


class PopSpikeEncoderRandom(PopEncoder):
    """`PopEncoder` whose activity is the probability of a spike."""

    def forward(self, obs: Tensor) -> Tensor:
        activity = super().forward(obs)
        return activity + (torch.bernoulli(activity.detach()) - activity).detach()
