"""A rule on images and the pooling after it, computed on the CPU in one pass. So the spikes before pooling are never
written to memory.

Images are channels last; `pooled_kernels.py` describes how they are divided into tiles. Backward needs the input and
the pooled output; states and spikes are computed again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

from ranvier.backends import numba_backend
from ranvier.backends.autograd import array
from ranvier.backends.buffers import empty, scratch
from ranvier.backends.numba_backend import Rows
from ranvier.backends.threads import spread
from ranvier.derive.rule import Rule
from ranvier.derive.trace import Graph


@dataclass(frozen=True)
class Pictures:
    """The sizes of a sequence of images, and of the pooling windows; these are square and do not overlap. `kind` is
    "max" or "mean".

    even: whether parameters and initial states are equal in all rows of an image; then they are given for one row of
    windows only.
    """

    steps: int
    batch: int
    height: int
    width: int
    channels: int
    window: int = 1
    kind: str = "max"
    even: bool = False

    @property
    def numbers(self) -> int:
        return self.height * self.width * self.channels

    @property
    def tiles(self) -> int:
        """Number of rows of windows in an image."""
        return self.height // self.window

    @property
    def count(self) -> int:
        """Number of neurons in a tile."""
        return self.window * self.width * self.channels

    @property
    def given(self) -> int:
        """Number of neurons whose parameters and initial states are given: R W C, for R rows (`rows`) of an image."""
        return self.rows * self.width * self.channels

    @property
    def rows(self) -> int:
        return self.window if self.even else self.height

    @property
    def pooled(self) -> tuple[int, int]:
        """Shape [T, B H' W' C] of the pooled output, for H' rows of W' windows."""
        return self.steps, self.batch * self.tiles * (self.width // self.window) * self.channels

    def sizes(self) -> tuple[int, ...]:
        """Return the sizes in the order in which the kernels need them."""
        return self.steps, self.numbers, self.tiles, 1 if self.even else self.tiles, self.width, self.channels


def _row(rule: Rule, name: str, arguments: str, graph: Graph, wide: Sequence[bool], still: bool) -> Rows:
    row = Rows(name, f"at, x, before, params, {arguments}", graph)
    names = iter(rule.arguments)
    row.array(next(names), f"row(x, {'0' if still else 't'}, lo, hi)")
    for k in range(len(rule.states)):
        row.array(next(names), f"row(before, {k}, 0, w)")
    for k, w in enumerate(wide):
        if w:
            row.array(next(names), f"params[{k}][at : at + w]")
        else:
            row.number(next(names), f"params[{k}][0]")
    return row


def _forward_rows(rule: Rule, wide: Sequence[bool], still: bool) -> list[str]:
    forward = _row(rule, "tile_forward", "z, after", rule.step, wide, still)
    forward.write(0, "z[:w]")
    for k in range(len(rule.states)):
        forward.write(1 + k, f"row(after, {k}, 0, w)")
    return [forward.text()]


def _backward_rows(rule: Rule, wide: Sequence[bool], wanted: Sequence[bool], still: bool) -> list[str]:
    output = _row(rule, "tile_output", "z", rule.step.keeping(rule.outputs), wide, still)
    output.write(0, "z[:w]")
    advance = _row(rule, "tile_advance", "after", rule.advance, wide, still)
    states = len(rule.states)
    for k in range(states):
        advance.write(k, f"row(after, {k}, 0, w)")
    adjoint = _row(rule, "tile_adjoint", "g_z, carry, g_x, g_params", rule.backward(wanted), wide, still)
    adjoint.array("g0", "g_z[:w]")
    for k in range(states):
        adjoint.array(f"g{1 + k}", f"row(carry, {k}, 0, w)")
        adjoint.write(k, f"row(carry, {k}, 0, w)")
    if wanted[0]:
        adjoint.write(states, f"row(g_x, {'0' if still else 't'}, lo, hi)", add=still)
    for j in range(sum(wanted[1:])):
        adjoint.write(states + wanted[0] + j, f"row(g_params, {j}, at, at + w)", add=True)
    return [output.text(), advance.text(), adjoint.text()]


_modules: dict[tuple, ModuleType] = {}


def module(
    rule: Rule,
    dtype: torch.dtype,
    wide: tuple[bool, ...],
    size: Pictures,
    still: bool,
    wanted: tuple[bool, ...] | None = None,
) -> ModuleType:
    """Return the compiled code of a rule and its pooling: forward or, when `wanted` is given, backward for these
    gradients.
    """
    at = (rule.key, dtype, wide, size.kind, size.window, still, wanted)
    if at not in _modules:
        rows = _forward_rows(rule, wide, still) if wanted is None else _backward_rows(rule, wide, wanted, still)
        chosen = f"pool, unpool, WINDOW = pool_{size.kind}, unpool_{size.kind}, {size.window}"
        _modules[at] = _module(rule.name, "\n\n".join([chosen, *rows]), dtype)
    return _modules[at]


@cache
def _module(name: str, rows: str, dtype: torch.dtype) -> ModuleType:
    own = numba_backend.loops("ranvier.backends", "pooled_kernels.py")
    return numba_backend.composed(name, dtype, own, f"# {'-' * 64} the rows of {name}\n{rows}")


def forward(rule: Rule, x: Tensor, initial: Tensor, params: Sequence[Tensor], size: Pictures) -> Tensor:
    """Run a rule and the pooling: x [T or 1, B H W C], initial [S, R W C], params [1] or [R W C] each -> pooled [T, B
    H' W' C], for H' rows of W' windows. R is H, or the height of a window if `size.even`.
    """
    code = module(rule, x.dtype, numba_backend.per_neuron(params), size, len(x) < size.steps)
    pooled = empty(size.pooled, x.dtype)
    given = x.numpy(), initial.numpy(), tuple(map(array, params)), pooled.numpy()

    def work(lo: int, hi: int) -> None:
        two = scratch("state", (2, len(rule.states), size.count), x.dtype).numpy()
        z = scratch("z", (size.count,), x.dtype).numpy()
        numba_backend.timed(rule.name, code.forward_pooled, lo, hi, *size.sizes(), *given, two, z)

    spread(work, size.batch * size.tiles, 1, size.steps * x.shape[1] >= numba_backend.WORTH)
    return pooled


def backward(
    rule: Rule,
    x: Tensor,
    initial: Tensor,
    params: Sequence[Tensor],
    pooled: Tensor,
    g_pooled: Tensor,
    wanted: tuple[bool, ...],
    size: Pictures,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x (in the shape of x), of the initial state [S, R W C], and of the P wanted parameters
    [P, R W C] in float64; R is as in `forward`.

    wanted: whether x needs a gradient, and which parameters do; a gradient of x that is not wanted is left
    uninitialised.
    """
    still = len(x) < size.steps
    code = module(rule, x.dtype, numba_backend.per_neuron(params), size, still, wanted)
    g_x = empty(x.shape, x.dtype)
    given = x.numpy(), initial.numpy(), tuple(map(array, params)), pooled.numpy(), g_pooled.numpy(), g_x.numpy()
    states, count = len(rule.states), size.count
    parts: dict[int, tuple[Tensor, Tensor]] = {}  # by first tile, to add them in a fixed order

    def work(lo: int, hi: int) -> None:
        of_params = initial.new_zeros(sum(wanted[1:]), size.given, dtype=torch.float64)
        parts[lo] = sums = torch.zeros_like(initial), of_params
        trail = scratch("trail", (size.steps, states, count), x.dtype).numpy()
        carry = scratch("carry", (states, count), x.dtype).numpy()
        z, g_z = (scratch(name, (count,), x.dtype) for name in ("z", "g_z"))
        left = scratch("left", (size.channels,), x.dtype).numpy()
        g_params = scratch("g_params", tuple(sums[1].shape), x.dtype).zero_().numpy()
        own = *(s.numpy() for s in sums), g_params, trail, carry, z.numpy(), g_z.zero_().numpy(), left
        numba_backend.timed(rule.name, code.backward_pooled, lo, hi, *size.sizes(), *given, *own)

    spread(work, size.batch * size.tiles, 1, size.steps * x.shape[1] >= numba_backend.WORTH)
    g_initial, g_params = (torch.stack(s).sum(0) for s in zip(*(parts[lo] for lo in sorted(parts)), strict=True))
    return g_x, g_initial, g_params


def add_affine(g_x: Tensor, x: Tensor, centre: Tensor, slope: Tensor, offset: Tensor) -> None:
    """Compute g_x [T, N C] += slope (x - centre) + offset, in place and in one pass. x has the shape of g_x; centre,
    slope and offset are [C].

    slope and offset are float64, and so is the arithmetic. A rounding error in them would be the same at every pixel,
    and would add up in the gradients of weights, which are sums over all pixels.
    """
    from ranvier.backends import pooled_kernels  # Numba is imported where it is used

    channels = len(centre)
    rows = g_x.view(-1, channels)
    given = rows.numpy(), x.view(-1, channels).numpy(), centre.numpy(), slope.numpy(), offset.numpy()
    worth = x.numel() >= numba_backend.WORTH
    spread(lambda lo, hi: pooled_kernels.add_affine(lo, hi, channels, *given), len(rows), 256, worth)


ROWS = 512  # rows of a block in `moments`


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the variance [C] of x [N, C, H, W] over all axes but C, in float64; x is channels last in
    memory. For this layout torch sums in the precision of x, and in the gradient of a batch norm that rounding error
    becomes fifty times larger.
    """
    from ranvier.backends import pooled_kernels  # Numba is imported where it is used

    channels = x.shape[1]
    rows = x.permute(0, 2, 3, 1).reshape(-1, channels)
    blocks = -(-len(rows) // ROWS)
    sums = x.new_zeros(blocks, 2, channels, dtype=torch.float64)
    given = rows.numpy(), sums.numpy()
    spread(lambda lo, hi: pooled_kernels.moments(lo, hi, channels, *given), blocks, 1, x.numel() >= numba_backend.WORTH)
    off, square = sums.sum(0) / len(rows)
    return rows[0] + off, (square - off * off).clamp_min_(0.0)
