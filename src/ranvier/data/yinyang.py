"""The Yin-Yang data set: three classes in the plane that no linear classifier can separate.

Kriener, Goeltz and Petrovici, *The Yin-Yang dataset*, NICE 2022 (arXiv:2102.08211).
"""

import numpy as np
import torch

from ranvier.data.sets import Split, Splits

CLASSES = ("yin", "yang", "dot")


def yinyang(
    size: int = 5000,
    seed: int = 42,
    r_small: float = 0.1,
    r_big: float = 0.5,
    dtype: torch.dtype = torch.float32,
) -> Split:
    """Points of the Yin-Yang figure: x `[size, 4]` = (x, y, 1 - x, 1 - y) in [0, 1], labels `[size]` in {0, 1, 2}.

    Drawn exactly as published (NumPy's frozen `RandomState(seed)`, in float64): for each point a class is drawn first,
    then points in the disc of radius `r_big` until one belongs to this class; so the classes are balanced. `r_small` is
    the radius of the two dots; it must satisfy `0 < 2 * r_small < r_big`, otherwise a ValueError is raised. Usual
    parts: 5000 points of seed 42 for training, 1000 of seed 41 for validation, 1000 of seed 40 for testing.

    >>> points = yinyang(1000, seed=40)
    >>> points.labels.bincount()
    tensor([350, 316, 334])
    """
    if not 0.0 < 2 * r_small < r_big:
        raise ValueError(f"yinyang: wanted 0 < 2 * r_small < r_big, got r_small={r_small}, r_big={r_big}")
    if size < 1:
        raise ValueError(f"yinyang: size must be at least 1, got {size}")
    random = np.random.RandomState(seed)
    points, labels = np.empty((size, 4)), np.empty(size, dtype=np.int64)
    for index in range(size):
        goal = random.randint(3)
        while True:
            x, y = random.rand(2) * 2.0 * r_big
            if np.hypot(x - r_big, y - r_big) <= r_big and _label(x, y, r_small, r_big) == goal:
                break
        points[index] = x, y, 1.0 - x, 1.0 - y
        labels[index] = goal
    return Split(torch.from_numpy(points).to(dtype), torch.from_numpy(labels))


def yinyang_splits(folder: str | None = None) -> Splits:
    """Return the usual three parts: 5000 points of seed 42, 1000 of seed 41, 1000 of seed 40; `folder` is not used."""
    return Splits(yinyang(5000, seed=42), yinyang(1000, seed=41), yinyang(1000, seed=40))


def _label(x: float, y: float, r_small: float, r_big: float) -> int:
    right, left = np.hypot(x - 1.5 * r_big, y - r_big), np.hypot(x - 0.5 * r_big, y - r_big)
    if right < r_small or left < r_small:
        return 2
    upper = y > r_big and right > 0.5 * r_big
    return int(right <= r_small or r_small < left <= 0.5 * r_big or upper)
