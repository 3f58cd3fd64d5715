"""From numbers to spikes: what a network is shown, tick by tick. Every encoder puts a new time axis in front."""

import torch
from torch import Tensor


def constant(x: Tensor, steps: int) -> Tensor:
    """The same current at every tick: `y[t] = x`.

    x `[B, *features]` -> `[T, B, *features]`, a view of x (stride 0 on time: no copy is made, and plain modules before
    the first neuron see it once instead of T times).

    >>> constant(torch.tensor([[0.5, 1.0]]), steps=3).shape
    torch.Size([3, 1, 2])
    """
    _refuse_bad_input("constant", x, steps, unit_range=False)
    return x.expand(steps, *x.shape)


def rate(x: Tensor, steps: int, max_rate: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
    """Bernoulli spikes, drawn anew at every tick: `P(y[t] = 1) = x * max_rate`.

    x `[B, *features]` in [0, 1] -> `[T, B, *features]` float32 in {0, 1}. `max_rate` in [0, 1] is the chance of a spike
    per tick where x is 1. `generator` (on x's device) makes the draw repeatable. ValueError outside these ranges.

    >>> rate(torch.tensor([[0.0, 1.0]]), steps=4).mean(0)
    tensor([[0., 1.]])
    """
    _refuse_bad_input("rate", x, steps)
    if not 0.0 <= max_rate <= 1.0:
        raise ValueError(f"rate: max_rate is a chance per tick in [0, 1], got {max_rate}")
    chance = (x * max_rate).to(torch.float32)
    draw = torch.rand(steps, *x.shape, generator=generator, device=x.device, dtype=torch.float32)
    # rand is in [0, 1): "<" fires never at chance 0 and always at chance 1
    return (draw < chance).to(torch.float32)


def latency(x: Tensor, steps: int, threshold: float = 0.01) -> Tensor:
    """One spike each, the earlier the larger x: at tick `round((1 - x) * (T - 1))`, none where `x <= threshold`.

    x `[B, *features]` in [0, 1] -> `[T, B, *features]` float32 in {0, 1}. Halves round to the even tick.
    ValueError outside the ranges.

    >>> latency(torch.tensor([[1.0, 0.5, 0.0]]), steps=3).squeeze(1)
    tensor([[1., 0., 0.],
            [0., 1., 0.],
            [0., 0., 0.]])
    """
    _refuse_bad_input("latency", x, steps)
    tick = torch.round((1.0 - x) * (steps - 1)).to(torch.int64)
    ticks = torch.arange(steps, device=x.device).view(-1, *[1] * x.ndim)
    return ((tick == ticks) & (x > threshold)).to(torch.float32)


def _refuse_bad_input(name: str, x: Tensor, steps: int, unit_range: bool = True) -> None:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{name}: x must be a floating-point tensor, got {got}; scale it to [0, 1] first")
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"{name}: steps is the number of ticks, a whole number >= 1, got {steps!r}")
    # written so that NaN fails too
    if unit_range and x.numel() and not bool(((x >= 0) & (x <= 1)).all()):
        low, high = x.min().item(), x.max().item()
        raise ValueError(f"{name}: x must lie in [0, 1], got {low:.4g} to {high:.4g}; divide by the maximum")


# By name, for recipes and the command line; each takes (x, steps, generator).
ENCODINGS = {
    "constant": lambda x, steps, generator=None: constant(x, steps),
    "rate": lambda x, steps, generator=None: rate(x, steps, generator=generator),
    "latency": lambda x, steps, generator=None: latency(x, steps),
}
