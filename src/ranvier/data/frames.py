"""Convert events to steps: by time or by count, as dense or sparse arrays.

An event has a time in seconds and a place, which is a whole number in 0..width-1.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ranvier.data.camera import Events


def frames(times: np.ndarray, places: np.ndarray, steps: int, width: int, dt: float, count: bool = False) -> np.ndarray:
    """Return an array `[steps, width]` (uint8) that is 1 where a step has at least one event at a place.

    times `[E]` in seconds, places `[E]` in 0..width-1. Steps last dt seconds; events before the first or after the last
    step are left out. With `count=True` the array contains the numbers of events, as float32. A time that is NaN, or a
    place outside, raises a ValueError.

    >>> frames(np.array([0.0, 0.011, 0.012, 0.9]), np.array([0, 1, 1, 0]), steps=2, width=2, dt=0.01)
    array([[1, 0],
           [0, 1]], dtype=uint8)
    """
    _check(times, places, steps, width)
    if not 0.0 < dt < math.inf:
        raise ValueError(f"frames: dt is the length of a step in seconds, above 0, got {dt!r}")
    return _filled(_step(times, dt), places, steps, width, count)


def frames_by_count(times: np.ndarray, places: np.ndarray, steps: int, width: int, count: bool = False) -> np.ndarray:
    """Like `frames`, but with equally many events in every step, in the order of time: of E events, step t contains
    those from `t E // steps` up to `(t + 1) E // steps`.

    >>> frames_by_count(np.array([0.0, 0.1, 0.2, 9.0]), np.array([0, 1, 1, 0]), steps=2, width=2, count=True)
    array([[1., 1.],
           [1., 1.]], dtype=float32)
    """
    _check(times, places, steps, width)
    many = len(places)
    ends = np.arange(1, steps + 1) * many // steps
    rank = np.empty(many, np.int64)
    rank[np.argsort(times, kind="stable")] = np.arange(many)
    return _filled(np.searchsorted(ends, rank, side="right"), places, steps, width, count)


def sparse_frames(
    times: np.ndarray, places: np.ndarray, steps: int, width: int, dt: float, count: bool = False
) -> Tensor:
    """Return the result of `frames` as a sparse tensor `[steps, width]` float32: only nonzero entries need memory.

    >>> sparse_frames(np.array([0.0, 0.011, 0.012]), np.array([0, 1, 1]), steps=2, width=2, dt=0.01).to_dense()
    tensor([[1., 0.],
            [0., 1.]])
    """
    _check(times, places, steps, width)
    if not 0.0 < dt < math.inf:
        raise ValueError(f"sparse_frames: dt is the length of a step in seconds, above 0, got {dt!r}")
    step = _step(times, dt)
    kept = (step >= 0) & (step < steps)
    cells, many = np.unique(step[kept] * width + places[kept], return_counts=True)
    where = torch.from_numpy(np.stack([cells // width, cells % width]))
    values = torch.from_numpy(many if count else np.ones(len(cells))).float()
    return torch.sparse_coo_tensor(where, values, (steps, width), is_coalesced=True, check_invariants=False)


@dataclass(frozen=True)
class ToFrames:
    """Convert the `Events` of a camera to x `[steps, 2, height, width]` float32 (polarity 0: darker, 1: brighter).

    steps: the number of steps; None: as many as the recording needs. dt: the length of a step in seconds, counted from
    the first event; None: every step has equally many events. At least one of the two must be given.
    count: entries are numbers of events instead of 1. shrink: squares with this many pixels per side become one pixel.
    sparse: return a sparse tensor (needs dt). A `ToFrames` can be pickled and sent to the workers of a DataLoader.

    >>> events = Events(np.array([0, 1500]), np.array([0, 3]), np.array([1, 1]), np.array([1, 0]), (2, 4))
    >>> ToFrames(steps=2, dt=1e-3)(events).nonzero().tolist()
    [[0, 1, 1, 0], [1, 0, 1, 3]]
    """

    steps: int | None = None
    dt: float | None = None
    count: bool = False
    shrink: int = 1
    sparse: bool = False

    def __post_init__(self) -> None:
        if self.steps is None and self.dt is None:
            raise ValueError("ToFrames: give steps (their number) or dt (the length of a step in seconds)")
        if self.steps is not None:
            _check_steps(self.steps)
        if self.dt is not None and not 0.0 < self.dt < math.inf:
            raise ValueError(f"ToFrames: dt is the length of a step in seconds, above 0, got {self.dt!r}")
        if not isinstance(self.shrink, int) or self.shrink < 1:
            raise ValueError(f"ToFrames: shrink must be a whole number >= 1, got {self.shrink!r}")
        if self.sparse and self.dt is None:
            raise ValueError("ToFrames: sparse frames need steps of equal length; give dt, their length in seconds")

    def __call__(self, events: Events) -> Tensor:
        high, wide = (-(-n // self.shrink) for n in events.size)
        places = (events.polarity * high + events.y // self.shrink) * wide + events.x // self.shrink
        times = (events.times - (events.times[0] if len(events.times) else 0)) * 1e-6
        width = 2 * high * wide
        steps = self.steps or int(_step(times.max(initial=0.0), self.dt or 1.0)) + 1
        if self.sparse and self.dt is not None:
            flat = sparse_frames(times, places, steps, width, self.dt, self.count).coalesce()
            step, place = flat.indices()
            where = torch.stack([step, place // (high * wide), place // wide % high, place % wide])
            return torch.sparse_coo_tensor(where, flat.values(), (steps, 2, high, wide), check_invariants=False)
        made = (
            frames_by_count(times, places, steps, width, self.count)
            if self.dt is None
            else frames(times, places, steps, width, self.dt, self.count)
        )
        return torch.from_numpy(made).float().view(steps, 2, high, wide)


def _step(times: Any, dt: float) -> Any:
    # 1e-6: an event between two steps belongs to the second one, even if its time was rounded down. clip: times far
    # outside would not fit into an integer.
    return np.clip(np.floor(times / dt + 1e-6), -1, 2**62).astype(np.int64)


def _filled(step: np.ndarray, places: np.ndarray, steps: int, width: int, count: bool) -> np.ndarray:
    kept = (step >= 0) & (step < steps)
    if count:
        many = np.bincount(step[kept] * width + places[kept], minlength=steps * width)
        return many.reshape(steps, width).astype(np.float32)
    made = np.zeros((steps, width), np.uint8)
    made[step[kept], places[kept]] = 1
    return made


def _check_steps(steps: int) -> None:
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be a whole number of steps >= 1, got {steps!r}")


def _check(times: np.ndarray, places: np.ndarray, steps: int, width: int) -> None:
    _check_steps(steps)
    if len(times) != len(places):
        raise ValueError(f"frames: wanted a time and a place for each event, got {len(times)} and {len(places)}")
    if not len(times):
        return
    if not np.isfinite(times).all():
        wrong = int(np.flatnonzero(~np.isfinite(times))[0])
        raise ValueError(f"frames: event {wrong} has the time {times[wrong]}; wanted seconds")
    if places.dtype.kind not in "iu" or places.min() < 0 or places.max() >= width:
        raise ValueError(
            f"frames: places must be whole numbers in 0..{width - 1}, got {places.min()} to {places.max()} "
            f"({places.dtype})"
        )
