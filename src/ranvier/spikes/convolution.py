"""A convolution whose cost depends on the number of events.

This file does for convolutions what `product.py` does for linear maps. If few inputs are not zero (these are the
events), only the weights that these inputs multiply are added up; otherwise torch computes the convolution. The share
of events is measured, forward and backward decide separately, and inputs may be spikes or any numbers. If the inputs
are spikes, only their bits are saved for backward. The gradient of the input is computed by torch, because both of its
factors are dense.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ranvier.backends import buffers
from ranvier.backends.autograd import Function, array, whole
from ranvier.backends.buffers import empty, scratch
from ranvier.backends.threads import spread, usable
from ranvier.spikes import bits as spikes_bits
from ranvier.spikes import crossover, product

NARROW = 32  # output channels below which most lanes of a panel would be empty
SHALLOW = 64  # number of inputs in a window below which the dense convolution is fast enough
FORWARD_TILE, BACKWARD_TILE = 256, 512  # pixels whose events are listed at once
Pair = Sequence[int]


class Window(NamedTuple):
    """The sizes of a convolution; each is (height, width)."""

    inputs: tuple[int, int]
    outputs: tuple[int, int]
    taps: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    @property
    def before(self) -> tuple[int, int]:
        """Number of zeros above and to the left of the output gradients in their frame."""
        return (self.taps[0] - 1) // self.stride[0], (self.taps[1] - 1) // self.stride[1]

    @property
    def frame(self) -> tuple[int, int]:
        """Size of the frame of zeros around the output gradients of an image: every tap of every input reads
        inside it.
        """
        sides = zip(self.inputs, self.outputs, self.stride, self.padding, self.before, strict=True)
        rows, columns = (max((n - 1 + p) // s, m - 1) + 1 + z for n, m, s, p, z in sides)
        return rows, columns


def window(x: Pair, weight: Pair, stride: Pair, padding: Pair) -> Window:
    """Return the sizes of a convolution from the shapes of images and weight."""
    given = x[2:], weight[2:], stride, padding
    inputs, taps, stride, padding = ((a, b) for a, b in given)
    high, wide = ((n + 2 * p - k) // s + 1 for n, k, s, p in zip(inputs, taps, stride, padding, strict=True))
    return Window(inputs, (high, wide), taps, stride, padding)


def last(x: Tensor) -> bool:
    """Whether images are channels last in memory, with the strides that the kernels need."""
    return x.stride(1) == 1 and x.stride(3) == x.shape[1] and x.is_contiguous(memory_format=torch.channels_last)


def pixels(x: Tensor) -> Tensor:
    """Return images [N, C, H, W] as pixels [N H W, C], contiguous in memory."""
    return buffers.contiguous(x.permute(0, 2, 3, 1)).view(-1, x.shape[1])


def serves(x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> bool:
    """Whether the event-driven path can be used for images x and a weight."""
    if x.dim() != 4 or x.shape[1] != weight.shape[1] or weight.dtype != x.dtype:
        return False
    if len(weight) < NARROW or weight[0].numel() < SHALLOW or not product.serves(x):
        return False
    sides = zip(x.shape[2:], weight.shape[2:], stride, padding, strict=True)
    return all(s <= k <= n + 2 * p for n, k, s, p in sides)  # each input is in a window, and there are outputs


def look(x: Tensor) -> tuple[Tensor, float, bool]:
    """Return the bits [N H W, words(C)] of images x [N, C, H, W], the share of x that is not zero, and whether the bits
    are exact.

    The bits are empty if a sample of its numbers shows that x is dense, or if x contains numbers other than 0 and 1.
    """
    _, channels, height, width = x.shape
    flat = x.permute(0, 2, 3, 1) if last(x) else x
    if product.far_from_sparse(flat):
        return torch.empty(0, dtype=torch.int64, device="cpu"), 1.0, False
    bits, events, spikes = spikes_bits.packed(flat.reshape(-1, channels if last(x) else height * width))
    if not spikes:
        bits = torch.empty(0, dtype=torch.int64, device="cpu")
    elif not last(x):
        bits = spikes_bits.pixels(bits, channels, height * width)
    return bits, events / x.numel(), spikes


def explain(x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> str:
    """Describe how the convolution of images like x with this weight is computed, and why."""
    if not serves(x, weight, stride, padding):
        least = f"{product.SMALL:,} inputs, {SHALLOW} of them under a window, and {NARROW} outputs"
        return f"dense: events are for float32 on the CPU, {least} or more, and strides that leave no input out"
    share = look(x)[1]
    if share == 1.0:
        return f"dense: more than {crossover.MOST:.0%} of the inputs are not zero"
    seen = window(x.shape, weight.shape, stride, padding)
    times = crossover.estimate(
        "convolution", len(x) * seen.outputs[0] * seen.outputs[1], weight[0].numel(), len(weight), share
    )
    forward, backward = few(share, weight), few_of_gradient(share, weight)
    way = "by events" if forward else "dense, weight gradient by events" if backward else ""
    also = "; weight gradient dense" if forward and not backward else ""
    start = f"numba: {way}" if way else "dense"
    return f"{start}, {share:.1%} of the inputs are not zero ({times}){also}"


def few(share: float, weight: Tensor) -> bool:
    """Whether the event-driven convolution with this weight is faster, if this share of the inputs is not zero."""
    return share < crossover.MOST and share <= crossover.crossover("convolution", weight[0].numel(), len(weight))


def few_of_gradient(share: float, weight: Tensor) -> bool:
    """Whether the event-driven gradient of the weight is faster, if this share of the inputs is not zero."""
    return share < crossover.MOST and share <= crossover.crossover("convolution weight", weight[0].numel(), len(weight))


def convolution(
    x: Tensor, bits: Tensor | None, share: float, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair
) -> Tensor:
    """Convolve images x [N, C, H, W] with a weight [N', C, kh, kw] -> [N, N', H', W'].

    share: the share of x that is not zero. bits: the bits of x; if given, they are saved for backward instead of x.
    """
    return _Convolution.apply(x, bits, share, weight, bias, stride, padding)


class _Convolution(Function):
    """The autograd function of the convolution; it saves the bits of the images, or the images themselves."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, bits: Tensor | None, share: float, weight: Tensor, bias: Tensor | None, stride: Pair,
        padding: Pair,
    ) -> Tensor:  # fmt: skip
        moves = tuple(stride), tuple(padding)
        ctx.moves, ctx.shape, ctx.last = moves, x.shape, last(x)
        ctx.save_for_backward(x if bits is None else bits, weight)
        ctx.share = share
        if not few(share, weight) or not product.finite(weight):
            return functional.conv2d(x, weight, bias, tuple(stride), tuple(padding))
        seen = window(x.shape, weight.shape, *moves)
        out = by_events(pixels(x) if bits is None else bits, len(x), seen, weight, bias)
        y = out.view(len(x), *seen.outputs, len(weight)).permute(0, 3, 1, 2)
        if last(x) or last(weight) or y.is_contiguous():
            return whole(out, y.shape, y.stride())
        return buffers.contiguous(y)

    @staticmethod
    def gradients(ctx: Any, saved: tuple[Tensor, ...], *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        (x, weight), (inward, _, _, weighs, biases, _, _), g = saved, ctx.needs_input_grad, grads[0]
        if g is None:
            return (None,) * 7
        return (
            _input_gradient(ctx, g, weight) if inward else None,
            None,
            None,
            _weight_gradient(ctx, x, g, weight) if weighs else None,
            g.sum((0, 2, 3)) if biases else None,
            None,
            None,
        )


def by_events(x: Tensor, count: int, window: Window, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the event-driven convolution of `count` images: x [N H W, C], numbers or bits, one row per pixel -> [N H'
    W', N'].
    """
    from ranvier.spikes import convolution_kernels

    (width, channels), (rows, columns), high = (window.inputs[1], weight.shape[1]), window.outputs, window.taps[0]
    tile = max(1, FORWARD_TILE // columns)
    out = empty((count * rows * columns, len(weight)), torch.float32)
    base = weight.new_zeros(1, len(weight)) if bias is None else bias.reshape(1, -1).contiguous()
    packed = product.panels(weight.permute(0, 3, 2, 1).flatten(1))
    given = product.as_numpy(x), channels, window, packed.numpy(), array(base), out.numpy()

    def work(lo: int, hi: int) -> None:
        lists = product.lists("listed", tile * width * high, channels)
        ends = scratch("ends", (tile, width + 1), torch.int32).numpy()
        convolution_kernels.forward(lo, hi, *given, *lists, ends, product.edge())

    spread(work, count * rows, tile, len(out) * packed.numel() > 1 << 26)
    return out


def weight_gradient(
    x: Tensor, shape: Sequence[int], g: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int]
) -> Tensor:
    """Return the event-driven gradient of the weight, [N', C, kh, kw], from g [N, N', H', W'] and the images, given as
    numbers or bits with one row per pixel.
    """
    from ranvier.spikes import convolution_kernels

    seen = window(shape, weight.shape, stride, padding)
    channels, (height, width), lanes = shape[1], seen.inputs, convolution_kernels.LANES
    depth, kinds, rows = weight[0].numel(), seen.stride[0] * seen.stride[1], shape[0] * height
    tile = max(1, BACKWARD_TILE * kinds // width)
    parts = usable() if g.numel() * depth > 1 << 26 else 1
    part = max(1, -(-rows // (parts * tile))) * tile  # rows per thread; each thread has its own sum
    out = weight.new_empty(max(1, -(-rows // part)), len(weight), depth)
    inputs = pixels(x) if x.dtype == torch.float32 else x
    given = product.as_numpy(inputs), channels, seen, seen.before, seen.frame, tile, pixels(g).numpy()
    framed = _frame_rows(rows, tile, seen) * seen.frame[1]

    def work(lo: int, hi: int) -> None:
        totals = scratch("totals", (-(-len(weight) // lanes) * depth, lanes), torch.float32).numpy()
        packed = scratch("packed", (framed, lanes), torch.float32).numpy()
        places = scratch("places", (tile * width,), torch.int32).numpy()
        start = scratch("starts", (kinds * channels + 1,), torch.int32).numpy()
        sorted_, listed = (product.lists(name, tile * width, channels) for name in ("sorted", "listed"))
        ends = scratch("ends", (tile * width,), torch.int32).numpy()
        room = totals, packed, places, start, *sorted_, *listed, ends
        convolution_kernels.weight_gradient(lo, hi, *given, out[lo // part].numpy(), *room)

    spread(work, rows, part, parts > 1)
    total = out.sum(0) if len(out) > 1 else out[0]
    return torch.empty_like(weight).copy_(total.unflatten(1, (*seen.taps[::-1], channels)).permute(0, 3, 2, 1))


def _frame_rows(rows: int, tile: int, window: Window) -> int:
    """Return the largest number of rows of the stacked frames that a tile of `tile` rows needs; `rows` is the number of
    image rows.
    """
    first = np.arange(0, rows, tile)
    seen = [
        row // window.inputs[0] * window.frame[0] + (row % window.inputs[0] + window.padding[0]) // window.stride[0]
        for row in (first, np.minimum(first + tile, rows) - 1)
    ]
    return int((seen[1] - seen[0]).max()) + window.before[0] + 1


def _weight_gradient(ctx: Any, x: Tensor, g: Tensor, weight: Tensor) -> Tensor:
    """Compute the gradient of the weight from images x or their bits: event-driven, or by torch if that is faster."""
    if few_of_gradient(ctx.share, weight):
        return weight_gradient(x, ctx.shape, g, weight, *ctx.moves)
    if x.dtype == torch.int64:
        count, channels, height, width = ctx.shape
        x = spikes_bits.unpack(x, channels).view(count, height, width, channels).permute(0, 3, 1, 2)
    others = None, *ctx.moves, (1, 1), False, (0, 0), 1, (False, True, False)
    return torch.ops.aten.convolution_backward(g, x, weight, *others)[1]


def _input_gradient(ctx: Any, g: Tensor, weight: Tensor) -> Tensor:
    """Compute the gradient of the input by torch, which needs only the shape of the input."""
    layout = torch.channels_last if ctx.last else torch.contiguous_format
    like = torch.empty(ctx.shape, dtype=g.dtype, device=g.device, memory_format=layout)
    others = None, *ctx.moves, (1, 1), False, (0, 0), 1, (True, False, False)
    return torch.ops.aten.convolution_backward(g, like, weight, *others)[0]
