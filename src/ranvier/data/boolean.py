"""The exclusive or of two bits: the smallest task that a single layer cannot solve."""

import numpy as np
import torch

from ranvier.data.sets import Split, Splits


def xor(size: int = 640, seed: int = 0) -> Split:
    """Pairs of bits: x `[size, 2]` of 0 and 1, labels `[size]`: 1 where they differ, else 0.

    The bits are drawn from NumPy's frozen `RandomState(seed)`. A size below 1 raises a ValueError.

    >>> xor(4, seed=3)
    Split(x=tensor([[0., 0.],
            [1., 1.],
            [0., 0.],
            [0., 1.]]), labels=tensor([0, 0, 0, 1]))
    """
    if size < 1:
        raise ValueError(f"xor: size must be at least 1, got {size}")
    bits = torch.from_numpy(np.random.RandomState(seed).randint(0, 2, (size, 2)))
    return Split(bits.float(), (bits[:, 0] != bits[:, 1]).long())


def xor_splits(folder: str | None = None) -> Splits:
    """Return three parts of 160, 160 and 320 pairs. `folder` is not needed."""
    return Splits(xor(160, seed=42), xor(160, seed=41), xor(320, seed=40))
