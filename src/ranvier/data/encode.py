"""Encoders, which turn numbers into spikes.

Encoders in time add a new time axis in front; encoders in space, `angle` and `population`, add a new axis of neurons at
the end.
"""

import math

import torch
from torch import Tensor


def constant(x: Tensor, steps: int) -> Tensor:
    """Repeat the same current at every step: `y[t] = x`.

    x `[B, *features]` -> `[T, B, *features]`, a view of x (stride 0 on the time axis: there is no copy, and plain
    modules before the first neuron run once instead of T times).

    >>> constant(torch.tensor([[0.5, 1.0]]), steps=3).shape
    torch.Size([3, 1, 2])
    """
    _refuse_bad_input("constant", x, steps, unit_range=False)
    return x.expand(steps, *x.shape)


def rate(x: Tensor, steps: int, max_rate: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
    """Draw independent Bernoulli spikes at every step: `P(y[t] = 1) = x * max_rate`.

    x `[B, *features]` in [0, 1] -> `[T, B, *features]` float32 in {0, 1}. `max_rate` in [0, 1] is the probability of a
    spike per step where x is 1. `generator` (on the device of x) makes the draw repeatable. Values outside these ranges
    raise a ValueError.

    >>> rate(torch.tensor([[0.0, 1.0]]), steps=4).mean(0)
    tensor([[0., 1.]])
    """
    _refuse_bad_input("rate", x, steps)
    if not 0.0 <= max_rate <= 1.0:
        raise ValueError(f"rate: max_rate is a chance per step in [0, 1], got {max_rate}")
    chance = (x * max_rate).to(torch.float32)
    draw = torch.rand(steps, *x.shape, generator=generator, device=x.device, dtype=torch.float32)
    # rand is in [0, 1): with "<" probability 0 never fires, and probability 1 always does
    return (draw < chance).to(torch.float32)


def latency(x: Tensor, steps: int, threshold: float = 0.01) -> Tensor:
    """Encode each number as one spike: the larger x, the earlier the spike. It is at step `round((1 - x) * (T - 1))`;
    there is no spike where `x <= threshold`.

    x `[B, *features]` in [0, 1] -> `[T, B, *features]` float32 in {0, 1}. Halves round to the even step.
    Values outside the ranges raise a ValueError.

    >>> latency(torch.tensor([[1.0, 0.5, 0.0]]), steps=3).squeeze(1)
    tensor([[1., 0., 0.],
            [0., 1., 0.],
            [0., 0., 0.]])
    """
    _refuse_bad_input("latency", x, steps)
    step = torch.round((1.0 - x) * (steps - 1)).to(torch.int64)
    return _one_spike(torch.where(x > threshold, step, -1), steps)


def phase(theta: Tensor, steps: int) -> Tensor:
    """Encode each angle as one spike at step `floor((theta + pi) / (2 pi) * T)`, clamped to [0, T - 1].

    theta `[B, *features]` in radians, from -pi to pi -> `[T, B, *features]` float32 in {0, 1}. `phase_of` is the
    inverse.

    >>> phase(torch.tensor([[-3.0, 0.0, 3.0]]), steps=4).argmax(0)
    tensor([[0, 2, 3]])
    """
    _refuse_bad_input("phase", theta, steps, unit_range=False)
    step = torch.floor((theta + math.pi) / (2 * math.pi) * steps).clamp(0, steps - 1).to(torch.int64)
    return _one_spike(step, steps)


def phase_of(spikes: Tensor) -> Tensor:
    """Decode the angle from spikes: `2 pi c / T - pi`, where c is the mean step of the spikes; 0 without a spike.

    spikes `[T, B, *features]` -> `[B, *features]` in [-pi, pi).

    >>> phase_of(phase(torch.tensor([[-1.5, 0.0]]), steps=4))
    tensor([[-1.5708,  0.0000]])
    """
    steps = torch.arange(len(spikes), dtype=spikes.dtype, device=spikes.device).view(-1, *[1] * (spikes.dim() - 1))
    many = spikes.sum(0)
    mean = (steps * spikes).sum(0) / many.clamp(min=1)
    return torch.where(many > 0, 2 * math.pi * mean / len(spikes) - math.pi, 0.0)


def delta(x: Tensor, threshold: float = 0.1) -> Tensor:
    """Encode changes (send on delta): a spike in channel 0 where a signal has risen by `threshold` since the last
    spike, in channel 1 where it has fallen by `threshold`; at most one spike per step. The initial level is the first
    value of the signal.

    x `[T, B, *features]` -> `[T, B, 2, *features]` float32 in {0, 1}: channel 0 up, channel 1 down. `threshold` > 0 in
    units of x. Lichtsteiner, Posch & Delbruck, IEEE JSSC 43, 2008.

    >>> delta(torch.tensor([0.0, 0.2, 0.4, 0.3]).view(4, 1, 1), threshold=0.15).squeeze()
    tensor([[0., 0.],
            [1., 0.],
            [1., 0.],
            [0., 0.]])
    """
    _refuse_bad_input("delta", x, 1, unit_range=False)
    if not 0.0 < threshold < math.inf:
        raise ValueError(f"delta: threshold must be positive, got {threshold}")
    from ranvier.nn.neurons.delta import Delta

    (up, down), _ = Delta(threshold=threshold).scan(x.to(torch.float32), {"level": x[0].to(torch.float32)})
    return torch.stack([up, down], 2)


def level_crossing(x: Tensor, levels: Tensor) -> Tensor:
    """Encode each crossing of fixed levels, upwards or downwards, as a spike; a fast signal may cross several levels in
    one step.

    x `[T, B, *features]` -> `[T, B, 2, *features, L]` float32 in {0, 1}: channel 0 where `x[t-1] < level <= x[t]`,
    channel 1 where `x[t] < level <= x[t-1]`; nothing at the first step. levels `[L]` in units of x; NaN in x (no value)
    gives no spikes. Sayiner, Sorensen & Viswanathan, A level-crossing sampling scheme for A/D conversion, 1996.

    >>> x = torch.tensor([0.0, 0.6, 1.2, 0.1]).view(4, 1, 1)
    >>> level_crossing(x, torch.tensor([0.5, 1.0])).flatten(2)[:, 0]
    tensor([[0., 0., 0., 0.],
            [1., 0., 0., 0.],
            [0., 1., 0., 0.],
            [0., 0., 1., 1.]])
    """
    _refuse_bad_input("level_crossing", x, 1, unit_range=False)
    if not isinstance(levels, Tensor) or levels.dim() != 1 or not len(levels) or not bool(levels.isfinite().all()):
        raise ValueError(f"level_crossing: levels must be finite numbers in a tensor [L], got {levels!r}")
    if x.dim() < 2:
        raise ValueError(f"level_crossing: x must be [T, B, *features], got {list(x.shape)}")
    above = x.unsqueeze(-1) >= levels.to(x)
    there = ~x.isnan().unsqueeze(-1)
    both = there[1:] & there[:-1]
    up, down = above[1:] & ~above[:-1] & both, above[:-1] & ~above[1:] & both
    spikes = torch.zeros(len(x), *above.shape[1:2], 2, *above.shape[2:], dtype=torch.float32, device=x.device)
    spikes[1:] = torch.stack([up, down], 2)
    return spikes


def angle(x: Tensor, neurons: int, low: float, high: float) -> Tensor:
    """Encode each number by `neurons` neurons with places between low and high: the neuron with the largest place <= x
    is 1, all others are 0.

    Places are `low + (high - low) k / (neurons - 1)`; for numbers outside, the first or last neuron is 1. x `[B,
    *features]` -> `[B, *features, neurons]` float32 in {0, 1}; there is no time axis: add it with `constant`, `rate` or
    `latency`.

    >>> angle(torch.tensor([[0.1, 0.9]]), neurons=3, low=0.0, high=1.0)
    tensor([[[1., 0., 0.],
             [0., 1., 0.]]])
    """
    places = _places("angle", x, neurons, low, high)
    index = (torch.bucketize(x.contiguous(), places, right=True) - 1).clamp(0, neurons - 1)
    return torch.nn.functional.one_hot(index, neurons).to(torch.float32)


def population(x: Tensor, neurons: int, low: float, high: float, width: float = 1.0) -> Tensor:
    """Encode each number as the activity of `neurons` overlapping Gaussian receptive fields, evenly spaced from low to
    high.

    `y_k = exp(-(x - place_k)^2 / (2 d^2))` with d = `width` times the distance between two places. x `[B, *features]`
    -> `[B, *features, neurons]` in (0, 1]; there is no time axis: add it with `constant`, `rate` or `latency`. Bohte,
    La Poutré & Kok, IEEE Trans. Neural Networks 13, 2002.

    >>> population(torch.tensor([[0.5]]), neurons=3, low=0.0, high=1.0)
    tensor([[[0.6065, 1.0000, 0.6065]]])
    """
    places = _places("population", x, neurons, low, high)
    if not 0.0 < width < math.inf:
        raise ValueError(f"population: width must be positive, got {width}")
    apart = (high - low) / (neurons - 1) * width
    return torch.exp(-0.5 * ((x.unsqueeze(-1) - places) / apart) ** 2)


def _places(name: str, x: Tensor, neurons: int, low: float, high: float) -> Tensor:
    _refuse_bad_input(name, x, 1, unit_range=False)
    if not isinstance(neurons, int) or neurons < 2:
        raise ValueError(f"{name}: neurons must be a whole number >= 2, got {neurons!r}")
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"{name}: wanted low < high, got {low} and {high}")
    return torch.linspace(low, high, neurons, dtype=x.dtype, device=x.device)


def _one_spike(step: Tensor, steps: int) -> Tensor:
    """Return spikes `[T, B, *features]`, one at each `step` `[B, *features]`; none if the step is not in [0, T - 1]."""
    return (step == torch.arange(steps, device=step.device).view(-1, *[1] * step.ndim)).to(torch.float32)


def _refuse_bad_input(name: str, x: Tensor, steps: int, unit_range: bool = True) -> None:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{name}: x must be a floating-point tensor, got {got}; scale it to [0, 1] first")
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"{name}: steps is the number of steps, a whole number >= 1, got {steps!r}")
    # this form of the condition is also false for NaN, so NaN raises the error
    if unit_range and x.numel() and not bool(((x >= 0) & (x <= 1)).all()):
        low, high = x.min().item(), x.max().item()
        raise ValueError(f"{name}: x must lie in [0, 1], got {low:.4g} to {high:.4g}; divide by the maximum")


# Encoders by name, for recipes and the command line; their arguments are (x, steps, generator).
ENCODINGS = {
    "constant": lambda x, steps, generator=None: constant(x, steps),
    "rate": lambda x, steps, generator=None: rate(x, steps, generator=generator),
    "latency": lambda x, steps, generator=None: latency(x, steps),
}
