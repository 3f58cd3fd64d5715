"""EVT 2.0 and EVT 3.0, the raw files of Prophesee's cameras (and of Metavision).

A file has lines of text that begin with %, then little-endian words; the highest four bits of a word are its type.
Layouts: docs.prophesee.ai, "EVT 2.0 format" and "EVT 3.0 format".
"""

import re
from pathlib import Path

import numpy as np

from ranvier.data.camera import DamagedFile, Events, inside, text_header, whole

CD_OFF, CD_ON, TIME_HIGH, TRIGGER, OTHERS, CONTINUED = 0x0, 0x1, 0x8, 0xA, 0xE, 0xF  # word types of EVT 2.0
EVT2 = (CD_OFF, CD_ON, TIME_HIGH, TRIGGER, OTHERS, CONTINUED)
ADDR_Y, ADDR_X, BASE_X, VECT_12, VECT_8, TIME_LOW = 0x0, 0x2, 0x3, 0x4, 0x5, 0x6  # word types of EVT 3.0
EVT3 = (ADDR_Y, ADDR_X, BASE_X, VECT_12, VECT_8, TIME_LOW, 0x7, TIME_HIGH, TRIGGER, OTHERS, CONTINUED)
WRAP = 1 << 24  # microseconds after which the clock of EVT 3.0 starts again from 0


def read_evt(path: str | Path, size: tuple[int, int] | None = None) -> Events:
    """Read a .raw file in EVT 2.0 or EVT 3.0; the header contains the version.

    size: (height, width), if it is not in the header; (720, 1280) by default. Events before the first time word have no
    time and are left out.
    """
    raw = Path(path).read_bytes()
    lines, start = text_header(path, raw, b"%", last=b"% end")
    said = "\n".join(lines)
    version = re.search(r"evt ?([0-9]\.[0-9])|format EVT([0-9])", said)
    kind = version and (version[1] or version[2])[0]
    if kind not in ("2", "3"):
        raise DamagedFile(path, 0, f"wanted a header that says evt 2.0 or evt 3.0, got {said[:60]!r}")
    geometry = re.search(r"geometry (\d+)x(\d+)", said)
    fields = re.search(r"height=(\d+)", said), re.search(r"width=(\d+)", said)
    if geometry:
        size = int(geometry[2]), int(geometry[1])
    elif fields[0] and fields[1]:
        size = int(fields[0][1]), int(fields[1][1])
    size = size or (720, 1280)
    return _evt2(path, raw, start, size) if kind == "2" else _evt3(path, raw, start, size)


def _known(path: str | Path, kind: np.ndarray, kinds: tuple[int, ...], start: int, wide: int) -> None:
    odd = ~np.isin(kind, kinds)
    if odd.any():
        k = int(odd.argmax())
        raise DamagedFile(path, start + wide * k, f"a word of type {kind[k]:#x}, which the format does not have")


def _last(marks: np.ndarray) -> np.ndarray:
    """Return for every word the index of the last marked word before it, or its own if it is marked; -1 if there is
    none.
    """
    return np.maximum.accumulate(np.where(marks, np.arange(len(marks)), -1)) if len(marks) else np.empty(0, np.int64)


def _evt2(path: str | Path, raw: bytes, start: int, size: tuple[int, int]) -> Events:
    whole(path, raw, start, 4)
    words = np.frombuffer(raw, "<u4", offset=start).astype(np.int64)
    kind = words >> 28
    _known(path, kind, EVT2, start, 4)
    clock = _last(kind == TIME_HIGH)
    at = np.flatnonzero((kind <= CD_ON) & (clock >= 0))
    w, high = words[at], words[clock[at]] & 0xFFFFFFF
    times = high << 6 | w >> 22 & 0x3F
    return inside(path, Events(times, w >> 11 & 0x7FF, w & 0x7FF, kind[at], size), start + 4 * at)


def _evt3(path: str | Path, raw: bytes, start: int, size: tuple[int, int]) -> Events:
    whole(path, raw, start, 2)
    words = np.frombuffer(raw, "<u2", offset=start).astype(np.int64)
    kind, value = words >> 12, words & 0xFFF
    _known(path, kind, EVT3, start, 2)
    row, base = _last(kind == ADDR_Y), _last(kind == BASE_X)
    time, known = _clock(path, kind, value, start)
    ready = known & (row >= 0)
    single = np.flatnonzero((kind == ADDR_X) & ready)
    # a vector of 12 or 8 columns begins at the base column plus the widths of all vectors since that base
    width = np.where(kind == VECT_12, 12, np.where(kind == VECT_8, 8, 0))
    before = np.cumsum(width) - width
    vector = np.flatnonzero((width > 0) & ready & (base >= 0))
    bits = value[vector, None] >> np.arange(12) & 1
    bits[:, 8:] *= (width[vector] == 12)[:, None]
    which, bit = np.nonzero(bits)
    v, b = vector[which], base[vector[which]]
    at = np.concatenate([single, v])
    x = np.concatenate([value[single] & 0x7FF, (value[b] & 0x7FF) + before[v] - before[b] + bit])
    polarity = np.concatenate([value[single] >> 11, value[b] >> 11])
    order = np.argsort(at, kind="stable")
    at, x, polarity = at[order], x[order], polarity[order]
    return inside(path, Events(time[at], x, value[row[at]] & 0x7FF, polarity, size), start + 2 * at)


def _clock(path: str | Path, kind: np.ndarray, value: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the time of every word in microseconds, and False for the words before the first time word, whose time is
    unknown.
    """
    is_high, is_low = kind == TIME_HIGH, kind == TIME_LOW
    marks, highs = np.flatnonzero(is_high), value[is_high]
    back = np.diff(highs, prepend=highs[:1])
    if ((back < 0) & (back > -2048)).any():
        k = int(((back < 0) & (back > -2048)).argmax())
        raise DamagedFile(path, start + 2 * int(marks[k]), f"the clock goes back by {-back[k] << 12} us")
    turns = np.zeros(len(kind), np.int64)
    turns[marks] = back < 0
    new = np.zeros(len(kind), bool)
    new[marks] = np.diff(highs, prepend=-1) != 0
    high, low = _last(is_high), _last(is_low)
    lower = np.where(low > _last(new), value[low], 0)  # a change of the upper bits sets the lower ones to 0
    return np.cumsum(turns) * WRAP + (value[high] << 12 | lower), high >= 0
