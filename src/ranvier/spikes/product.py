"""A linear map whose cost depends on the number of events.

If few inputs are not zero (these are the events), only their columns of the weight are added up; otherwise the dense
product is computed. The share of events is measured, and forward and backward decide separately. Inputs may be spikes
or any numbers: only zeros are skipped, so results equal those of the dense product except for rounding, since the order
of the sums differs. If the inputs are spikes, only their bits are saved for backward. The density of the output
gradient is measured too. If most of it is zero, as after a surrogate derivative with compact support, the gradients of
input and weight are computed from its nonzero numbers only.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ranvier.backends.autograd import Function, array
from ranvier.backends.buffers import empty, room, scratch
from ranvier.backends.threads import spread, usable
from ranvier.spikes import bits as spikes_bits
from ranvier.spikes import crossover, dense

SAMPLE = 2048  # size of the sample that shows whether an input is dense
SMALL = 1 << 16  # number of inputs below which the product is dense, without counting events
FORWARD_TILE, BACKWARD_TILE = 256, 512  # rows whose events are listed at once
WORTH = 1 << 18  # from this many inputs on, several threads share the work
_INTEGER, _FLOAT = np.dtype(np.int32), np.dtype(np.float32)
UNPACKED = 1 << 18  # bits that are unpacked at once: a megabyte of numbers
UNPACKED_ROWS = 2048  # fewest rows that are unpacked at once


def serves(x: Tensor) -> bool:
    """Whether the event-driven path can be used for an input like this one."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and x.numel() >= SMALL


def _sample(x: Tensor) -> Tensor:
    step = max(1, x.numel() // SAMPLE)
    if x.is_contiguous():
        return x.view(-1)[::step]
    return x[torch.unravel_index(torch.arange(0, x.numel(), step, device=x.device), x.shape)]  # no copy of x


def far_from_sparse(x: Tensor) -> bool:
    """Whether a sample of the numbers in x shows that x is far from sparse."""
    seen = _sample(x)
    return torch.count_nonzero(seen).item() > crossover.MOST * seen.numel()


def looked_at(x: Tensor) -> tuple[Tensor, float]:
    """Return x [*, K], or its bits [M, words] if it contains only spikes, and the share of x that is not zero: 1 if a
    sample shows that x is dense, or if events are not for x (see `serves`).
    """
    if not serves(x) or far_from_sparse(x):
        return x, 1.0
    bits, events, spikes = spikes_bits.packed(x.detach().reshape(-1, x.shape[-1]))
    return (bits if spikes else x), events / max(1, x.numel())


def bits_of(x: Tensor) -> Tensor | None:
    """Return the bits [M, words] of x [*, K] if x contains only spikes; otherwise None."""
    found, _ = looked_at(x)
    return None if found is x else found


def explain(x: Tensor, width: int) -> str:
    """Describe how a layer with `width` outputs multiplies inputs like x, and why."""
    if not serves(x):
        return f"dense: events are for float32 on the CPU and {SMALL:,} inputs or more"
    (_, share), columns = looked_at(x), x.shape[-1]
    if share == 1.0:
        return f"dense: more than {crossover.MOST:.0%} of the inputs are not zero"
    times = crossover.estimate("linear", x.numel() // columns, columns, width, share)
    way = "numba: by events" if few(share, columns, width) else "dense"
    told = f"{way}, {share:.1%} of the inputs are not zero ({times})"
    other = few_of_gradient(share, columns, width)
    if other == few(share, columns, width):
        return told
    return f"{told}; weight gradient {'by events' if other else 'dense'}"


def few(share: float, columns: int, width: int) -> bool:
    """Whether the event-driven product with `columns` inputs and `width` outputs is faster, if this share of the inputs
    is not zero.
    """
    return share < crossover.MOST and share <= crossover.crossover("linear", columns, width)


def few_of_gradient(share: float, columns: int, width: int) -> bool:
    """Whether the event-driven gradient of the weight is faster, if this share of the inputs is not zero."""
    return share < crossover.MOST and share <= crossover.crossover("linear weight", columns, width)


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, bits: Tensor | None = None, events: bool = True, rows: int = 0
) -> Tensor:
    """Compute x weight^T + bias, event-driven if events are few: x [*, K], weight [N, K], bias [N] -> [*, N].

    bits: the bits of x, if they are known. For backward, bits are saved instead of x, if they are known or if x
    contains only spikes. events: whether the event-driven path is allowed. rows: how many rows are multiplied at once
    (0: all); the rounding of torch's product depends on this number.
    """
    return _Linear.apply(x, bits, weight, bias, events, rows)


class _Linear(Function):
    """The autograd function of the linear map; it saves the bits of x, or x itself."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, bits: Tensor | None, weight: Tensor, bias: Tensor | None, events: bool, rows: int
    ) -> Tensor:
        columns = x.shape[-1]
        if bits is None:
            kept, ctx.share = looked_at(x) if events else (x, 1.0)
            given = kept if few(ctx.share, columns, weight.shape[0]) else x  # the dense product reads numbers
        else:
            kept, ctx.share = bits, share(bits, columns) if events else 1.0
            given = kept
        given = given.reshape(-1, given.shape[-1]).contiguous()
        out = empty((*x.shape[:-1], weight.shape[0]), weight.dtype)
        flat = out.view(-1, weight.shape[0])
        multiply = multiplier(given, columns, weight, bias, ctx.share)
        for lo in range(0, len(flat), rows or max(1, flat.shape[0])):
            of = slice(lo, lo + rows if rows else None)
            multiply(given[of], out=flat[of])
        ctx.events, ctx.shape = events, x.shape
        ctx.save_for_backward(kept, weight)
        return out

    @staticmethod
    def gradients(ctx: Any, saved: tuple[Tensor, ...], *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        (given, weight), (inward, _, weighs, biases, _, _), g = saved, ctx.needs_input_grad, grads[0]
        if g is None:
            return (None,) * 6
        columns, rows = weight.shape[1], g.reshape(-1, weight.shape[0]).contiguous()
        given = given.reshape(-1, given.shape[-1]).contiguous()
        amount = share(rows, weight.shape[0]) if ctx.events else 1.0  # a compact surrogate leaves most of g zero
        g_x = None
        if inward:
            g_x = empty(ctx.shape, g.dtype)
            multiplier(rows, weight.shape[0], weight.t(), None, amount)(rows, out=g_x.view(-1, columns))
        g_weight = gradient(given, rows, columns, amount, ctx.share if ctx.events else None) if weighs else None
        return g_x, None, g_weight, rows.sum(0) if biases else None, None, None


def multiplier(
    x: Tensor, columns: int, weight: Tensor, bias: Tensor | None = None, known: float | None = None
) -> Callable[..., None]:
    """Return a function that computes x weight^T + bias for some rows of x (numbers [M, columns] or bits), and writes
    the result to an array [M, N], its argument `out`.

    The function is event-driven if few numbers of the whole x are not zero; otherwise it uses torch's product. known:
    the share of nonzero numbers, if it is known. The function is valid until this thread calls `multiplier` again.
    """
    if few(share(x, columns) if known is None else known, columns, weight.shape[0]) and finite(weight):
        packed = panels(weight, slim(weight.shape[0]))
        base = weight.new_zeros(1, weight.shape[0]) if bias is None else bias.view(1, -1)
        return lambda rows, out: add_events(rows, packed, columns, base, out)
    if x.dtype != torch.int64:
        return partial(dense.multiply, w=weight, bias=bias)

    def unpacked(rows: Tensor, out: Tensor) -> None:
        for of, part in _numbers(rows, columns, weight.dtype):
            dense.multiply(part, weight, bias, out[of])

    return unpacked


def finite(weight: Tensor) -> bool:
    """Whether all weights are finite. If the input of a NaN or infinite weight is zero, the event-driven product skips
    this weight, but the dense product gives NaN.
    """
    return math.isfinite(weight.sum().item())


def _numbers(bits: Tensor, columns: int, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
    """Yield rows of bits [M, words] as numbers [m, columns], about UNPACKED at a time, in scratch memory."""
    step = max(UNPACKED_ROWS, UNPACKED // columns)
    for lo in range(0, max(1, bits.shape[0]), step):
        part = bits[lo : lo + step]
        into = scratch("unpacked", (len(part), columns), torch.float32)  # fresh memory costs more than its numbers
        yield slice(lo, lo + step), spikes_bits.unpack(part, columns, dtype, into)


def share(x: Tensor, columns: int) -> float:
    """The share of x that is not zero; x: numbers [*, columns], or bits [*, words] of `columns` columns."""
    if x.dtype == torch.int64:
        return spikes_bits.count(x) / max(1, math.prod(x.shape[:-1]) * columns)
    return looked_at(x)[1]


def slim(width: int) -> bool:
    """Whether `width` outputs fit one slim panel."""
    from ranvier.spikes import product_kernels

    return width <= product_kernels.SLIM


def panels(weight: Tensor, slim: bool = False, kept: bool = False) -> Tensor:
    """Return a weight [N, K] as panels, the layout of the kernels: [ceil(N / lanes) * K, lanes], with `lanes` outputs
    side by side (LANES, or SLIM if `slim`).

    Unless it is to be `kept`, the result is scratch of this thread: it is valid until the next call.
    """
    from ranvier.spikes import product_kernels

    lanes = product_kernels.SLIM if slim else product_kernels.LANES
    size = -(-weight.shape[0] // lanes) * weight.shape[1], lanes
    packed = empty(size, weight.dtype) if kept else scratch("panels", size, weight.dtype)
    product_kernels.pack_columns(array(weight.contiguous()), packed.numpy())
    return packed


def as_numpy(x: Tensor) -> np.ndarray:
    """Return numbers [M, K] or bits [M, words] as a NumPy array, the form that kernels read."""
    return spikes_bits.view(x) if x.dtype == torch.int64 else x.numpy()


def add_events(x: Tensor, panels: Tensor, columns: int, base: Tensor, out: Tensor) -> None:
    """Compute out [M, N] = base [M or 1, N] + x weight^T, event-driven; x: numbers [M, K] or bits; panels: the weight
    in the layout of `panels`.
    """
    from ranvier.spikes import product_kernels

    given = as_numpy(x), columns, panels.numpy(), array(base.contiguous()), int(base.shape[0] != 1), out.numpy()
    tile = min(FORWARD_TILE, max(1, x.shape[0]))
    kernel = product_kernels.forward_slim if panels.shape[1] == product_kernels.SLIM else product_kernels.forward

    def work(lo: int, hi: int) -> None:
        kernel(lo, hi, *given, *tile_scratch(tile, columns))

    spread(work, len(x), FORWARD_TILE, len(x) * columns > WORTH)


def tile_scratch(tile: int, columns: int) -> tuple[np.ndarray, ...]:
    """Return the scratch arrays for a tile of rows: listed, amounts, ends, edge."""
    return *lists("listed", tile, columns), np.empty(tile, np.int32), edge()


def edge() -> np.ndarray:
    """Return the scratch array for four rows of the last panel."""
    from ranvier.spikes import product_kernels

    return np.empty((4, product_kernels.LANES), np.float32)


def lists(name: str, tile: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return scratch arrays for the positions and the amounts of the events of a tile."""
    size = (tile * columns + 1,)
    return room(name, size, _INTEGER), room(name, size, _FLOAT)


class Gradient:
    """The gradient g^T x [N, K] of a weight, summed over parts of the rows: each part is some rows of x (numbers [M, K]
    or bits) and of g [M, N].

    The products skip the zeros of x, or those of g, or they are torch's dense products. The choice depends on `of_x`
    and `of_g`, the shares of nonzero numbers.
    """

    def __init__(self, width: int, columns: int, of_x: float, of_g: float = 1.0):
        self.shape = width, columns
        self.by_x = few_of_gradient(of_x, columns, width)
        self.by_g = not self.by_x and few_of_gradient(of_g, width, columns)
        self.sum: Tensor | None = None

    def add(self, x: Tensor, g: Tensor) -> None:
        if self.by_x:
            self.sum = _add_events(self.sum, x, g, self.shape[1])
        elif x.dtype == torch.int64:
            for of, part in _numbers(x, self.shape[1], g.dtype):
                self._add(part, g[of])
        else:
            self._add(x, g)

    def _add(self, x: Tensor, g: Tensor) -> None:
        if self.by_g:
            self.sum = _add_events(self.sum, g, x, self.shape[0])
        elif self.sum is None:
            self.sum = g.new_empty(self.shape)
            dense.multiply(g.t(), x.t(), None, self.sum)
        else:
            more = scratch("more", self.shape, g.dtype)
            dense.multiply(g.t(), x.t(), None, more)
            self.sum += more

    def total(self) -> Tensor:
        """Return the sum of all parts, [N, K], and forget it."""
        found, self.sum = self.sum, None
        assert found is not None, "nothing was added"
        if not (self.by_x or self.by_g):
            return found
        from ranvier.spikes import product_kernels

        out = empty(self.shape if self.by_x else self.shape[::-1], found.dtype)
        product_kernels.unpack_panels(found.numpy(), out.numpy())
        return out if self.by_x else out.t().contiguous()


def _add_events(sums: Tensor | None, x: Tensor, g: Tensor, columns: int) -> Tensor:
    """Add g^T x to the panels `sums`, or to new ones if None; the zeros of x (numbers [M, K] or bits) are skipped."""
    from ranvier.spikes import product_kernels

    width = g.shape[1]
    side = product_kernels.SLIM if slim(width) else product_kernels.LANES
    if sums is None:
        sums = empty((-(-width // side) * columns, side), torch.float32).zero_()
    given = as_numpy(x), columns, g.numpy(), sums.numpy()
    tile = min(BACKWARD_TILE, max(1, x.shape[0]))
    kernel = product_kernels.add_gradient_slim if slim(width) else product_kernels.add_gradient

    def work(lo: int, hi: int) -> None:
        packed = scratch("packed", (tile, side), torch.float32).numpy()
        start = scratch("starts", (columns + 1,), torch.int32).numpy()
        by_row = tile_scratch(tile, columns)[:3]
        by_column = lists("sorted", tile, columns)
        kernel(lo, hi, *given, packed, start, *by_column, *by_row)

    part = -(-width // side // usable()) * side  # each thread computes other columns
    spread(work, width, max(side, part), len(x) * columns > WORTH)
    return sums


def weight_gradient(x: Tensor, g: Tensor, columns: int | None = None) -> Tensor:
    """Return g^T x [N, K] for g [M, N]; the zeros of x (numbers [M, K] or bits of `columns` columns) are skipped."""
    found = Gradient(g.shape[1], x.shape[1] if columns is None else columns, 1.0)
    found.by_x = True
    found.add(x, g)
    return found.total()


def gradient(x: Tensor, g: Tensor, columns: int, of_g: float = 1.0, of_x: float | None = None) -> Tensor:
    """Return g^T x [N, K] for x (numbers or bits) and g [M, N]. The zeros of x or those of g are skipped if that is
    faster; of_g and of_x are the shares that are not zero (None: measure it).

    On other devices than the CPU, x must be numbers, and the product is torch's.
    """
    if g.device.type != "cpu":
        return g.t() @ x
    if of_x is None:
        of_x = share(x, columns) if g.dtype == torch.float32 else 1.0
    found = Gradient(g.shape[1], columns, of_x, of_g)
    found.add(x, g)
    return found.total()
