"""Files of event cameras: what was written is read, and what is damaged is told by file, offset and reason."""

import pickle
import resource
import struct

import numpy as np
import pytest
from formats import SIZE, WRITERS, aedat3, atis, drawn, evt3

from ranvier import data

READERS = {
    "atis": lambda path: data.read_atis(path, SIZE["atis"]),
    "dat": data.read_dat,
    "aedat2": data.read_aedat2,
    "aedat3": data.read_aedat3,
    "evt2": data.read_evt,
    "evt3": data.read_evt,
}
every_format = pytest.mark.parametrize("kind", WRITERS)


def rows(events):
    columns = (events.times, events.x, events.y, events.polarity)
    return list(zip(*(c.tolist() for c in columns), strict=True))


@every_format
@pytest.mark.parametrize("count", [0, 1, 60])
def test_what_was_written_is_read(tmp_path, kind, count):
    path, found = tmp_path / "file", drawn(kind, count)
    path.write_bytes(WRITERS[kind](found))
    events = READERS[kind](path)
    assert rows(events) == found and events.size == SIZE[kind]
    assert all(c.dtype == np.int64 for c in events[:4])


@every_format
def test_a_cut_file_is_told_by_its_offset(tmp_path, kind):
    path, raw = tmp_path / "cut", WRITERS[kind](drawn(kind))
    path.write_bytes(raw[:-1])
    with pytest.raises(data.DamagedFile, match=r"cut, byte \d+: cut short") as told:
        READERS[kind](path)
    assert told.value.path == path and 0 < told.value.offset < len(raw)
    again = pickle.loads(pickle.dumps(told.value))
    assert str(again) == str(told.value) and again.offset == told.value.offset


@every_format
def test_another_file_is_refused(tmp_path, kind):
    path = tmp_path / "file"
    path.write_bytes(b"a picture of a cat")
    with pytest.raises(data.DamagedFile):
        READERS[kind](path)


def mutated(raw, seed):
    """A file with some bytes changed, lost or doubled."""
    random, raw = np.random.RandomState(seed), bytearray(raw)
    for _ in range(random.randint(1, 4)):
        at, many = random.randint(len(raw)), random.randint(1, 9)
        kind = random.randint(4)
        if kind == 0:
            raw[at : at + many] = random.bytes(min(many, len(raw) - at))
        elif kind == 1:
            del raw[at : at + many]
        elif kind == 2:
            raw[at:at] = raw[at : at + many]
        else:
            raw[at] ^= 1 << random.randint(8)
        if not raw:
            return b""
    return bytes(raw)


def survives(tmp_path, kind, seeds):
    """A mutated file is read whole or refused: never another error, never events outside, never much memory."""
    path, raw = tmp_path / "file", WRITERS[kind](drawn(kind))
    refused = 0
    for seed in seeds:
        path.write_bytes(mutated(raw, seed))
        try:
            events = READERS[kind](path)
        except data.DamagedFile as told:
            assert told.path == path and 0 <= told.offset <= path.stat().st_size, seed
            refused += 1
            continue
        height, width = events.size
        assert len({len(c) for c in events[:4]}) == 1
        assert ((events.x >= 0) & (events.x < width) & (events.y >= 0) & (events.y < height)).all()
        assert np.isin(events.polarity, (0, 1)).all() and (events.times >= 0).all()
    return refused


@every_format
def test_mutated_files(tmp_path, kind):
    assert survives(tmp_path, kind, range(40)) > 5


@pytest.mark.long
@every_format
def test_500_mutated_files(tmp_path, kind):
    survives(tmp_path, kind, range(20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert survives(tmp_path, kind, range(500)) > 100
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_the_clock_of_atis_overflows(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(atis([(100, 1, 2, 0), (0, 0, 240, 0), (50, 3, 4, 1)]))
    assert rows(data.read_atis(path, (180, 240))) == [(100, 1, 2, 0), (50 + 8192, 3, 4, 1)]


def test_a_part_of_aedat3_is_found_by_its_packets(tmp_path):
    path, found = tmp_path / "file", drawn("aedat3", 200)
    path.write_bytes(aedat3(found))
    index = data.aedat.packets(path)
    assert len(index) == 13 and sum(p.number for p in index) == 200
    begin, end = found[70][0], found[120][0]
    assert rows(data.read_aedat3(path, begin, end, index)) == [e for e in found if begin <= e[0] < end]


def test_events_that_are_not_valid_are_left_out(tmp_path):
    path, found = tmp_path / "file", drawn("aedat3", 3)
    raw = bytearray(aedat3(found))
    at = raw.index(b"#!END-HEADER\r\n") + 14 + 28 + 8  # the second event
    raw[at] &= 0xFE
    raw[at - 8 - 4 : at - 8] = struct.pack("<i", 2)
    path.write_bytes(raw)
    assert rows(data.read_aedat3(path)) == [found[0], found[2]]


def test_vectors_and_wraps_of_evt3(tmp_path):
    path = tmp_path / "file"
    head = b"% evt 3.0\n% geometry 640x480\n% end\n"
    words = [
        0x2005,  # an event before any time: left out
        0x8FFF, 0x6FFE, 0x0007, 0x3000 | 1 << 11 | 100,  # time, row 7, vectors of polarity 1 from column 100
        0x4000 | 0b100000000001, 0x5000 | 0b10000010,  # columns 100 and 111; 113 and 119
        0x2000 | 9,  # a single one, polarity 0
        0x8000, 0x2000 | 10,  # the clock begins again
        0x8000, 0x6003, 0x8000, 0x2000 | 11,  # the same upper half again changes nothing
    ]  # fmt: skip
    path.write_bytes(head + np.array(words, "<u2").tobytes())
    early = 0xFFFFFE
    assert rows(data.read_evt(path)) == [
        (early, 100, 7, 1), (early, 111, 7, 1), (early, 113, 7, 1), (early, 119, 7, 1), (early, 9, 7, 0),
        (1 << 24, 10, 7, 0), ((1 << 24) + 3, 11, 7, 0),
    ]  # fmt: skip
    late = [(t, x, y, p) for t, x, y, p in drawn("evt3")]
    path.write_bytes(evt3(late, start=(1 << 24) - 40_000))  # in the middle the clock begins again
    assert [t - (1 << 24) + 40_000 for t, *_ in rows(data.read_evt(path))] == [t for t, *_ in late]
    path.write_bytes(head + np.array([0x8005, 0x8004], "<u2").tobytes())
    with pytest.raises(data.DamagedFile, match="the clock goes back by 4096 us"):
        data.read_evt(path)


def test_what_is_outside_the_sensor_is_told_where(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(atis([(1, 2, 3, 0), (2, 99, 0, 1)]))
    with pytest.raises(data.DamagedFile, match=r"byte 5: an event at column 99, row 0, outside the 34 x 34 pixels"):
        data.read_atis(path, (34, 34))
