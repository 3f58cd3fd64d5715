"""Neurons that are run one chunk of steps after another, forward and backward."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ranvier.backends import numba_backend, op
from ranvier.derive.rule import Rule
from ranvier.spikes import feedback_cpu, product


class Neurons:
    """A rule with one input and one output on `shape` = [B, N] neurons; its initial and final values are its states.

    learned: the parameters of the rule, broadcastable to [N].
    """

    def __init__(
        self, rule: Rule, learned: Sequence[Tensor], shape: tuple[int, int], dtype: torch.dtype,
        spikes: Tensor | None = None, kept: Sequence[Tensor] = (),
    ):  # fmt: skip
        self.rule, self.shape, self.dtype, self.learned = rule, shape, dtype, learned
        self.params = op.flat_params(learned[: len(rule.params)], shape, dtype)

    def begin(self, initial: Sequence[Tensor]) -> Tensor:
        """Return the initial states [B, N] each in the form that kernels need: [S, B N]."""
        states, numbers = initial[: len(self.rule.states)], self.shape[0] * self.shape[1]
        return torch.stack(list(states)).view(-1, numbers) if states else torch.empty(0, numbers, dtype=self.dtype)

    def end(self, state: Tensor) -> list[Tensor]:
        """Return the states [S, B N] as tensors [B, N] of their own."""
        return [s.clone().view(self.shape) for s in state]

    def kept(self) -> Sequence[Tensor]:
        """Return what backward needs besides states, u and spikes."""
        return ()

    def forward(self, u: Tensor, state: Tensor, y: Tensor) -> Tensor:
        """u [n, B, N], which may be overwritten, and state [S, B N] -> y [n, B N], and the state after these steps."""
        return numba_backend.forward(self.rule, [u.view(u.shape[0], -1)], state, self.params, into=[y])[1]

    def turn(self, wanted: Sequence[bool], g_after: Sequence[Tensor | None], like: Tensor) -> Tensor:
        """Begin backward. wanted: which of `learned` need a gradient; g_after: the gradients of the final states.
        Return the gradient of the state [S, B N].
        """
        self.wanted = wanted
        numbers = sum(wanted[: len(self.params)]), self.shape[0] * self.shape[1]
        self.g_params = torch.zeros(numbers, dtype=self.dtype)
        g_state = torch.zeros_like(like)
        for row, g in zip(g_state, g_after, strict=False):
            if g is not None:
                row.copy_(g.reshape(-1))
        return g_state

    def backward(self, span: slice, u: Tensor, state: Tensor, g_y: Tensor, g_state: Tensor, g_u: Tensor) -> Tensor:
        """u as `forward` left it, state [S, B N] before these steps, g_y [n or 1, B N] -> g_u [n, B N]; return the
        gradient of the state before these steps.
        """
        wanted = (True, *self.wanted[: len(self.params)])
        given = self.rule, [u.view(u.shape[0], -1)], state, self.params, [g_y], g_state, wanted
        found = numba_backend.backward(*given, into=[g_u])
        self.g_params += found[2]
        return found[1]

    def before(self, g_state: Tensor) -> list[Tensor]:
        """Return the gradients of the initial values."""
        return [g.view(self.shape) for g in g_state]

    def gradients(self) -> list[Tensor | None]:
        """Return the gradients of `learned`."""
        rows = iter(self.g_params)
        return [
            next(rows).view(self.shape).sum_to_size(p.shape).to(p.dtype) if want else None
            for p, want in zip(self.learned[: len(self.params)], self.wanted, strict=False)
        ]


class RecurrentNeurons(Neurons):
    """Neurons whose spikes return through a weight: z[t - 1] W^T is added to their input.

    `learned` ends with W [N, N]; the initial and final values are the states and the last output z. For backward:
    spikes are the bits [T B, words] of the outputs of forward; kept is z before the first step.
    """

    def __init__(
        self, rule: Rule, learned: Sequence[Tensor], shape: tuple[int, int], dtype: torch.dtype,
        spikes: Tensor | None = None, kept: Sequence[Tensor] = (),
    ):  # fmt: skip
        super().__init__(rule, learned, shape, dtype)
        self.weight, self.spikes = learned[-1], torch.empty(0, 0, dtype=torch.int64) if spikes is None else spikes
        if self.weight.shape != (shape[1], shape[1]):
            raise ValueError(f"feedback {tuple(self.weight.shape)} cannot join {shape[1]} neurons")
        self.z = self.first = kept[0] if kept else torch.zeros(shape, dtype=dtype)
        self.g_first: Tensor | float = 0.0
        self.columns = feedback_cpu.columns(self.weight if spikes is None else self.weight.t())

    def begin(self, initial: Sequence[Tensor]) -> Tensor:
        self.z = self.first = initial[-1].to(self.dtype).contiguous()
        return super().begin(initial)

    def end(self, state: Tensor) -> list[Tensor]:
        return [*super().end(state), self.z.clone()]

    def kept(self) -> Sequence[Tensor]:
        return [self.first]

    def forward(self, u: Tensor, state: Tensor, y: Tensor) -> Tensor:
        around, final = state.view(-1, *self.shape), torch.empty_like(state)
        z, marks = [y.view(u.shape)], state.new_empty(1, *around.shape)
        feedback_cpu.carry(self.rule, u, self.z, around, self.params, self.columns, u.shape[0], z, u, final, marks)
        self.z = z[0][-1].clone()
        return final

    def turn(self, wanted: Sequence[bool], g_after: Sequence[Tensor | None], like: Tensor) -> Tensor:
        width, after = self.shape[1], g_after[-1]
        self.after = torch.zeros(self.shape, dtype=self.dtype) if after is None else after.contiguous()
        self.g_weight = product.Gradient(width, width, product.share(self.spikes, width), name="sums back")
        return super().turn(wanted, g_after[:-1], like)

    def backward(self, span: slice, u: Tensor, state: Tensor, g_y: Tensor, g_state: Tensor, g_u: Tensor) -> Tensor:
        (batch, width), wanted, here = self.shape, self.wanted[: len(self.params)], g_u.view(u.shape)
        marks, g = state.view(1, -1, batch, width), [g_y.expand(u.shape[0], -1).contiguous().view(u.shape)]
        given = self.rule, u, marks, self.params, self.columns, g, self.after, g_state, wanted, u.shape[0], here
        g_state, more = feedback_cpu.carry_back(*given)
        self.g_params += more
        self.after = here[0] @ self.weight
        if self.wanted[-1]:
            first = max(span.start, 1)  # at step 0 the input is z from before the sequence
            before = self.spikes[(first - 1) * batch : (span.stop - 1) * batch]
            self.g_weight.add(before, here[first - span.start :].reshape(-1, width))
            if span.start == 0 and self.first.any():
                self.g_first = here[0].t() @ self.first
        return g_state

    def before(self, g_state: Tensor) -> list[Tensor]:
        return [*super().before(g_state), self.after]

    def gradients(self) -> list[Tensor | None]:
        return [*super().gradients(), self.g_weight.total() + self.g_first if self.wanted[-1] else None]
