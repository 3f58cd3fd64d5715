"""Recordings of event cameras, and files with one recording each.

Every reader returns complete `Events` or raises `DamagedFile`, which names the file, the offset and the reason.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np


class Events(NamedTuple):
    """The events of one camera: times `[E]` in microseconds, columns x and rows y `[E]` (0, 0 is top left), polarity
    `[E]` (1: brighter, 0: darker), all int64; size: (height, width) in pixels."""

    times: np.ndarray
    x: np.ndarray
    y: np.ndarray
    polarity: np.ndarray
    size: tuple[int, int]


class DamagedFile(ValueError):
    """A file does not follow its format. Attributes: `path`, `offset` of the fault in bytes, `reason`."""

    def __init__(self, path: str | Path, offset: int, reason: str):
        super().__init__(f"{path}, byte {offset}: {reason}")
        self.path, self.offset, self.reason = Path(path), offset, reason

    def __reduce__(self) -> tuple:  # so a worker of a DataLoader can send the error to the main process
        return DamagedFile, (self.path, self.offset, self.reason)


MOST_HEADER = 1 << 16  # a longer header is an error


def text_header(path: str | Path, raw: bytes, mark: bytes, last: bytes | None = None) -> tuple[list[str], int]:
    """Return the lines at the start of a file that begin with `mark`, up to and including the line `last`, and the
    offset of the rest.
    """
    lines, at = [], 0
    while raw[at : at + 1] == mark:
        end = raw.find(b"\n", at, at + MOST_HEADER)
        if end < 0 or at > MOST_HEADER:
            raise DamagedFile(path, at, "a line of the header does not end")
        lines.append(raw[at:end].decode("latin-1").rstrip("\r"))
        at = end + 1
        if last is not None and lines[-1].encode("latin-1").startswith(last):
            break
    return lines, at


def whole(path: str | Path, raw: bytes, start: int, size: int) -> None:
    """Raise an error if the file ends in the middle of an event; an event has `size` bytes."""
    if left := (len(raw) - start) % size:
        raise DamagedFile(path, len(raw) - left, f"cut short: {left} bytes are left, an event has {size}")


def inside(path: str | Path, events: Events, offsets: np.ndarray) -> Events:
    """Return the events if all of them are on the sensor; `offsets` [E]: the position of each in the file."""
    height, width = events.size
    off = (events.x < 0) | (events.x >= width) | (events.y < 0) | (events.y >= height)
    if off.any():
        k = int(off.argmax())
        where = f"an event at column {events.x[k]}, row {events.y[k]}, outside the {width} x {height} pixels"
        raise DamagedFile(path, int(offsets[k]), where)
    return events


def read_atis(path: str | Path, size: tuple[int, int]) -> Events:
    """Read a file of N-MNIST (34, 34) or N-Caltech101 (180, 240): five bytes per event, which are x, y, one bit of
    polarity and 23 bits of microseconds. An entry with y = 240 is not an event; it means that the clock advances by
    2^13 us.

    Orchard et al., Converting static image datasets to spiking neuromorphic datasets using saccades, Frontiers in
    Neuroscience 9, 2015.
    """
    raw = Path(path).read_bytes()
    whole(path, raw, 0, 5)
    x, y, high, middle, low = np.frombuffer(raw, np.uint8).reshape(-1, 5).astype(np.int64).T
    further = y == 240
    times = ((high & 0x7F) << 16 | middle << 8 | low) + (further.cumsum() << 13)
    kept = np.flatnonzero(~further)
    return inside(path, Events(times[kept], x[kept], y[kept], high[kept] >> 7, size), 5 * kept)


def read_dat(path: str | Path, size: tuple[int, int] | None = None) -> Events:
    """Read a .dat file of Prophesee (N-CARS; change detection events): lines of text that begin with %, two bytes of
    type and size, then eight bytes per event: 32 bits of microseconds, 14 bits of x, 14 bits of y, 4 bits of polarity.

    size: (height, width), if it is not in the header; by default (240, 304), that of the first sensor.
    """
    raw = Path(path).read_bytes()
    lines, start = text_header(path, raw, b"%")
    kind = raw[start : start + 2]
    if len(kind) < 2 or kind[0] not in (0x00, 0x0C) or kind[1] != 8:
        raise DamagedFile(path, start, f"wanted the type 0 or 12 and the size 8 of events, got {list(kind)}")
    whole(path, raw, start + 2, 8)
    said = {words[1].lower(): words[2] for words in map(str.split, lines) if len(words) == 3}
    if "height" in said and "width" in said:
        if not (said["height"].isdecimal() and said["width"].isdecimal()):
            raise DamagedFile(path, 0, f"the header gives a size of {said['width']!r} x {said['height']!r} pixels")
        size = int(said["height"]), int(said["width"])
    times, address = np.frombuffer(raw, "<u4", offset=start + 2).reshape(-1, 2).astype(np.int64).T
    x, y, polarity = address & 0x3FFF, address >> 14 & 0x3FFF, address >> 28
    if (polarity > 1).any():
        k = int((polarity > 1).argmax())
        raise DamagedFile(path, start + 2 + 8 * k, f"a polarity of {polarity[k]}, wanted 0 or 1")
    offsets = start + 2 + 8 * np.arange(len(times))
    return inside(path, Events(times, x, y, polarity, size or (240, 304)), offsets)
