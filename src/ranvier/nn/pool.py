"""Pooling by sums: over the spikes in a window, or over the spikes of a population."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

PADDINGS = ("VALID", "SAME")


def _per_axis(name: str, what: str, value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """Return one whole number for each spatial axis."""
    numbers = (value,) * axes if isinstance(value, int) else tuple(value)
    if len(numbers) != axes or any(not isinstance(n, int) or n < 1 for n in numbers):
        raise ValueError(
            f"{name}: {what} must be a whole number >= 1, or one for each of the {axes} spatial axes, got {value!r}"
        )
    return numbers


def same_padding(size: int, window: int, stride: int) -> tuple[int, int]:
    """Return the numbers of zeros before and after an axis of `size` for which there are ceil(size / stride) windows.

    >>> same_padding(5, window=3, stride=2)
    (1, 1)
    """
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def sum_pool(x: Tensor, window: Sequence[int], stride: Sequence[int], padding: str = "VALID") -> Tensor:
    """Sum over windows of the last axes of x; `window` has one number for each of these axes. The other axes are not
    changed.

    padding "VALID": only windows that fit; "SAME": zeros on both sides, so that there are ceil(n / stride) windows
    along an axis of size n. The gradient of a sum goes to each number in its window. Any number of axes and any dtype
    with sums is allowed.

    >>> import torch
    >>> sum_pool(torch.ones(1, 1, 3, 3), (2, 2), (1, 1)).flatten()
    tensor([4., 4., 4., 4.])
    """
    axes = len(window)
    if padding not in PADDINGS:
        raise ValueError(f"sum_pool: padding must be one of {list(PADDINGS)}, got {padding!r}")
    if x.dim() < axes:
        raise ValueError(f"sum_pool: the window {tuple(window)} needs {axes} axes, x is {tuple(x.shape)}")
    if padding == "SAME":
        sizes = x.shape[x.dim() - axes :]
        around = [same_padding(n, w, s) for n, w, s in zip(sizes, window, stride, strict=True)]
        x = functional.pad(x, [side for pair in reversed(around) for side in pair])
    for k, (w, s) in enumerate(zip(window, stride, strict=True)):
        if w == s == 1:
            continue
        axis = x.dim() - axes + k
        if x.shape[axis] < w:
            raise ValueError(
                f"sum_pool: a window of {w} does not fit axis {axis} of x {tuple(x.shape)}; use padding='SAME'"
            )
        x = x.unfold(axis, w, s).sum(-1)
    return x


class SumPool(nn.Module):
    """Sum over windows: x [..., C, *spatial] -> [..., C, *spatial'].

    Unlike their mean, the sum of spikes is a whole number; neuromorphic chips compute such sums. window and stride
    (default: the window) are whole numbers or one for each spatial axis; `axes` is the number of spatial axes, if
    `window` is one number. padding "VALID" or "SAME" (zeros on both sides; the result has ceil(n / stride) windows).

    >>> import torch, ranvier
    >>> ranvier.SumPool(2)(torch.ones(10, 4, 3, 8, 8)).shape  # [T, B, C, H, W]
    torch.Size([10, 4, 3, 4, 4])
    """

    def __init__(
        self,
        window: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: str = "VALID",
        axes: int | None = None,
    ):
        super().__init__()
        axes = axes or (2 if isinstance(window, int) else len(window))
        self.window = _per_axis("SumPool", "window", window, axes)
        self.stride = self.window if stride is None else _per_axis("SumPool", "stride", stride, axes)
        if padding not in PADDINGS:
            raise ValueError(f"SumPool: padding must be one of {list(PADDINGS)}, got {padding!r}")
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        return sum_pool(x, self.window, self.stride, self.padding)

    def extra_repr(self) -> str:
        return f"{self.window}, stride={self.stride}, padding={self.padding!r}"


class PopulationReadout(nn.Module):
    """A readout in which each class has its own group (population) of neurons: x [..., classes * population] -> [...,
    classes].

    y[c] = sum of x[c * population : (c + 1) * population]. Raises ValueError if the neurons cannot be divided evenly.

    >>> import torch, ranvier
    >>> ranvier.PopulationReadout(2)(torch.tensor([[1.0, 1.0, 1.0, 0.0, 0.0, 1.0]]))
    tensor([[3., 1.]])
    """

    def __init__(self, classes: int):
        super().__init__()
        if not isinstance(classes, int) or classes < 1:
            raise ValueError(f"PopulationReadout: classes must be a whole number >= 1, got {classes!r}")
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        width = x.shape[-1]
        if width % self.classes:
            raise ValueError(
                f"PopulationReadout({self.classes}): the last axis of x {tuple(x.shape)} is not a multiple of "
                f"{self.classes}; give the layer before it classes * population outputs"
            )
        return x.unflatten(-1, (self.classes, width // self.classes)).sum(-1)

    def extra_repr(self) -> str:
        return str(self.classes)
