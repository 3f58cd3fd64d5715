"""Data: real sets as tensors in memory, and the encoders that turn numbers into spikes."""

from difflib import get_close_matches
from pathlib import Path

from ranvier.data.augment import drop_events, jitter_time, shift
from ranvier.data.boolean import xor, xor_splits
from ranvier.data.encode import ENCODINGS, angle, constant, delta, latency, phase, phase_of, population, rate
from ranvier.data.events import Recordings, nmnist, shd, ssc
from ranvier.data.packed import Packed, shuffler
from ranvier.data.sets import Split, Splits, digits, fashion_mnist, mnist, read_idx, stratify
from ranvier.data.yinyang import yinyang, yinyang_splits

# Sets by name: each takes a folder (or None) and returns Splits.
SETS = {
    "digits": digits, "fashion-mnist": fashion_mnist, "mnist": mnist, "xor": xor_splits, "yinyang": yinyang_splits,
}  # fmt: skip


def load(name: str, folder: str | Path | None = None) -> Splits:
    """The data set of that name, in its three parts. ValueError lists the names there are.

    >>> load("yinyang").test.x.shape
    torch.Size([1000, 4])
    """
    if name not in SETS:
        near = get_close_matches(name, SETS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"no data set {name!r}{hint} There are: {', '.join(SETS)}")
    return SETS[name](folder)


__all__ = [
    "ENCODINGS", "SETS", "Packed", "Recordings", "Split", "Splits", "angle", "constant", "delta", "digits",
    "drop_events", "fashion_mnist", "jitter_time", "latency", "load", "mnist", "nmnist", "phase", "phase_of",
    "population", "rate", "read_idx", "shd", "shift", "shuffler", "ssc", "stratify", "xor", "yinyang",
]  # fmt: skip
