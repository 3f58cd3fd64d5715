"""One layer of a short sequence: a linear map and its neurons, for all steps at once, forward and backward. See
`short.py`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ranvier.backends import numba_backend
from ranvier.backends.autograd import array
from ranvier.derive.rule import Rule
from ranvier.spikes import crossover, dense, feedback_cpu, product

Array = np.ndarray
Gradients = list[Tensor | None]
REAL: dict[torch.dtype, type] = {torch.float32: np.float32, torch.float64: np.float64}


class Size(NamedTuple):
    """Steps, samples, neurons, and the dtype."""

    steps: int
    batch: int
    neurons: int
    dtype: torch.dtype


class Link:
    """A linear map and its neurons; tensors are contiguous.

    wide: which parameters differ from neuron to neuron; numbers: the further arguments of the rule; initial: the
    initial states.
    """

    more = 0  # tensors saved besides x, the weight, u and params

    def __init__(
        self, rule: Rule, size: Size, wide: tuple[bool, ...], numbers: Sequence[float], initial: Sequence[float]
    ):
        self.rule, self.size, self.real, self.count = rule, size, REAL[size.dtype], len(wide)
        self.steps, self.batch, self.neurons, _ = size
        self.row, self.states = size.batch * size.neurons, len(initial)
        self.wide = (*wide, *(False for _ in numbers))
        self.still = tuple(False for _ in numbers)
        self.numbers = tuple(np.full(1, v, self.real) for v in numbers)
        self.start = np.repeat(np.array(initial, self.real).reshape(-1, 1), self.row, 1)  # [S, B N]
        self.nothing = np.zeros_like(self.start)
        self.segment, self.tile = numba_backend.plan(size.steps, self.states, size.dtype.itemsize)
        self.forth, self.back = self.code(None), {}  # the kernels; those of backward by the wanted gradients

    def code(self, wanted: tuple[bool, ...] | None) -> Any:
        """Return the kernel of forward or, when `wanted` is given, of backward for these gradients."""
        code = numba_backend.module(self.rule, self.size.dtype, self.wide, wanted)
        return code.forward if wanted is None else code.backward

    def forward(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, params: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """x [T B, K], weight [N, K], bias [N] -> the input u [T B, N] of the neurons, and their output [T, B, N]."""
        u = torch.empty((self.steps * self.batch, self.neurons), dtype=self.size.dtype)
        y = torch.empty(self.size[:3], dtype=self.size.dtype)
        dense.multiply(x, weight, bias, u)
        self.carry(u.numpy(), y.numpy(), params)
        return u, y

    def kept(self, y: Tensor) -> Sequence[Tensor]:
        """Return what backward needs besides x, the weight, u and params."""
        return ()

    def backward(
        self, kept: Sequence[Tensor], g: Tensor, inward: bool, wanted: Sequence[bool]
    ) -> tuple[Tensor | None, Gradients]:
        """From the gradient g of y compute that of x [T B, K] if it is wanted (`inward`), and those of weight, bias and
        params.
        """
        x, weight, u, *rest = kept
        g_u = torch.empty_like(u)
        of_params = self.carry_back(u, rest, g, g_u, tuple(wanted[2:]))
        g_x = g_weight = None
        if inward:
            g_x = torch.empty_like(x)
            dense.multiply(g_u, weight.t(), None, g_x)
        if wanted[0]:
            g_weight = _weight(g_u, x)
        return g_x, [g_weight, g_u.sum(0) if wanted[1] else None, *of_params]

    def carry(self, u: Array, y: Array, params: Sequence[Tensor]) -> None:
        """Compute y [T, B, N] from u [T B, N]."""
        two, final = np.empty((2, self.states, self.row), self.real), np.empty_like(self.start)
        numba_backend.timed(
            self.rule.name, self.forth, 0, self.row, self.row, self.steps, (self.flat(u),), self.start,
            self.params(params), (self.flat(y),), final, two,
        )  # fmt: skip

    def carry_back(
        self, u: Tensor, rest: Sequence[Tensor], g: Tensor, g_u: Tensor, wanted: tuple[bool, ...]
    ) -> Gradients:
        """Compute g_u [T B, N]; return the gradients of params."""
        code, found = self.kernel(wanted)
        still = g.dim() == 3 and g.stride(0) == 0  # equal at all steps: the gradient of a mean over time
        given = (g[:1] if still else g).contiguous().numpy().reshape(-1, self.row)
        marks = np.empty((max(1, -(-self.steps // self.segment)), self.states, self.tile), self.real)
        trail = np.empty((max(2, self.segment), self.states, self.tile), self.real)
        before, carry = np.empty_like(self.start), np.empty((self.states, self.tile), self.real)
        numba_backend.timed(
            self.rule.name, code, 0, self.row, self.tile, self.steps, self.segment, (self.flat(u.numpy()),), self.start,
            self.params(rest), (given,), self.nothing, (self.flat(g_u.numpy()),), before, found, marks, trail, carry,
        )  # fmt: skip
        return self.shaped(found, rest, wanted)

    def kernel(self, wanted: tuple[bool, ...]) -> tuple[Any, Array]:
        """Return the kernel of backward, and an array for the gradients [P, B N] of the parameters that need one."""
        asked = (True, *wanted, *self.still)
        code = self.back.get(asked) or self.back.setdefault(asked, self.code(asked))
        return code, np.zeros((sum(wanted), self.row), self.real)

    def params(self, given: Sequence[Tensor]) -> tuple[Array, ...]:
        """Return the parameters in the form that kernels need: [1], or [B N]."""
        found = [self._wide(p) if w else np.array((p.item(),), self.real) for p, w in zip(given, self.wide)]  # noqa: B905
        return *found, *self.numbers

    def _wide(self, p: Tensor) -> Array:
        return array(p.to(self.size.dtype).expand(self.batch, self.neurons).reshape(-1))

    def flat(self, x: Array) -> Array:
        """Reshape [T B, N] or [T, B, N] to [T, B N]."""
        return x.reshape(self.steps, self.row)

    def shaped(self, rows: Array, params: Sequence[Tensor], wanted: Sequence[bool]) -> Gradients:
        """Return gradients [P, B N] in the shapes of the parameters."""
        each = iter(rows)
        return [
            torch.from_numpy(next(each)).view(self.batch, self.neurons).sum_to_size(p.shape).to(p.dtype) if w else None
            for p, w in zip(params, wanted, strict=True)
        ]


class RecurrentLink(Link):
    """A link whose spikes return; the last of its params is the recurrent weight [N, N]. float32 only."""

    more = 1  # y

    def __init__(
        self, rule: Rule, size: Size, wide: tuple[bool, ...], numbers: Sequence[float], initial: Sequence[float]
    ):
        super().__init__(rule, size, wide[:-1], numbers, initial)
        self.count = len(wide)
        self.few = crossover.crossover("step", size.neurons, size.neurons)
        self.samples = min(feedback_cpu.together(size.neurons), size.batch)
        self.silent = np.zeros((size.batch, size.neurons), self.real)

    def code(self, wanted: tuple[bool, ...] | None) -> Any:
        code = numba_backend.module(self.rule, self.size.dtype, self.wide, wanted, feedback_cpu.loops())
        return code.feedback_forward if wanted is None else code.feedback_backward

    def kept(self, y: Tensor) -> Sequence[Tensor]:
        return [y.clone()]  # its owner may change the output in place

    def carry(self, u: Array, y: Array, params: Sequence[Tensor]) -> None:
        *params, weight = params
        u = u.reshape(y.shape)
        two, final = np.empty((2, self.states, self.samples * self.neurons), self.real), np.empty_like(self.start)
        marks = np.empty((1, *self.start.shape), self.real)
        numba_backend.timed(
            self.rule.name, self.forth, 0, self.batch, self.steps, self.few, u, self.silent,
            feedback_cpu.columns(weight).numpy(), self.start, self.params(params), (self.flat(y),), y, u,
            (self.flat(u),), final, marks, two, *self._tile(),
        )  # fmt: skip

    def carry_back(
        self, u: Tensor, rest: Sequence[Tensor], g: Tensor, g_u: Tensor, wanted: tuple[bool, ...]
    ) -> Gradients:
        *params, weight, y = rest
        (code, found), shape = self.kernel(wanted[:-1]), y.shape
        given, of_u = g.contiguous().numpy().reshape(shape), g_u.numpy()
        of_z, tile = np.empty((1, *shape[1:]), self.real), self.samples * self.neurons
        trail, carry = np.empty((self.steps, self.states, tile), self.real), np.empty((self.states, tile), self.real)
        numba_backend.timed(
            self.rule.name, code, 0, self.batch, self.steps, (self.flat(u.numpy()),), self.start[None],
            self.params(params), feedback_cpu.columns(weight.t()).numpy(), given, self.silent, of_z,
            (of_z.reshape(1, -1),), self.nothing, of_u.reshape(shape), (self.flat(of_u),), np.empty_like(self.start),
            found, trail, carry, *self._tile(),
        )  # fmt: skip
        of_weight = _weight(g_u[self.batch :], y[:-1].view(-1, self.neurons)) if wanted[-1] else None
        return [*self.shaped(found, params, wanted[:-1]), of_weight]

    def _tile(self) -> tuple[Array, ...]:
        """Return scratch arrays for the events of a tile."""
        listed, ends = self.samples * self.neurons + 1, np.empty(self.samples, np.int32)
        return np.empty(listed, np.int32), np.empty(listed, np.float32), ends, product.edge()


def _weight(g: Tensor, x: Tensor) -> Tensor:
    """g^T x [N, K], for g [M, N] and x [M, K]."""
    found = g.new_empty((g.shape[1], x.shape[1]))
    dense.multiply(g.t(), x.t(), None, found)
    return found
