"""Neurons that run one chunk of steps after another, forward and backward. All data are NumPy arrays.

The *state* [S, B N] is passed from one chunk to the next. It contains the states of the rule and, for recurrent
neurons, the last output.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ranvier.backends import numba_backend
from ranvier.backends.autograd import array
from ranvier.derive.rule import Rule
from ranvier.spikes import feedback_cpu, product

Array = np.ndarray
REAL: dict[torch.dtype, type] = {torch.float32: np.float32, torch.float64: np.float64}


class Backward(NamedTuple):
    """The values that `Neurons.backward` uses for all chunks: the kernel, its parameters, and the sums of their
    gradients.

    params: the tensors; wanted: which of them need a gradient; arrays: the tensors as kernels need them; sums [P, B N];
    started: whether the initial state was given (else it is plain numbers, and the output before the first step is 0);
    feedback: the sum of the gradient of the recurrent weight; spikes: the outputs of forward, rows [T B, N] or bits.
    """

    params: Sequence[Tensor]
    wanted: Sequence[bool]
    code: Any
    arrays: tuple[Array, ...]
    sums: Array
    started: bool
    feedback: product.Gradient | None = None
    spikes: Tensor | None = None


class Neurons:
    """Neurons of shape [B, N], for a rule with one input and one output.

    wide: which parameters differ between neurons; numbers: the further arguments of the rule.
    """

    returns = False  # whether the neurons are recurrent

    def __init__(
        self, rule: Rule, shape: tuple[int, int], dtype: torch.dtype, wide: Sequence[bool], numbers: Sequence[float]
    ):
        self.rule, self.shape, self.dtype, self.real = rule, shape, dtype, REAL[dtype]
        self.given = wide, numbers
        self.size, self.states = shape[0] * shape[1], len(rule.states)
        self.wide, self.still = (*wide, *(False for _ in numbers)), tuple(False for _ in numbers)
        self.numbers = tuple(np.full(1, v, self.real) for v in numbers)
        self.code, self.codes = self.module(None), {}  # forward; backward, by the wanted gradients

    def of(self, batch: int) -> "Neurons":
        """Return such neurons for another number of samples."""
        wide, numbers = self.given
        return neurons(type(self), self.rule, (batch, self.shape[1]), self.dtype, wide, numbers)

    def module(self, wanted: tuple[bool, ...] | None) -> Any:
        """Return the compiled code of forward or, when `wanted` is given, of backward for these gradients."""
        return numba_backend.module(self.rule, self.dtype, self.wide, wanted)

    def arrays(self, params: Sequence[Tensor]) -> tuple[Array, ...]:
        """Return the parameters in the form that kernels need: [1], or [B N]."""
        found = [
            array(p.to(self.dtype).expand(self.shape).reshape(-1)) if wide else np.array((p.item(),), self.real)
            for p, wide in zip(params, self.wide)  # noqa: B905
        ]
        return *found, *self.numbers

    def begin(self, initial: Sequence[Tensor | float], count: int) -> Array:
        """Return an array for `count` states, [count, S, B N]. The first is set to the initial state; each of `initial`
        is a tensor [B, N] or a number.
        """
        found = np.zeros((count, self.states, self.size), self.real)
        for k, value in enumerate(initial):
            if isinstance(value, Tensor):
                found[0, k] = value.detach().numpy().reshape(-1)
            elif value:
                found[0, k] = value
        return found

    def forward(self, u: Tensor, state: Array, arrays: tuple[Array, ...], y: Tensor, after: Array) -> None:
        """Run n steps: from u [n B, N], which may be overwritten, and the state before these steps, write y [n B, N]
        and the state after them (`after`).
        """
        numba_backend.carry(self.rule.name, self.code, (self._flat(u),), state, arrays, (self._flat(y),), after)

    def begin_backward(
        self, params: Sequence[Tensor], wanted: Sequence[bool], started: bool, spikes: Tensor | None
    ) -> Backward:
        """Prepare `backward`; the arguments are those of `Backward`."""
        asked = (True, *wanted, *self.still)
        code = self.codes.get(asked) or self.codes.setdefault(asked, self.module(asked))
        sums = np.zeros((sum(wanted), self.size), self.real)
        return Backward(params, wanted, code, self.arrays(params), sums, started)

    def backward(
        self, to: Backward, steps: slice, u: Tensor, state: Array, g_y: Tensor, g_after: Array, g_u: Tensor
    ) -> Array:
        """Run backward through n steps: from u as it is after `forward`, the state before these steps, and the
        gradients of y (g_y [n B or B, N]) and of the state after them, write g_u [n B, N]. Return the gradient of the
        state before these steps.
        """
        g_state = np.empty_like(g_after)
        numba_backend.carry_back(
            self.rule.name, to.code, (self._flat(u),), state, to.arrays, (self._flat(g_y),), g_after,
            (self._flat(g_u),), g_state, to.sums,
        )  # fmt: skip
        return g_state

    def _flat(self, x: Tensor) -> Array:
        """Return rows [n B, N] as an array [n, B N]."""
        return x.numpy().reshape(-1, self.size)

    def end(self, g_after: Sequence[Tensor | None]) -> Array:
        """Return the gradient of the final state, from the gradients of its parts (None means zero)."""
        found = np.zeros((self.states, self.size), self.real)
        for row, g in zip(found, g_after, strict=False):
            if g is not None:
                row[:] = g.numpy().reshape(-1)
        return found

    def before(self, g_state: Array, needs: Sequence[bool]) -> list[Tensor | None]:
        """Return the gradients of the initial values; None for those that need no gradient."""
        return [torch.from_numpy(g.reshape(self.shape)) if w else None for g, w in zip(g_state, needs, strict=False)]

    def gradients(self, to: Backward) -> list[Tensor | None]:
        """Return the gradients of params, in the dtype of the kernels: threads add them up before torch rounds them."""
        if not any(to.wanted):
            return [None] * len(to.wanted)
        rows = iter(torch.from_numpy(to.sums))
        return [
            next(rows).view(self.shape).sum_to_size(p.shape) if want else None
            for p, want in zip(to.params, to.wanted, strict=True)
        ]


class RecurrentNeurons(Neurons):
    """Recurrent neurons: z[t - 1] W^T is added to their input. The last of params is W [N, N]."""

    returns = True

    def __init__(
        self, rule: Rule, shape: tuple[int, int], dtype: torch.dtype, wide: Sequence[bool], numbers: Sequence[float]
    ):
        super().__init__(rule, shape, dtype, wide[:-1], numbers)
        self.states, self.given = self.states + 1, (wide, numbers)

    def module(self, wanted: tuple[bool, ...] | None) -> Any:
        return numba_backend.module(self.rule, self.dtype, self.wide, wanted, feedback_cpu.loops())

    def forward(self, u: Tensor, state: Array, arrays: tuple[Array, ...], y: Tensor, after: Array) -> None:
        *rest, weight = arrays
        current, flat, z = self._split(u), self._flat(y), state[-1].reshape(self.shape)
        marks = np.empty((1, *state[:-1].shape), self.real)
        feedback_cpu.carry(
            self.rule.name, self.code, current, z, weight, state[:-1], tuple(rest), (flat,), current, after[:-1], marks,
            len(flat),
        )  # fmt: skip
        after[-1] = flat[-1]

    def arrays(self, params: Sequence[Tensor]) -> tuple[Array, ...]:
        *params, weight = params
        return *super().arrays(params), array(feedback_cpu.columns(weight))

    def begin_backward(
        self, params: Sequence[Tensor], wanted: Sequence[bool], started: bool, spikes: Tensor | None
    ) -> Backward:
        assert spikes is not None
        *rest, weight = params
        found, width = super().begin_backward([*rest, weight.t()], wanted[:-1], started, None), self.shape[1]
        sums = product.Gradient(width, width, product.share(spikes, width))
        return found._replace(params=params, wanted=wanted, feedback=sums, spikes=spikes)

    def backward(
        self, to: Backward, steps: slice, u: Tensor, state: Array, g_y: Tensor, g_after: Array, g_u: Tensor
    ) -> Array:
        *arrays, weight = to.arrays
        batch, g_state, here, flat = self.shape[0], np.empty_like(g_after), self._split(g_u), self._flat(u)
        g = self._flat(g_y)
        g = g if len(g) == len(flat) else np.repeat(g, len(flat), 0)
        feedback_cpu.carry_back(
            self.rule.name, to.code, flat, state[None, :-1], tuple(arrays), weight, (g,),
            g_after[-1].reshape(self.shape), g_after[:-1], here, g_state[:-1], to.sums, len(flat),
        )  # fmt: skip
        first = g_u[:batch]
        if steps.start or to.started:
            g_state[-1] = (first @ to.params[-1]).numpy().reshape(-1)
        if to.wanted[-1]:
            assert to.feedback is not None and to.spikes is not None
            if steps.start == 0 and to.started and state[-1].any():  # the output before the first step is not zero
                to.feedback.add(torch.from_numpy(state[-1]).view(self.shape), first)
            begin = max(steps.start, 1)
            before = to.spikes[(begin - 1) * batch : (steps.stop - 1) * batch]
            to.feedback.add(before, g_u[(begin - steps.start) * batch :])
        return g_state

    def gradients(self, to: Backward) -> list[Tensor | None]:
        own = super().gradients(to._replace(params=to.params[:-1], wanted=to.wanted[:-1]))
        return [*own, to.feedback.total() if to.wanted[-1] and to.feedback else None]

    def _split(self, x: Tensor) -> Array:
        """Return rows [n B, N] as an array [n, B, N]."""
        return x.numpy().reshape(-1, *self.shape)


@lru_cache(maxsize=64)
def neurons(
    kind: type[Neurons], rule: Rule, shape: tuple[int, int], dtype: torch.dtype, wide: tuple[bool, ...],
    numbers: tuple[float, ...],
) -> Neurons:  # fmt: skip
    """Return the object that runs such neurons; it is built once for each size."""
    return kind(rule, shape, dtype, wide, numbers)
