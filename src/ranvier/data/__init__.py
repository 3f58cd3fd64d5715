"""Data: real data sets as tensors in memory, and the encoders that turn numbers into spikes."""

from difflib import get_close_matches
from pathlib import Path

from ranvier.data.aedat import read_aedat2, read_aedat3
from ranvier.data.augment import drop_events, jitter_time, shift
from ranvier.data.boolean import xor, xor_splits
from ranvier.data.camera import DamagedFile, Events, read_atis, read_dat
from ranvier.data.collate import Sample, VariableSample, collate, pad
from ranvier.data.encode import (
    ENCODINGS,
    angle,
    constant,
    delta,
    latency,
    level_crossing,
    phase,
    phase_of,
    population,
    rate,
)
from ranvier.data.events import Recordings, nmnist, shd, ssc
from ranvier.data.evt import read_evt
from ranvier.data.files import Datasets, Files, cifar10_dvs, dvs_gesture, n_caltech101, n_cars
from ranvier.data.frames import ToFrames, frames, frames_by_count, sparse_frames
from ranvier.data.packed import Packed, shuffler
from ranvier.data.sets import Split, Splits, digits, fashion_mnist, mnist, read_idx, stratify
from ranvier.data.signals import (
    find_source,
    japanese_vowels,
    permuted_mnist,
    plaid,
    read_ts,
    sequential_mnist,
    smartwatch,
    spoken_digits,
)
from ranvier.data.yinyang import yinyang, yinyang_splits

# Data sets by name. Each function has one argument, a folder or None, and returns Splits.
SETS = {
    "digits": digits, "fashion-mnist": fashion_mnist, "mnist": mnist, "xor": xor_splits, "yinyang": yinyang_splits,
    "spoken-digits": spoken_digits, "japanese-vowels": japanese_vowels, "smartwatch": smartwatch, "plaid": plaid,
    "sequential-mnist": sequential_mnist, "permuted-mnist": permuted_mnist,
}  # fmt: skip


def load(name: str, folder: str | Path | None = None) -> Splits:
    """Return the data set with that name, in its three parts. For an unknown name, a ValueError lists the names.

    >>> load("yinyang").test.x.shape
    torch.Size([1000, 4])
    """
    if name not in SETS:
        near = get_close_matches(name, SETS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ValueError(f"no data set {name!r}{hint} There are: {', '.join(SETS)}")
    return SETS[name](folder)


__all__ = [
    "ENCODINGS",
    "SETS",
    "DamagedFile",
    "Datasets",
    "Events",
    "Files",
    "Packed",
    "Recordings",
    "Sample",
    "Split",
    "Splits",
    "ToFrames",
    "VariableSample",
    "angle",
    "cifar10_dvs",
    "collate",
    "constant",
    "delta",
    "digits",
    "drop_events",
    "dvs_gesture",
    "fashion_mnist",
    "find_source",
    "frames",
    "frames_by_count",
    "japanese_vowels",
    "jitter_time",
    "latency",
    "level_crossing",
    "load",
    "mnist",
    "n_caltech101",
    "n_cars",
    "nmnist",
    "pad",
    "permuted_mnist",
    "phase",
    "phase_of",
    "plaid",
    "population",
    "rate",
    "read_aedat2",
    "read_aedat3",
    "read_atis",
    "read_dat",
    "read_evt",
    "read_idx",
    "read_ts",
    "sequential_mnist",
    "shd",
    "shift",
    "shuffler",
    "smartwatch",
    "sparse_frames",
    "spoken_digits",
    "ssc",
    "stratify",
    "xor",
    "yinyang",
]  # fmt: skip
