"""PySNN's event files: records of bit fields, most significant bit first. Times are in microseconds in the files, and
in ms in the arguments and results of these functions.
"""

from pathlib import Path
from typing import Any

import numpy as np

FORMATS: dict[str, dict[str, int]] = {  # the fields in order, with their number of bits
    "1d": {"x": 16, "p": 1, "t": 23},
    "2d": {"x": 8, "y": 8, "p": 1, "t": 23},
    "3d": {"x": 12, "y": 12, "p": 8, "t": 24},
    "counts": {"n_id": 16, "t_start": 24, "t_end": 24, "n_spikes": 16},
}


class Events:
    """Events with coordinates x and y (y is None in one dimension), polarity or channel p >= 0, and times t in ms."""

    def __init__(self, x_events: Any, y_events: Any, p_events: Any, t_events: Any):
        self.dim = 1 if y_events is None else 2
        self.x, self.p, self.t = np.asarray(x_events), np.asarray(p_events), np.asarray(t_events)
        self.y = None if y_events is None else np.asarray(y_events)
        if len({len(v) for v in (self.x, self.p, self.t, *([] if self.y is None else [self.y]))}) != 1:
            raise ValueError("Events: x, y, p and t must have one entry for each event")
        if len(self.p):
            self.p = self.p - self.p.min()

    def _places(self, sampling_time: float) -> list[np.ndarray]:
        """Return the integer indices (channel, height, width, time) of every event."""
        y = np.zeros_like(self.x) if self.y is None else self.y
        return [np.round(v).astype(int) for v in (self.p, y, self.x, self.t / sampling_time)]

    def to_spike_array(self, sampling_time: float = 1, dim: Any = None) -> np.ndarray:
        """Return an array [channels, height, width, time] (in one dimension [channels, width, time]) with the value
        1 / sampling_time at every event.
        """
        places = self._places(sampling_time)
        if dim is None:
            whole = [int(v.max()) + 1 if len(v) else 1 for v in places]
            dim = whole if self.dim == 2 else (whole[0], *whole[2:])
        frame = np.zeros(dim if self.dim == 2 else (dim[0], 1, *dim[1:]))
        return self.to_spike_tensor(frame, sampling_time).reshape(tuple(dim))

    def to_spike_tensor(self, empty_tensor: Any, sampling_time: float = 1) -> Any:
        """Write 1 / sampling_time into empty_tensor [channels, height, width, time] at every event that lies inside."""
        places = self._places(sampling_time)
        inside = np.all([(v >= 0) & (v < n) for v, n in zip(places, empty_tensor.shape, strict=True)], 0)
        empty_tensor[tuple(v[inside] for v in places)] = 1 / sampling_time
        return empty_tensor


def spike_array_to_events(spike_mat: np.ndarray, sampling_time: float = 1) -> Events:
    """Return the events of an array [channels, height, width, time] or [channels, width, time]."""
    if spike_mat.ndim not in (3, 4):
        raise ValueError(f"spike_array_to_events: wanted 3 or 4 axes, got {spike_mat.ndim}")
    p, *y, x, t = np.argwhere(spike_mat > 0).T
    return Events(x, y[0] if y else None, p, t * sampling_time)


def _read(filename: str | Path, form: str) -> dict[str, np.ndarray]:
    fields = FORMATS[form]
    size = sum(fields.values()) // 8
    raw = np.fromfile(filename, dtype=np.uint8)
    if len(raw) % size:
        raise ValueError(f"{filename}: {len(raw)} bytes cannot be divided into {form} records of {size} bytes")
    bits, found, at = np.unpackbits(raw.reshape(-1, size), axis=1).astype(int), {}, 0
    for name, width in fields.items():
        found[name] = bits[:, at : at + width] @ (1 << np.arange(width - 1, -1, -1))
        at += width
    return found


def _write(filename: str | Path, form: str, values: dict[str, Any]) -> None:
    columns = []
    for name, width in FORMATS[form].items():
        value = np.round(np.asarray(values[name])).astype(int)
        if len(value) and not (value.min() >= 0 and value.max() < 1 << width):
            raise ValueError(f"{form}: {name} must lie in [0, {(1 << width) - 1}], got {value.min()} to {value.max()}")
        columns.append(value[:, None] >> np.arange(width - 1, -1, -1) & 1)
    np.packbits(np.concatenate(columns, 1).astype(np.uint8), axis=1).tofile(filename)


def _encode(filename: str | Path, form: str, TD: Events) -> None:
    if (TD.dim == 1) != (form == "1d"):
        raise ValueError(f"encode_{form}_spikes: the events have {TD.dim} dimensions")
    _write(filename, form, {"x": TD.x, "y": TD.y, "p": TD.p, "t": TD.t * 1000})


def read_1d_spikes(filename: str | Path) -> Events:
    """Read events of 40 bits each: 16 for the place, 1 for the polarity, 23 for the time."""
    f = _read(filename, "1d")
    return Events(f["x"], None, f["p"], f["t"] / 1000)


def encode_1d_spikes(filename: str | Path, TD: Events) -> None:
    """Write a file for `read_1d_spikes`."""
    _encode(filename, "1d", TD)


def read_2d_spikes(filename: str | Path) -> Events:
    """Read events of 40 bits each: 8 for x, 8 for y, 1 for the polarity, 23 for the time, as in N-MNIST."""
    f = _read(filename, "2d")
    return Events(f["x"], f["y"], f["p"], f["t"] / 1000)


def encode_2d_spikes(filename: str | Path, TD: Events) -> None:
    """Write a file for `read_2d_spikes`."""
    _encode(filename, "2d", TD)


def read_3d_spikes(filename: str | Path) -> Events:
    """Read events of 56 bits each: 12 for x, 12 for y, 8 for the channel, 24 for the time."""
    f = _read(filename, "3d")
    return Events(f["x"], f["y"], f["p"], f["t"] / 1000)


def encode_3d_spikes(filename: str | Path, TD: Events) -> None:
    """Write a file for `read_3d_spikes`."""
    _encode(filename, "3d", TD)


def read_1d_num_spikes(filename: str | Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Read records of 80 bits each: 16 for the neuron, 24 for the start, 24 for the end, 16 for the count.

    Returns ids, starts and ends in ms, and counts.
    """
    f = _read(filename, "counts")
    return f["n_id"], f["t_start"] / 1000, f["t_end"] / 1000, f["n_spikes"]


def encode_1d_num_spikes(filename: str | Path, n_id: Any, t_start: Any, t_end: Any, n_spikes: Any) -> None:
    """Write a file for `read_1d_num_spikes`."""
    starts, ends = np.asarray(t_start) * 1000, np.asarray(t_end) * 1000
    _write(filename, "counts", {"n_id": n_id, "t_start": starts, "t_end": ends, "n_spikes": n_spikes})


def show_td(TD: Events, frame_rate: float = 24, pre_compute_frames: bool = True, repeat: bool = False) -> None:
    """Raise ValueError: animations of events are not supported."""
    raise ValueError("show_td: animations are not supported; plot TD.t against TD.x, or frames of TD.to_spike_array()")
