"""What can carry a rule through time.

A backend is a class of one file and a line in `BACKENDS`. Whoever wants to know what one can do asks it.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

from torch import Tensor

from ranvier.derive.rule import Rule


class Backend(Protocol):
    """Carries a rule through time; `carry` is differentiable, the others are what it is made of."""

    name: ClassVar[str]
    description: ClassVar[str]
    stages: ClassVar[bool] = False  # whether layers in a row may run as one on it
    transforms: ClassVar[bool] = False  # whether torch.func (grad, vmap, ...) sees through it

    recurrence: ClassVar[Callable[..., Tensor] | None] = None
    """(c, x, back) -> v: a recurrence without reset, all steps at once, see `linear.py`."""

    def lacks(self, device: str) -> str | None:
        """Why it cannot serve tensors on this type of device; None if it can."""
        ...

    def carry(
        self, rule: Rule, inputs: Sequence[Tensor], state: Sequence[Tensor], params: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """inputs [T, B, *F] each, state [B, *F] each, params broadcastable to [*F] -> outputs [T, B, *F] each, in the
        dtype of the inputs, and the state after the last step."""
        ...


class Kernels(Backend, Protocol):
    """A backend whose forward and backward are kernels; torch sees them as one operator (`op.py`)."""

    still: ClassVar[bool] = False  # whether a gradient that is the same at every step may come as one row
    strided: ClassVar[bool] = False  # whether the rows of an input may lie anywhere, even all of them in one place

    forward: ClassVar[Callable[..., tuple[list[Tensor], Tensor]]]
    """(rule, inputs, initial, params) -> outputs [T, N] each, final [S, N]; inputs [T, N] each, initial [S, N], params
    [1] or [N] each."""

    backward: ClassVar[Callable[..., tuple[list[Tensor], Tensor, Tensor]]]
    """(rule, inputs, initial, params, g_outputs, g_final, wanted) -> gradients of the wanted inputs [T, N] each, of the
    initial state [S, N], of the wanted parameters [P, N]."""

    forward_marked: ClassVar[Callable[..., tuple[list[Tensor], Tensor, Tensor]] | None] = None
    """The same as `forward`, told which gradients will be wanted: it also gives the states at some steps, which
    `backward` takes last and then need not find again."""

    def carry(
        self, rule: Rule, inputs: Sequence[Tensor], state: Sequence[Tensor], params: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        from ranvier.backends import op  # which looks backends up by their names

        return op.carry(self, rule, inputs, state, params)
