"""AEDAT, the files of iniLabs' event cameras: version 2 (CIFAR10-DVS) and version 3.1 (DVS128 Gesture)."""

import struct
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ranvier.data.camera import MOST_HEADER, DamagedFile, Events, inside, text_header, whole

SIZE = (128, 128)  # height and width of the DVS128 camera in pixels


def read_aedat2(path: str | Path) -> Events:
    """Read a recording of a DVS128 in AEDAT 2.0 (CIFAR10-DVS): header lines that begin with #, then eight bytes per
    event, big-endian: 32 bits of address, 32 bits of microseconds.

    In the address, bit 0 is 0 for brighter, bits 1 to 7 are 127 - x, bits 8 to 14 are 127 - y (rows from the top).
    Entries with bit 15 set are not events of the sensor and are left out. Li et al., CIFAR10-DVS, Frontiers in
    Neuroscience 11, 2017; the format: inivation.gitlab.io/inivation-docs, "AEDAT file formats".
    """
    raw = Path(path).read_bytes()
    lines, start = text_header(path, raw, b"#")
    if not lines or not lines[0].startswith("#!AER-DAT2"):
        raise DamagedFile(path, 0, f"wanted #!AER-DAT2.0 at the beginning, got {raw[:12]!r}")
    whole(path, raw, start, 8)
    address, times = np.frombuffer(raw, ">u4", offset=start).reshape(-1, 2).astype(np.int64).T
    offsets = start + 8 * np.arange(len(times))
    if (address >> 16).any():
        k = int((address >> 16).astype(bool).argmax())
        raise DamagedFile(path, int(offsets[k]), f"the address {address[k]:#x}, wanted 16 bits of a DVS128")
    kept = np.flatnonzero(address >> 15 == 0)
    a = address[kept]
    return inside(
        path, Events(times[kept], 127 - (a >> 1 & 0x7F), 127 - (a >> 8 & 0x7F), 1 - (a & 1), SIZE), offsets[kept]
    )


POLARITY = 1  # the type of packets that contain changes of brightness
PACKET = struct.Struct("<hhiiiiii")  # type, source, size, offset of the time, overflow, capacity, number, valid


class Packet(NamedTuple):
    """A packet of AEDAT 3.1: the offset of its events in the file, their number, the time of the first event in
    microseconds, and `overflow`, the bits above the lowest 31 of its times.
    """

    offset: int
    number: int
    first: int
    overflow: int


def packets(path: str | Path) -> list[Packet]:
    """Return the packets of brightness changes in an AEDAT 3.1 file, in order; only their headers are read.

    All packets of the file are checked: an error is raised if the file ends in the middle of a packet, or if a packet
    is inconsistent.
    """
    return list(_walk(path))


def _walk(path: str | Path) -> Iterator[Packet]:
    with open(path, "rb") as file:
        lines, at = text_header(path, file.read(MOST_HEADER), b"#", last=b"#!END-HEADER")
        if not lines or not lines[0].startswith("#!AER-DAT3.1"):
            raise DamagedFile(path, 0, f"wanted #!AER-DAT3.1 at the beginning, got {''.join(lines[:1])[:20]!r}")
        if not lines[-1].startswith("#!END-HEADER"):
            raise DamagedFile(path, at, "the header does not end in #!END-HEADER")
        end = file.seek(0, 2)
        while at < end:
            file.seek(at)
            head = file.read(PACKET.size)
            if len(head) < PACKET.size:
                raise DamagedFile(path, at, f"cut short: {len(head)} bytes of a packet's head of {PACKET.size}")
            kind, _, size, time_at, overflow, capacity, number, valid = PACKET.unpack(head)
            body = at + PACKET.size
            if size <= 0 or not 0 <= valid <= number <= capacity or overflow < 0:
                raise DamagedFile(
                    path, at, f"a packet of {number} events ({valid} valid) of {capacity}, {size} bytes each"
                )
            if body + size * number > end:
                raise DamagedFile(path, at, f"cut short: a packet of {size * number} bytes, {end - body} are left")
            if kind == POLARITY:
                if (size, time_at) != (8, 4):
                    raise DamagedFile(path, at, f"events of {size} bytes, time at {time_at}; wanted 8 and 4")
                if number:
                    first = int.from_bytes(file.read(8)[4:], "little")
                    yield Packet(body, number, first | overflow << 31, overflow)
            at = body + size * number


def read_aedat3(path: str | Path, begin: int = 0, end: int | None = None, index: list[Packet] | None = None) -> Events:
    """Read a recording of a DVS128 in AEDAT 3.1 (DVS128 Gesture), from `begin` up to but not including `end`, in
    microseconds.

    index: the result of `packets`; with it, a part is read without a search through the whole file. Each event is
    32 bits (bit 0: valid, bit 1: brighter, bits 2 to 16: y, bits 17 to 31: x) and 31 bits of microseconds,
    little-endian.
    """
    index = packets(path) if index is None else index
    from_ = max(bisect_right([p.first for p in index], begin) - 1, 0)
    parts = []
    with open(path, "rb") as file:
        for packet in index[from_:]:
            if end is not None and packet.first >= end:
                break
            file.seek(packet.offset)
            raw = file.read(8 * packet.number)
            whole(path, raw + b"-" * (8 * packet.number - len(raw)), 0, 8)
            data, times = np.frombuffer(raw, "<u4").reshape(-1, 2).astype(np.int64).T
            offsets = packet.offset + 8 * np.arange(packet.number)
            if (times >> 31).any():
                raise DamagedFile(path, int(offsets[int((times >> 31).argmax())]), "a time below 0")
            kept = np.flatnonzero(data & 1)
            parts.append((data[kept], times[kept] | packet.overflow << 31, offsets[kept]))
    none = np.empty(0, np.int64)
    data, times, offsets = (
        (np.concatenate([none, *column]) for column in zip(*parts, strict=True)) if parts else (none,) * 3
    )
    within = np.flatnonzero((times >= begin) & (times < (end if end is not None else 2**62)))
    data = data[within]
    return inside(path, Events(times[within], data >> 17, data >> 2 & 0x7FFF, data >> 1 & 1, SIZE), offsets[within])
