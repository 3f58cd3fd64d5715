"""The names of `hxtorch.spiking.datasets.yinyang`."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import Dataset

from ranvier.data.yinyang import CLASSES, yinyang


class YinYangDataset(Dataset):
    """The points of `ranvier.data.yinyang`, one by one: (x, y, 1 - x, 1 - y) as a float64 array, and its class.

    transform: called with the array. ValueError unless 2 * r_small < r_big.

    >>> from ranvier.compat.hxtorch.spiking.datasets.yinyang import YinYangDataset
    >>> points = YinYangDataset(size=10, seed=42)
    >>> len(points), points[0][1]
    (10, 2)
    """

    def __init__(
        self, r_small: float = 0.1, r_big: float = 0.5, size: int = 1000, seed: int = 42,
        transform: Callable[[Any], Any] | None = None,
    ):  # fmt: skip
        points = yinyang(size, seed, r_small, r_big, torch.float64)
        self.r_small, self.r_big, self.transform, self.class_names = r_small, r_big, transform, list(CLASSES)
        self._points, self._classes = points.x.numpy(), points.labels.tolist()

    def __len__(self) -> int:
        return len(self._classes)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        point = self._points[index].copy()
        return (self.transform(point) if self.transform else point), self._classes[index]
