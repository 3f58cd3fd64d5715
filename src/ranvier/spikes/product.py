"""A linear map whose cost follows the number of events.

The map is torch's, computed either way: where few inputs are not zero only their columns of the weight are added up,
elsewhere it is the dense product. The density is measured, forward and backward decide separately, and inputs may be
spikes or any numbers: zeros are what is skipped, so results are those of the dense product but for the order of sums.
Of inputs that are spikes only the bits are kept for backward. The gradient that comes back is looked at too: where a
compact surrogate left most of it zero, the input's gradient and the weight's go by its events.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ranvier.machines.memory import empty, scratch
from ranvier.machines.threads import spread
from ranvier.spikes import bits as spikes_bits

FORWARD, BACKWARD = 0.25, 0.2  # densities below which events win; see `python benchmarks/run.py sparse`
SAMPLE = 2048  # numbers looked at to tell dense input, at no cost
SMALL = 1 << 16  # inputs below which the dense product is done before events are counted
NARROW = 32  # outputs below which most lanes of a panel would be empty
FORWARD_TILE, BACKWARD_TILE = 256, 512  # rows listed at once


def serves(x: Tensor) -> bool:
    """Whether the event-driven path may be taken for an input like this one."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and x.numel() >= SMALL


def _sample(x: Tensor) -> Tensor:
    flat = x.reshape(-1)
    return flat[:: max(1, flat.numel() // SAMPLE)]


def dense(x: Tensor) -> bool:
    """Whether a sample of x shows that it is far from sparse."""
    seen = _sample(x)
    return torch.count_nonzero(seen).item() > 2 * FORWARD * seen.numel()


def density(x: Tensor) -> float:
    """The share of x that is not zero; that of dense input is told from a sample."""
    return 1.0 if dense(x) else spikes_bits.packed(x.reshape(-1, x.shape[-1])).events / max(1, x.numel())


def bits_of(x: Tensor) -> Tensor | None:
    """The bits [M, words] of x [*, K] if it holds spikes, and nothing else."""
    if not serves(x) or dense(x):
        return None
    seen = _sample(x)
    if not torch.equal(seen, seen.square()):  # graded
        return None
    bits, spikes = look(x.detach())
    return bits if spikes.item() else None


def explain(x: Tensor, width: int) -> str:
    """How a layer of so many outputs multiplies inputs like x, and why."""
    if not serves(x) or width < NARROW:
        return f"dense: events are for float32 on the CPU, {SMALL:,} inputs and {NARROW} outputs or more"
    share = density(x)
    if share > FORWARD:
        return f"dense: more than {FORWARD:.0%} of the inputs are not zero"
    backward = "" if share <= BACKWARD else "; weight gradient dense"
    return f"cpu: by events, {share:.1%} of the inputs are not zero{backward}"


@torch.library.custom_op("ranvier::look", mutates_args=())
def look(x: Tensor) -> tuple[Tensor, Tensor]:
    """The bits [M, words] of x [*, K], and whether x holds nothing but 0 and 1."""
    bits, _, spikes = spikes_bits.packed(x.reshape(-1, x.shape[-1]))
    return bits, torch.tensor(spikes)


@look.register_fake
def _(x: Tensor) -> tuple[Tensor, Tensor]:
    columns = x.shape[-1]
    rows = x.numel() // columns if columns else 0
    return x.new_empty(rows, spikes_bits.words(columns), dtype=torch.int64), x.new_empty((), dtype=torch.bool)


@torch.library.custom_op("ranvier::linear", mutates_args=())
def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x [*, K], weight [N, K], bias [N] -> x weight^T + bias [*, N]."""
    if not serves(x) or len(weight) < NARROW or weight.dtype != x.dtype or density(x) > FORWARD:
        return _dense(x, weight, bias)
    return _by_events(x.reshape(-1, x.shape[-1]).contiguous(), weight, bias).view(*x.shape[:-1], len(weight))


@torch.library.custom_op("ranvier::spike_linear", mutates_args=())
def spike_linear(x: Tensor, bits: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`linear` for spikes x [*, K] whose bits [M, words] are known, and are all that is kept of them."""
    if len(weight) < NARROW or _share(bits, x.shape[-1]) > FORWARD:
        return _dense(x, weight, bias)
    return _by_events(bits, weight, bias).view(*x.shape[:-1], len(weight))


def _dense(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """torch's product, on memory that was used before if it is large."""
    if x.device.type != "cpu" or weight.dtype != x.dtype:
        return torch.nn.functional.linear(x, weight, bias)
    rows, out = x.reshape(-1, x.shape[-1]), empty((*x.shape[:-1], len(weight)), x.dtype)
    flat = out.view(-1, len(weight))
    torch.mm(rows, weight.t(), out=flat) if bias is None else torch.addmm(bias, rows, weight.t(), out=flat)
    return out


def _share(bits: Tensor, columns: int) -> float:
    return spikes_bits.count(bits) / max(1, len(bits) * columns)


def _by_events(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    out = empty((len(rows), len(weight)), weight.dtype)
    base = torch.zeros(1, len(weight)) if bias is None else bias.view(1, -1)
    add_events(rows, panels(weight), weight.shape[1], base, out)
    return out


def panels(weight: Tensor) -> Tensor:
    """A weight [N, K] as the kernels want it: LANES of its outputs side by side [N / LANES * K, LANES]."""
    from ranvier.spikes import product_kernels

    packed = empty((-(-len(weight) // product_kernels.LANES) * weight.shape[1], product_kernels.LANES), weight.dtype)
    product_kernels.pack_columns(weight.contiguous().numpy(), packed.numpy())
    return packed


def rows(x: Tensor) -> np.ndarray:
    """Numbers [M, K] or bits [M, words] as the kernels take them."""
    return spikes_bits.view(x) if x.dtype == torch.int64 else x.numpy()


def add_events(x: Tensor, panels: Tensor, columns: int, base: Tensor, out: Tensor) -> None:
    """out [M, N] = base [M or 1, N] + x weight^T, by the events of x: numbers [M, K] or bits; weight in `panels`."""
    from ranvier.spikes import product_kernels

    given = rows(x), columns, panels.numpy(), base.contiguous().numpy(), int(len(base) != 1), out.numpy()
    tile = min(FORWARD_TILE, max(1, len(x)))

    def work(lo: int, hi: int) -> None:
        product_kernels.forward(lo, hi, *given, *tile_scratch(tile, columns))

    spread(work, len(x), FORWARD_TILE, len(x) * columns > 1 << 20)


def tile_scratch(tile: int, columns: int) -> tuple[np.ndarray, ...]:
    """What a tile of rows needs: listed, amounts, ends, edge."""
    return *lists("listed", tile, columns), scratch("ends", (tile,), torch.int32).numpy(), edge()


def edge() -> np.ndarray:
    """Room for the last panel's part of four rows."""
    from ranvier.spikes import product_kernels

    return scratch("edge", (4, product_kernels.LANES), torch.float32).numpy()


def lists(name: str, tile: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the events of a tile are, and how much."""
    size = (tile * columns + 1,)
    return scratch(name, size, torch.int32).numpy(), scratch(name, size, torch.float32).numpy()


def weight_gradient(x: Tensor, g: Tensor, columns: int | None = None) -> Tensor:
    """g^T x [N, K] by the events of x, numbers [M, K] or bits of so many columns, and g [M, N]."""
    from ranvier.spikes import product_kernels

    columns = x.shape[1] if columns is None else columns
    lanes, width = product_kernels.LANES, g.shape[1]
    out = torch.empty(width, columns)
    given = rows(x), columns, g.numpy(), out.numpy()
    tile = min(BACKWARD_TILE, max(1, len(x)))

    def work(lo: int, hi: int) -> None:
        totals = scratch("totals", (-(-(hi - lo) // lanes) * columns, lanes), torch.float32).numpy()
        packed = scratch("packed", (tile, lanes), torch.float32).numpy()
        start = scratch("starts", (columns + 1,), torch.int32).numpy()
        by_row = tile_scratch(tile, columns)[:3]
        by_column = lists("sorted", tile, columns)
        product_kernels.weight_gradient(lo, hi, *given, totals, packed, start, *by_column, *by_row)

    share = -(-width // lanes // torch.get_num_threads()) * lanes  # each thread its own columns of the result
    spread(work, width, max(lanes, share), len(x) * columns > 1 << 20)
    return out


@linear.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


@spike_linear.register_fake
def _(x: Tensor, bits: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


@torch.library.custom_op("ranvier::linear_backward", mutates_args=())
def linear_backward(x: Tensor, weight: Tensor, g: Tensor, wanted: list[bool]) -> list[Tensor]:
    """Gradients of the wanted among x, weight, bias. x [*, K] holds numbers, or bits [M, words] beside g [*, N]."""
    columns, g_rows = weight.shape[1], g.reshape(-1, g.shape[-1]).contiguous()
    few = density(g_rows) if serves(g_rows) else 1.0  # behind a neuron with a compact surrogate most are zero
    found = []
    if wanted[0]:
        sparse = few <= FORWARD and columns >= NARROW
        g_x = _by_events(g_rows, weight.t(), None) if sparse else _dense(g_rows, weight.t(), None)
        found.append(g_x.view(*g.shape[:-1], columns))
    if wanted[1]:
        found.append(gradient(x.reshape(-1, x.shape[-1]).contiguous(), g_rows, columns, few))
    if wanted[2]:
        found.append(g_rows.sum(0))
    return found


def gradient(x: Tensor, g: Tensor, columns: int, few: float = 1.0) -> Tensor:
    """g^T x [N, K], by the events of x where they are few, or by those of g, of which a share of `few` is not zero."""
    bits = x.dtype == torch.int64
    if g.dtype == torch.float32 and g.shape[1] >= NARROW:
        share = _share(x, columns) if bits else density(x) if serves(x) else 1.0
        if share <= BACKWARD:
            return weight_gradient(x, g, columns)
    x = spikes_bits.unpack(x, columns, g.dtype) if bits else x
    if few <= BACKWARD and columns >= NARROW:
        return weight_gradient(g, x).t().contiguous()
    if columns < g.shape[1]:  # a product of few rows is quicker than one of few columns
        return (x.t() @ g).t().contiguous()
    return g.t() @ x


@linear_backward.register_fake
def _(x: Tensor, weight: Tensor, g: Tensor, wanted: list[bool]) -> list[Tensor]:
    whole = g.new_empty(*g.shape[:-1], weight.shape[1]), torch.empty_like(weight), weight.new_empty(weight.shape[:1])
    return [v for v, want in zip(whole, wanted, strict=True) if want]


def _remember(ctx: Any, inputs: tuple, output: Tensor) -> None:
    x, *bits, weight, _ = inputs
    ctx.save_for_backward(bits[0] if bits else x, weight)


def _backward(ctx: Any, g: Tensor) -> tuple:
    x, weight = ctx.saved_tensors
    needed = ctx.needs_input_grad
    wanted = [needed[0], *needed[-2:]]
    found = iter(linear_backward(x, weight, g, wanted))
    g_x, *others = (next(found) if want else None for want in wanted)
    return (g_x, *(None,) * (len(needed) - 3), *others)


linear.register_autograd(_backward, setup_context=_remember)
spike_linear.register_autograd(_backward, setup_context=_remember)
