"""Neurons carried through one chunk of steps after the other, there and back."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ranvier.backends import numba_backend, op
from ranvier.derive.rule import Rule
from ranvier.spikes import feedback_cpu, product


class Neurons:
    """A rule of one input and one output on `shape` = [B, N] neurons.

    learned: its parameters, broadcastable to [N]. spikes: for a way back, the bits [T B, words] of what the way there
    gave; only those need them whose output returns.
    """

    def __init__(self, rule: Rule, learned: Sequence[Tensor], shape: tuple[int, int], dtype: torch.dtype, spikes: Any):
        self.rule, self.learned, self.shape, self.dtype, self.spikes = rule, learned, shape, dtype, spikes
        self.params = op.flat_params(learned, shape, dtype)

    def forward(self, u: Tensor, state: Tensor, y: Tensor) -> Tensor:
        """u [n, B, N], which may change, and state [S, B N] -> y [n, B N], and the state after them."""
        return numba_backend.forward(self.rule, [u.view(len(u), -1)], state, self.params, into=[y])[1]

    def turn(self, wanted: Sequence[bool]) -> None:
        """Begin the way back: `wanted` are the gradients of which of `learned`."""
        self.wanted = wanted
        numbers = sum(wanted[: len(self.params)]), self.shape[0] * self.shape[1]
        self.g_params = torch.zeros(numbers, dtype=self.dtype)

    def backward(self, steps: slice, u: Tensor, state: Tensor, g_y: Tensor, g_state: Tensor, g_u: Tensor) -> Tensor:
        """u, as `forward` left it, state [S, B N] before it, g_y [n or 1, B N] -> g_u [n, B N], and g_state before."""
        wanted = (True, *self.wanted[: len(self.params)])
        given = self.rule, [u.view(len(u), -1)], state, self.params, [g_y], g_state, wanted
        found = numba_backend.backward(*given, into=[g_u])
        self.g_params += found[2]
        return found[1]

    def gradients(self) -> list[Tensor | None]:
        """Of `learned`."""
        rows = iter(self.g_params)
        return [
            next(rows).view(self.shape).sum_to_size(p.shape) if want else None
            for p, want in zip(self.learned, self.wanted, strict=False)
        ]


class Returning(Neurons):
    """The same with spikes that return through a weight, z[t - 1] W^T: `learned` ends with W [N, N]."""

    def __init__(self, rule: Rule, learned: Sequence[Tensor], shape: tuple[int, int], dtype: torch.dtype, spikes: Any):
        *params, self.weight = learned
        super().__init__(rule, params, shape, dtype, spikes)
        self.z = torch.zeros(shape, dtype=dtype)
        self.columns = feedback_cpu.columns(self.weight if spikes is None else self.weight.t())

    def forward(self, u: Tensor, state: Tensor, y: Tensor) -> Tensor:
        around, final = state.view(-1, *self.shape), torch.empty_like(state)
        z, marks = [y.view(u.shape)], state.new_empty(1, *around.shape)
        feedback_cpu.carry(self.rule, u, self.z, around, self.params, self.columns, len(u), z, u, final, marks)
        self.z = z[0][-1].clone()
        return final

    def turn(self, wanted: Sequence[bool]) -> None:
        super().turn(wanted)
        width = self.shape[1]
        self.after = torch.zeros(self.shape)  # what comes back to the output of the last step of a chunk
        self.g_weight = product.Gradient(width, width, product.share(self.spikes, width), name="sums back")

    def backward(self, steps: slice, u: Tensor, state: Tensor, g_y: Tensor, g_state: Tensor, g_u: Tensor) -> Tensor:
        (batch, width), wanted, here = self.shape, self.wanted[: len(self.params)], g_u.view(u.shape)
        marks, g = state.view(1, -1, batch, width), [g_y.expand(len(u), -1).contiguous().view(u.shape)]
        given = self.rule, u, marks, self.params, self.columns, g, self.after, g_state, wanted, len(u), here
        g_state, more = feedback_cpu.carry_back(*given)
        self.g_params += more
        self.after = here[0] @ self.weight
        first = max(steps.start, 1)  # nothing returns to the first step
        before = self.spikes[(first - 1) * batch : (steps.stop - 1) * batch]
        self.g_weight.add(before, here[first - steps.start :].reshape(-1, width))
        return g_state

    def gradients(self) -> list[Tensor | None]:
        return [*super().gradients(), self.g_weight.total() if self.wanted[-1] else None]
