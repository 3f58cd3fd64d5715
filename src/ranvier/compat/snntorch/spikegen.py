"""snnTorch's encoders: they turn data into spikes, with time first."""

from typing import Any

import torch
from torch import Tensor


def rate(
    data: Tensor,
    num_steps: Any = False,
    gain: float = 1,
    offset: float = 0,
    first_spike_time: int = 0,
    time_var_input: bool = False,
) -> Tensor:
    """Spikes with probability gain * data + offset, clamped to [0, 1]. The result is [num_steps, *data]; with
    time_var_input, data is [T, *], and the result has its shape.

    >>> rate(torch.tensor([0.0, 1.0]), num_steps=3).tolist()
    [[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]
    """
    if not time_var_input and not num_steps:
        raise ValueError("rate: pass num_steps, or data [T, ...] that varies in time and time_var_input=True")
    if first_spike_time < 0 or (num_steps and first_spike_time > num_steps - 1):
        raise ValueError(f"rate: first_spike_time must lie between 0 and num_steps - 1, got {first_spike_time!r}")
    steps = data if time_var_input else data.repeat(int(num_steps), *(1,) * data.dim())
    spikes = torch.bernoulli((steps * gain + offset).clamp(0.0, 1.0))
    if first_spike_time:
        spikes[:first_spike_time] = 0.0
    return spikes


def latency_code(
    data: Tensor,
    num_steps: Any = False,
    threshold: float = 0.01,
    tau: float = 1,
    first_spike_time: int = 0,
    normalize: bool = False,
    linear: bool = False,
    epsilon: float = 1e-7,
) -> tuple[Tensor, Tensor]:
    """Return the time in steps at which each value spikes, and which values are below threshold."""
    if normalize and not num_steps:
        raise ValueError("latency_code: normalize=True needs num_steps")
    if not linear and data.min() < 0:
        raise ValueError("latency_code: data must not be negative")
    last = num_steps - 1 - first_spike_time if normalize else 0
    if linear:
        at = ((last if normalize else tau) * (1.0 - data.clamp(min=threshold))).clamp_min(0.0) + first_spike_time
        return at, data < threshold
    above = data.clamp(min=threshold + epsilon)
    at = tau * torch.log(above / (above - threshold)) + first_spike_time
    if normalize:
        at = (at - first_spike_time) * last / (at - first_spike_time).max() + first_spike_time
    return at, data < threshold


def latency(
    data: Tensor,
    num_steps: Any = False,
    threshold: float = 0.01,
    tau: float = 1,
    first_spike_time: int = 0,
    on_target: float = 1,
    off_target: float = 0,
    clip: bool = False,
    normalize: bool = False,
    linear: bool = False,
    interpolate: bool = False,
    bypass: bool = False,
    epsilon: float = 1e-7,
) -> Tensor:
    """Encode each value as one spike, which comes earlier the larger the value is: [num_steps, *data]. clip: no spike
    for values below threshold.

    >>> latency(torch.tensor([0.5, 1.0]), num_steps=3, normalize=True, linear=True)[:, 1]
    tensor([1., 0., 0.])
    """
    if interpolate or not num_steps:
        raise ValueError("latency: num_steps is needed, and interpolate=True is not supported")
    at, low = latency_code(data, num_steps, threshold, tau, first_spike_time, normalize, linear, epsilon)
    at = at.round().long()
    if not bypass and int(at.max()) > num_steps - 1:
        raise ValueError(
            f"latency: the last spike falls on step {int(at.max())}, but num_steps is {num_steps}; use more steps, "
            f"normalize=True, or bypass=True to move those spikes to the last step"
        )
    hit = torch.nn.functional.one_hot(at.clamp(max=num_steps - 1), int(num_steps)).movedim(-1, 0).bool()
    if clip:
        hit &= ~low
    return torch.where(hit, float(on_target), float(off_target)).to(data.dtype)


def delta(data: Tensor, threshold: float = 0.1, padding: bool = False, off_spike: bool = False) -> Tensor:
    """1 where data [T, *] rises by at least threshold from one step to the next; with off_spike, also -1 where it falls
    by at least threshold.

    padding: if True, the value before the first step is equal to the first value; otherwise it is 0.

    >>> delta(torch.tensor([1.0, 1.2, 0.5]), off_spike=True)
    tensor([ 1.,  1., -1.])
    """
    before = torch.cat([data[:1] if padding else torch.zeros_like(data[:1]), data[:-1]])
    change = data - before
    up = (change >= threshold).to(data.dtype)
    return up - (change <= -threshold).to(data.dtype) if off_spike else up


def to_one_hot(targets: Tensor, num_classes: int) -> Tensor:
    return torch.nn.functional.one_hot(targets, num_classes).float()


def to_one_hot_inverse(one_hot_targets: Tensor) -> Tensor:
    return 1.0 - one_hot_targets


def from_one_hot(one_hot_label: Tensor) -> Tensor:
    return one_hot_label.argmax(-1)


def target_rate_code(
    num_steps: int, first_spike_time: int = 0, rate: float = 1, firing_pattern: str = "regular"
) -> tuple[Tensor, Tensor]:
    """Return a spike train [num_steps] with `rate` spikes per step, and the steps at which it spikes."""
    if firing_pattern != "regular" or not 0 <= rate <= 1:
        raise ValueError(f"target_rate_code: rate must lie in [0, 1] and the pattern be regular, got {rate!r}")
    spikes = torch.zeros(num_steps)
    if rate == 0:
        return spikes, torch.tensor([], dtype=torch.long)
    at = torch.arange(first_spike_time, num_steps, 1.0 / rate).long()
    spikes[at] = 1.0
    return spikes, at
