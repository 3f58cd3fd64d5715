"""The products that `crossover.py` times: for each kind one size, computed dense, event-driven with few events, and
event-driven with many events.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ranvier.backends.buffers import scratch
from ranvier.spikes import bits, convolution, dense, product
from ranvier.spikes.crossover import FEW, MANY

Size = tuple[int, int, int]
SLIM: Size = 4096, 128, 16  # rows, inputs and outputs of the products with few outputs
Ways = tuple[Callable[[], object], Callable[[], object], Callable[[], object]]


def _numbers(*shape: int) -> Tensor:
    return torch.ones(shape, dtype=torch.float32, device="cpu")


def _spikes(share: float, rows: int, columns: int) -> Tensor:
    drawn = torch.rand((rows, columns), generator=torch.Generator().manual_seed(0), dtype=torch.float32, device="cpu")
    return (drawn < share).float()


def _linear(size: Size) -> tuple[Size, Ways]:
    rows, columns, width = size
    x, weight, out = _numbers(rows, columns), _numbers(width, columns), _numbers(rows, width)
    base, packed = torch.zeros(1, width, dtype=torch.float32), product.panels(weight, product.slim(width)).clone()

    def events(x: Tensor) -> None:
        product.add_events(x, packed, columns, base, out)

    few, many = (partial(events, bits.packed(_spikes(share, rows, columns)).bits) for share in (FEW, MANY))
    return size, (lambda: dense.multiply(x, weight, None, out), few, many)


def _linear_weight(size: Size) -> tuple[Size, Ways]:
    rows, columns, width = size
    x, g, out = _numbers(rows, columns), _numbers(rows, width), _numbers(width, columns)

    def events(x: Tensor) -> None:
        product.weight_gradient(x, g, columns)

    few, many = (partial(events, bits.packed(_spikes(share, rows, columns)).bits) for share in (FEW, MANY))
    return size, (lambda: dense.multiply(g.t(), x.t(), None, out), few, many)


def _pictures() -> tuple[Size, Tensor, Tensor, Tensor, dict[float, Tensor]]:
    """Return the size, images, a weight, an output gradient, and the bits of images with few and with many spikes."""
    count, channels, side, width = 8, 64, 16, 64  # 64 channels: one full word of bits per pixel
    x, g = _numbers(count, side, side, channels).permute(0, 3, 1, 2), _numbers(count, side, side, width)
    weight = _numbers(width, channels, 3, 3)
    spikes = {s: bits.packed(_spikes(s, count * side * side, channels)).bits for s in (FEW, MANY)}
    return (count * side * side, channels * 9, width), x, weight, g.permute(0, 3, 1, 2), spikes


def _convolution() -> tuple[Size, Ways]:
    size, x, weight, _, spikes = _pictures()
    seen = convolution.window(x.shape, weight.shape, (1, 1), (1, 1))
    few, many = (partial(convolution.by_events, s, len(x), seen, weight, None) for s in spikes.values())
    return size, (lambda: torch.nn.functional.conv2d(x, weight, padding=1), few, many)


def _convolution_weight() -> tuple[Size, Ways]:
    size, x, weight, g, spikes = _pictures()
    one = (1, 1)
    others = None, one, one, one, False, (0, 0), 1, (False, True, False)
    few, many = (partial(convolution.weight_gradient, s, x.shape, g, weight, one, one) for s in spikes.values())
    return size, (lambda: torch.ops.aten.convolution_backward(g, x, weight, *others), few, many)


def _step() -> tuple[Size, Ways]:
    """Return the product of one step of a recurrent layer, for 32 tiles of 8 samples each, as its kernels
    compute it.
    """
    from ranvier.spikes import product_kernels

    rows, width = 256, 256
    x, weight, out = _numbers(rows, width), product.panels(_numbers(width, width)).clone(), _numbers(rows, width)
    given, edge = (width, weight.numpy(), out.numpy(), 1, torch.empty_like(out).numpy()), product.edge()

    def whole() -> None:
        for a in range(0, rows, 8):
            product_kernels.multiply_tile(a, a + 8, x.numpy(), *given, edge)

    def events(x: Tensor) -> None:
        listed, amounts, _, _ = product.tile_scratch(8, width)
        ends = scratch("ends", (8,), torch.int32).numpy()
        for a in range(0, rows, 8):
            product_kernels.list_tile(a, a + 8, x.numpy(), width, listed, amounts, ends)
            product_kernels.sum_tile(a, a + 8, *given, listed, amounts, ends, edge)

    few, many = (partial(events, _spikes(share, rows, width)) for share in (FEW, MANY))
    return (rows, width, width), (whole, few, many)


MEASURES: dict[str, Callable[[], tuple[Size, Ways]]] = {
    "linear": partial(_linear, dense.SIZE),
    "linear slim": partial(_linear, SLIM),
    "linear weight": partial(_linear_weight, dense.SIZE),
    "linear weight slim": partial(_linear_weight, SLIM),
    "convolution": _convolution,
    "convolution weight": _convolution_weight,
    "step": _step,
}
