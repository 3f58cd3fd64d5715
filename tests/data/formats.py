"""Small files of the real formats, written word by word as their makers describe them."""

import struct

import numpy as np

SIZE = {"atis": (34, 34), "dat": (100, 120), "aedat2": (128, 128), "aedat3": (128, 128), "evt2": (480, 640),
        "evt3": (480, 640)}  # fmt: skip


def drawn(kind, count=60, seed=0):
    """Events [(microseconds, x, y, polarity)] in the order of time, for the sensor of a format."""
    random, (height, width) = np.random.RandomState(seed), SIZE[kind]
    times = np.sort(random.randint(0, 90_000, count))
    rows = zip(times, random.randint(0, width, count), random.randint(0, height, count), random.randint(0, 2, count),
               strict=True)  # fmt: skip
    return [tuple(map(int, row)) for row in rows]


def atis(found):
    """N-MNIST, N-Caltech101: 13 bits of the clock of 23 overflow now and then, which a row of 240 says."""
    return bytes(b for t, x, y, p in found for b in (x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255))


def dat(found, height=100, width=120):
    head = f"% Data file containing CD events.\n% Version 2\n% Height {height}\n% Width {width}\n".encode()
    return head + bytes([0x0C, 8]) + b"".join(struct.pack("<II", t, x | y << 14 | p << 28) for t, x, y, p in found)


def aedat2(found):
    head = b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n"
    return head + b"".join(struct.pack(">II", (127 - y) << 8 | (127 - x) << 1 | (1 - p), t) for t, x, y, p in found)


def aedat3(found, each=16):
    """Packets of `each` events, and one of another type between them."""
    out = [b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"]
    for k in range(0, len(found), each):
        part = found[k : k + each]
        out.append(struct.pack("<hhiiiiii", 1, 1, 8, 4, 0, len(part), len(part), len(part)))
        out += [struct.pack("<Ii", x << 17 | y << 2 | p << 1 | 1, t) for t, x, y, p in part]
        out.append(struct.pack("<hhiiiiii", 0, 1, 8, 4, 0, 1, 1, 1) + struct.pack("<Ii", 1, part[-1][0]))
    return b"".join(out)


def evt2(found):
    words, high = [], -1
    for t, x, y, p in found:
        if t >> 6 != high:
            high = t >> 6
            words.append(0x8 << 28 | high)
        words.append(p << 28 | (t & 63) << 22 | x << 11 | y)
        words.append(0xA << 28 | 1)  # a trigger
    head = b"% evt 2.0\n% geometry 640x480\n% integrator_name Prophesee\n% end\n"
    return head + np.array(words, "<u4").tobytes()


def evt3(found, start=0):
    """Every event by itself; what was written last is not said again. `start`: added to the clock."""
    words, row, high, low = [], -1, -1, -1
    for t, x, y, p in found:
        t += start
        if t >> 12 != high:
            high, low = t >> 12, 0
            words.append(0x8 << 12 | high & 0xFFF)
        if t & 0xFFF != low:
            low = t & 0xFFF
            words.append(0x6 << 12 | low)
        if y != row:
            row = y
            words.append(row)
        words.append(0x2 << 12 | p << 11 | x)
    head = b"% evt 3.0\n% format EVT3;height=480;width=640\n% end\n"
    return head + np.array(words, "<u2").tobytes()


WRITERS = {"atis": atis, "dat": dat, "aedat2": aedat2, "aedat3": aedat3, "evt2": evt2, "evt3": evt3}
