"""The files of the Heidelberg spiking data sets, SHD and SSC (HDF5)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ranvier.data.camera import DamagedFile
from ranvier.extras import needed


class Recording(NamedTuple):
    """One recording: times `[E]` in seconds, places `[E]` (whole numbers), and its label."""

    times: np.ndarray
    places: np.ndarray
    label: int


def read_shd(path: str | Path) -> Iterator[Recording]:
    """Read the recordings of an SHD or SSC file (HDF5: spikes/times in seconds, spikes/units in 0..699, labels)."""
    with needed("a file of SHD or SSC"):
        import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as problem:
        raise DamagedFile(path, 0, f"not an HDF5 file ({problem}); if it ends in .gz, gunzip it first") from problem
    with file:
        try:
            times, units, labels = (file[name] for name in ("spikes/times", "spikes/units", "labels"))
            counts = len(times), len(units), len(labels)  # type: ignore[arg-type]
        except (KeyError, TypeError, AttributeError, OSError, RuntimeError, ValueError) as problem:
            raise DamagedFile(path, 0, f"wanted spikes/times, spikes/units and labels: {problem}") from problem
        if counts[0] > Path(path).stat().st_size:
            raise DamagedFile(path, 0, f"its header lists {counts[0]:,} recordings, more than the file has bytes")
        if len({*counts}) > 1:
            raise DamagedFile(path, 0, "has {} times, {} units and {} labels, wanted equal numbers".format(*counts))
        for k in range(counts[0]):
            yield _spoken(path, k, times, units, labels)  # type: ignore[index]


def _spoken(path: str | Path, k: int, times: Any, units: Any, labels: Any) -> Recording:
    """Check and return recording k of an open SHD file."""
    try:
        t, u, label = times[k].astype(np.float64), units[k].astype(np.int64), int(labels[k])
    except (AttributeError, TypeError, ValueError, OSError, RuntimeError, OverflowError) as problem:
        raise DamagedFile(path, 0, f"recording {k} cannot be read: {problem}") from problem
    if t.shape != u.shape or t.ndim != 1:
        raise DamagedFile(
            path, 0, f"recording {k} has times {t.shape} and units {u.shape}, wanted one of each per spike"
        )
    if not (np.isfinite(t) & (t >= 0)).all():
        wrong = t[~(np.isfinite(t) & (t >= 0))][0]
        raise DamagedFile(path, 0, f"recording {k} has a spike at {wrong} s, wanted a time from 0 on")
    if len(u) and not 0 <= u.min() <= u.max() < 700:
        raise DamagedFile(path, 0, f"recording {k} has units {u.min()} to {u.max()}, wanted 0 to 699")
    return Recording(t, u, label)


def read_speakers(path: str | Path) -> np.ndarray:
    """Return the speaker of each recording `[N]` of an SHD file (extra/speaker)."""
    with needed("a file of SHD"):
        import h5py

    try:
        with h5py.File(path, "r") as file:
            column: Any = file["extra/speaker"]
            kind, shape = column.dtype, column.shape
            speakers = column[: Path(path).stat().st_size]  # no more than the file can hold
    except (KeyError, TypeError, ValueError, OSError, RuntimeError) as problem:
        raise DamagedFile(path, 0, f"wanted extra/speaker, the speaker of each recording: {problem}") from problem
    if kind.kind not in "iu" or len(shape) != 1:
        raise DamagedFile(path, 0, f"extra/speaker is {kind} {[*shape]}, wanted one whole number per recording")
    return speakers.astype(np.int64)
