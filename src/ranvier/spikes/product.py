"""A linear map whose cost follows the number of events.

`linear` is torch's, computed either way: where few inputs are not zero only their rows of the weight are added up,
elsewhere it is the dense product. The density is measured, forward and backward decide separately, and inputs may be
spikes or any numbers: zeros are what is skipped, so results are those of the dense product but for the order of sums.
"""

from typing import Any

import torch
from torch import Tensor

from ranvier.machines.memory import empty, scratch
from ranvier.machines.threads import spread

FORWARD, BACKWARD = 0.2, 0.15  # densities below which events win; see `python benchmarks/run.py sparse`
SAMPLE = 2048  # numbers looked at to tell dense input, at no cost
SMALL = 1 << 16  # inputs below which the dense product is done before events are counted
TILE = 128  # rows listed at once
PANEL = 512  # columns of the weight added up at once: 256 inputs of them fit the second cache


def density(x: Tensor) -> float:
    """The share of x that is not zero; dense input is told from a sample."""
    flat = x.reshape(-1)
    if flat.numel() > 4 * SAMPLE:
        seen = flat[:: flat.numel() // SAMPLE]
        share = torch.count_nonzero(seen).item() / seen.numel()
        if share > 2 * FORWARD:
            return share
    from ranvier.spikes import product_kernels

    return product_kernels.count(x.reshape(-1, x.shape[-1]).numpy()) / max(1, flat.numel())


def serves(x: Tensor) -> bool:
    """Whether the event-driven path may be taken for an input like this one."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and x.numel() >= SMALL


@torch.library.custom_op("ranvier::linear", mutates_args=())
def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x [*, K], weight [N, K], bias [N] -> x weight^T + bias [*, N]."""
    if not serves(x) or weight.dtype != x.dtype:
        return torch.nn.functional.linear(x, weight, bias)
    rows = x.reshape(-1, x.shape[-1]).contiguous()
    if density(rows) > FORWARD:
        return torch.nn.functional.linear(x, weight, bias)
    out = empty((len(rows), len(weight)), x.dtype)
    base = torch.zeros(1, len(weight)) if bias is None else bias.view(1, -1)
    add_events(rows, weight.t().contiguous(), base, out)
    return out.view(*x.shape[:-1], len(weight))


def add_events(x: Tensor, weight: Tensor, base: Tensor, out: Tensor) -> None:
    """out [M, N] = base [M or 1, N] + x [M, K] weight [K, N], by the events of x."""
    from ranvier.spikes import product_kernels

    given = x.numpy(), weight.numpy(), base.contiguous().numpy(), int(len(base) != 1), out.numpy()
    tile = min(TILE, max(1, len(x)))

    def work(lo: int, hi: int) -> None:
        product_kernels.forward(lo, hi, PANEL, *given, *_lists("listed", tile, x.shape[1]), _ends(tile))

    spread(work, len(x), TILE, x.numel() > 1 << 20)


def _lists(name: str, tile: int, columns: int) -> tuple[Any, Any]:
    """Scratch for the events of a tile: where and how much."""
    size = (tile * columns + 1,)
    return scratch(name, size, torch.int32).numpy(), scratch(name, size, torch.float32).numpy()


def _ends(tile: int) -> Any:
    return scratch("ends", (tile,), torch.int32).numpy()


def weight_gradient(x: Tensor, g: Tensor) -> Tensor:
    """g^T x [N, K] for x [M, K] and g [M, N], by the events of x."""
    from ranvier.spikes import product_kernels

    rows, columns, width = len(x), x.shape[1], g.shape[1]
    out = torch.zeros(columns, width)
    given = x.numpy(), g.numpy(), out.numpy()
    tile = min(TILE, rows)

    def work(lo: int, hi: int) -> None:
        start = scratch("starts", (columns + 1,), torch.int32).numpy()
        lists = *_lists("sorted", tile, columns), *_lists("listed", tile, columns)
        product_kernels.weight_gradient(lo, hi, *given, start, *lists, _ends(tile))

    half = max(64, -(-width // torch.get_num_threads() // 16) * 16)  # each thread its own columns of the result
    spread(work, width, half, x.numel() > 1 << 20)
    return out.t()


@linear.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


@torch.library.custom_op("ranvier::linear_backward", mutates_args=())
def linear_backward(x: Tensor, weight: Tensor, g: Tensor, wanted: list[bool]) -> list[Tensor]:
    """Gradients of the wanted among x, weight, bias."""
    rows, g_rows = x.reshape(-1, x.shape[-1]).contiguous(), g.reshape(-1, g.shape[-1]).contiguous()
    found = []
    if wanted[0]:
        found.append((g_rows @ weight).view(x.shape))
    if wanted[1]:
        by_events = serves(x) and g.dtype == x.dtype and density(rows) <= BACKWARD
        found.append((weight_gradient(rows, g_rows) if by_events else g_rows.t() @ rows).contiguous())
    if wanted[2]:
        found.append(g_rows.sum(0))
    return found


@linear_backward.register_fake
def _(x: Tensor, weight: Tensor, g: Tensor, wanted: list[bool]) -> list[Tensor]:
    whole = x.new_empty(x.shape), weight.new_empty(weight.shape), weight.new_empty(weight.shape[:1])
    return [v for v, want in zip(whole, wanted, strict=True) if want]


def _remember(ctx: Any, inputs: tuple, output: Tensor) -> None:
    x, weight, bias = inputs
    ctx.biased = bias is not None
    ctx.save_for_backward(x, weight)


def _backward(ctx: Any, g: Tensor) -> tuple:
    x, weight = ctx.saved_tensors
    wanted = [bool(n) for n in ctx.needs_input_grad]
    found = iter(linear_backward(x, weight, g, wanted))
    return tuple(next(found) if want else None for want in wanted)


linear.register_autograd(_backward, setup_context=_remember)
