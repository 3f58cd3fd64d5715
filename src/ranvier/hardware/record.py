"""Convert recorded events and samples to tensors over steps, and reduce such tensors to scores."""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def steps(runtime: float, dt: float) -> int:
    """Return the number of rows of a record of `runtime` seconds: ceil(runtime / dt) + 1; rounding errors of the
    quotient do not add a row.
    """
    if not (dt > 0 and runtime >= 0):
        raise ValueError(f"wanted dt > 0 and runtime >= 0 in seconds, got {dt!r} and {runtime!r}")
    return math.ceil(runtime / dt * (1.0 - 1e-9)) + 1


def spike_bins(times: Tensor, batch: Tensor, neuron: Tensor, shape: tuple[int, int, int], dt: float) -> Tensor:
    """Return events as a grid of spikes [T, B, N] in {0, 1}. times in seconds, batch and neuron indices, each [events];
    shape (T, B, N).

    The row of an event is round(time / dt); several spikes in one row count as one; events in rows beyond T are
    dropped.

    >>> import torch, ranvier
    >>> where = torch.zeros(3, dtype=torch.long)
    >>> ranvier.hardware.spike_bins(torch.tensor([0.0, 0.9e-6, 1.1e-6]), where, where, (3, 1, 1), dt=1e-6).flatten()
    tensor([1., 1., 0.])
    """
    row = (times.double() / dt).round().long()
    if bool((row < 0).any()):
        raise ValueError("spike_bins: times must be at least 0, got a negative one")
    grid = torch.zeros(shape, dtype=torch.float32, device=times.device)
    kept = row < shape[0]
    grid[row[kept], batch[kept], neuron[kept]] = 1.0
    return grid


def sample_bins(times: Tensor, values: Tensor, steps: int, dt: float, mode: str = "linear") -> Tensor:
    """Resample the samples of a converter to one value per step. times [S] in seconds, increasing; values [S, B, N] ->
    [steps, B, N].

    mode "linear" interpolates; "nearest" uses the closest sample. Before the first and after the last sample, their
    values are repeated.

    >>> import torch, ranvier
    >>> v = torch.tensor([0.0, 2.0]).reshape(2, 1, 1)
    >>> ranvier.hardware.sample_bins(torch.tensor([0.0, 2e-6]), v, 4, dt=1e-6).flatten()
    tensor([0., 1., 2., 2.])
    """
    at = torch.arange(steps, dtype=torch.float64, device=times.device) * dt
    when = times.double()
    after = torch.searchsorted(when, at).clamp(1, max(1, len(when) - 1))
    if len(when) == 1:
        return values.expand(steps, *values.shape[1:]).clone()
    share = ((at - when[after - 1]) / (when[after] - when[after - 1])).clamp(0.0, 1.0)
    if mode not in ("linear", "nearest"):
        raise ValueError(f"sample_bins: mode must be 'linear' or 'nearest', got {mode!r}")
    share = (share if mode == "linear" else share.round()).to(values.dtype).reshape(-1, 1, 1)
    return values[after - 1] * (1 - share) + values[after] * share


def post_process(
    trace: Tensor, *, shift: int = 0, offset: float | Tensor = 0.0, scale: float = 1.0, from_first: bool = False
) -> Tensor:
    """Convert a recorded trace [T, B, N] to the units of the model: shift it in time, then (trace - offset) * scale.

    shift > 0 uses trace[t + shift] and repeats the last value at the end; shift < 0 delays and repeats the first value
    at the start. `from_first` uses the first row of each trace as its offset.
    """
    if abs(shift) >= len(trace) > 0:
        raise ValueError(f"post_process: shift {shift} is not below the {len(trace)} steps of the trace")
    if shift > 0:
        trace = torch.cat([trace[shift:], trace[-1:].expand(shift, *trace.shape[1:])])
    elif shift < 0:
        trace = torch.cat([trace[:1].expand(-shift, *trace.shape[1:]), trace[:shift]])
    return (trace - (trace[:1] if from_first else offset)) * scale


def pixel_times(
    pixels: Tensor, tau: float = 20.0, threshold: float = 0.2, t_max: float = 1.0, epsilon: float = 1e-7
) -> Tensor:
    """Return the time at which a leaky membrane driven by each pixel would reach threshold: tau log(p / (p -
    threshold)), within [0, t_max].
    """
    driven = pixels.clamp(threshold + epsilon, 1e9)
    times = tau * torch.log(driven / (driven - threshold))
    return torch.where(pixels < threshold, torch.full_like(times, t_max), times).clamp(0.0, t_max)


def time_bins(times: Tensor, width: float, size: int) -> Tensor:
    """Return one spike per time: times [*shape] -> int64 [size, *shape], which is 1 in bin trunc(time / width); times
    beyond the last bin are dropped.
    """
    if not (width > 0 and size > 0):
        raise ValueError(f"time_bins: width and size must be above 0, got {width!r} and {size!r}")
    bins = (times / width).to(torch.int64)
    if bool((bins < 0).any()):
        raise ValueError("time_bins: times must be at least 0, got a negative one")
    rows = torch.arange(size, device=times.device).reshape(-1, *[1] * times.dim())
    return (rows == bins).to(torch.int64)


def coordinate_bins(
    values: Tensor, steps: int, early: float, late: float, dt: float, bias: float | None = None
) -> Tensor:
    """Encode values [B, C] in [0, 1] as one spike each between `early` and `late` seconds -> [steps, B, C], or C + 1
    with a bias spike.

    The row is round((early + value (late - early)) / dt); the row of the bias spike is trunc(bias / dt).
    """
    rows = ((early + values * (late - early)) / dt).round().long()
    if bias is not None:
        rows = torch.cat([rows, torch.full((len(values), 1), int(bias / dt), device=values.device)], 1)
    if bool((rows < 0).any()) or bool((rows >= steps).any()):
        raise ValueError(
            f"coordinate_bins: spikes fall on rows {int(rows.min())} to {int(rows.max())}, but there are {steps}; "
            f"choose early, late and bias within steps * dt = {steps * dt:g} s"
        )
    return (torch.arange(steps, device=values.device).reshape(-1, 1, 1) == rows).float()


_DECODERS: dict[str, Callable[[Tensor], Tensor]] = {
    "max": lambda v: v.amax(0),
    "sum": lambda v: v.sum(0),
    "mean": lambda v: v.mean(0),
}


def decode(trace: Tensor, how: str = "max") -> Tensor:
    """Reduce a trace [T, B, N] to scores [B, N] by the "max", "sum" or "mean" over time. Equal maxima share the
    gradient.
    """
    if how not in _DECODERS:
        raise ValueError(f"decode: how must be one of {list(_DECODERS)}, got {how!r}")
    return _DECODERS[how](trace)
