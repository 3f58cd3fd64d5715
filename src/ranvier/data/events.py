"""Recordings of spikes: the sets SHD, SSC and N-MNIST, stored in memory at one bit per place and step."""

import math
from collections.abc import Iterable, Iterator, Sequence
from operator import index
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ranvier.data.camera import DamagedFile, read_atis
from ranvier.data.frames import frames
from ranvier.data.heidelberg import Recording, read_shd, read_speakers
from ranvier.data.packed import Packed
from ranvier.data.sets import find, stratify


class Recordings(NamedTuple):
    """The three parts of a set of recordings. Choose settings by the results on `validation`; report the results on
    `test`.
    """

    train: Packed
    validation: Packed
    test: Packed


NMNIST_SIDE, SACCADE = 34, 0.1  # width in pixels; duration of each of the three camera movements in seconds


def read_nmnist(path: str | Path, label: int) -> Recording:
    """Read one file of N-MNIST, like `read_atis`, with its label.

    Places are `(polarity * 34 + y) * 34 + x`. Orchard et al., Converting static image datasets to spiking neuromorphic
    datasets using saccades, Frontiers in Neuroscience 9, 2015.
    """
    events = read_atis(path, (NMNIST_SIDE, NMNIST_SIDE))
    places = (events.polarity * NMNIST_SIDE + events.y) * NMNIST_SIDE + events.x
    return Recording(events.times * 1e-6, places, label)


def shd(
    folder: str | Path | None = None,
    steps: int = 100,
    channels: int = 700,
    duration: float = 1.0,
    validation: float = 0.1,
    name: str = "shd",
    held_out: Sequence[int] = (),
) -> Recordings:
    """Spiking Heidelberg Digits: spoken digits of two languages (20 classes) as spikes of a model cochlea.

    Batches are x `[T, B, channels]`, one bit per spike in memory: the 700 channels are joined to `channels`, and the
    first `duration` seconds are divided into `steps` steps. SHD has no validation set, so one is cut from the training
    recordings: all recordings of the speakers in `held_out`, or else a share `validation` of every class, in which all
    speakers occur. The files `shd_train.h5` and `shd_test.h5` are searched for in `folder`, then in the places listed
    in `fashion_mnist`; otherwise a FileNotFoundError explains how to get them. Cramer et al., The Heidelberg spiking
    data sets, IEEE TNNLS 33, 2022.
    """
    speakers = _numbers(held_out)
    _check(steps, validation)
    if not 1 <= channels <= 700 or not (math.isfinite(duration) and duration > 0):
        raise ValueError(f"{name}: wanted 1 to 700 channels and a duration above 0, got {channels} and {duration}")
    parts = [f"{name}_{part}.h5" for part in (("train", "valid", "test") if name == "ssc" else ("train", "test"))]
    files = find(name, parts, folder)

    def packed(file: Path) -> Packed:
        made = ((frames(r.times, r.places * channels // 700, steps, channels, duration / steps), r.label)
                for r in read_shd(file))  # fmt: skip
        return _packed(made, steps)

    if len(files) == 3:
        return Recordings(*map(packed, files))
    if speakers:
        return Recordings(*_by_speaker(packed(files[0]), files[0], speakers), packed(files[1]))
    return Recordings(*_shared(packed(files[0]), validation), packed(files[1]))


def ssc(folder: str | Path | None = None, steps: int = 100, channels: int = 700, duration: float = 1.0) -> Recordings:
    """Spiking Speech Commands: 35 spoken words as spikes of a model cochlea; like `shd`, but with its own validation
    part.
    """
    return shd(folder, steps, channels, duration, name="ssc")


def nmnist(
    folder: str | Path | None = None, steps: int = 40, validation: float = 0.1, share: float = 1.0
) -> Recordings:
    """N-MNIST: 70,000 handwritten digits, recorded by a moving event camera.

    Batches are x `[T, B, 2, 34, 34]` (polarity, rows, columns), one bit per spike in memory; the first movement, 100
    ms, is divided into `steps` steps. `share`: use only this fraction of the training recordings. The folders
    `Train/0` to `Test/9` are searched for in `folder`, then in the places listed in `data.fashion_mnist`; otherwise a
    FileNotFoundError explains how to get them.
    """
    _check(steps, validation)
    train, test = find("nmnist", ("Train", "Test"), folder)

    def packed(where: Path, share: float = 1.0) -> Packed:
        def made() -> Iterator[tuple[np.ndarray, int]]:
            for digit in range(10):
                files = sorted((where / str(digit)).glob("*.bin"))
                for file in files[: math.ceil(share * len(files))]:
                    r = read_nmnist(file, digit)
                    frame = frames(r.times, r.places, steps, 2 * NMNIST_SIDE**2, SACCADE / steps)
                    yield frame.reshape(steps, 2, NMNIST_SIDE, NMNIST_SIDE), r.label

        return _packed(made(), steps)

    return Recordings(*_shared(packed(train, share), validation), packed(test))


def _check(steps: int, validation: float) -> None:
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be a whole number of steps >= 1, got {steps!r}")
    if not 0.0 <= validation < 1.0:
        raise ValueError(f"validation must be a share of the training set in [0, 1), got {validation!r}")


def _packed(made: Iterable[tuple[np.ndarray, int]], steps: int) -> Packed:
    """Return frames [T, *places] and labels as a `Packed`. Frames are packed one by one, because all unpacked frames
    together would need eight times the memory.
    """
    pairs = [(np.packbits(frame, axis=0), label) for frame, label in made]
    if not pairs:
        raise ValueError("the files contain no recording")
    rows, labels = zip(*pairs, strict=True)
    return Packed.of_bytes(torch.from_numpy(np.stack(rows)), torch.tensor(labels), steps)


def _shared(whole: Packed, validation: float) -> tuple[Packed, Packed]:
    train, held = stratify(whole.labels, (1.0 - validation, validation))
    return whole.part(train), whole.part(held)


def _numbers(held_out: Any) -> list[int]:
    """Return the numbers of speakers as a list."""
    try:
        found = [*held_out]
        if not any(isinstance(s, bool) for s in found):
            return [index(s) for s in found]
    except TypeError:
        pass
    raise TypeError(f"shd: held_out: wanted the numbers of speakers, such as (11,), got {held_out!r}")


def _by_speaker(whole: Packed, path: Path, wanted: Sequence[int]) -> tuple[Packed, Packed]:
    speakers = read_speakers(path)
    known = sorted({*speakers.tolist()})
    if len(speakers) != len(whole):
        raise DamagedFile(path, 0, f"has {len(speakers)} speakers and {len(whole)} labels, wanted equal numbers")
    if len(known) == 1:
        raise ValueError(f"shd: held_out={wanted}: {path} has one speaker only; use validation=0.1 instead")
    if not {*wanted} < {*known}:
        raise ValueError(f"shd: held_out: wanted some of the training speakers {known}, not all, got {wanted}")
    held = torch.from_numpy(np.isin(speakers, wanted))
    return whole.part((~held).nonzero().squeeze(1)), whole.part(held.nonzero().squeeze(1))
