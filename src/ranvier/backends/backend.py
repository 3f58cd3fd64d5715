"""What a backend is: a class that runs a rule over all steps, and says what it can do.

To add one: its class in a file of its own, and a line in `BACKENDS` (`choose.py`).
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

from torch import Tensor

from ranvier.derive.rule import Rule


class Backend(Protocol):
    """Runs a rule over all steps; `carry` is differentiable."""

    name: ClassVar[str]
    description: ClassVar[str]
    events: ClassVar[bool] = False  # whether it has kernels for products by events and for single steps
    transforms: ClassVar[bool] = False  # whether torch.func (grad, vmap, ...) works with it

    recurrence: ClassVar[Callable[..., Tensor] | None] = None
    """(c, x, back) -> v: a recurrence without reset, all steps at once, see `linear.py`."""

    def lacks(self, device: str) -> str | None:
        """Why it cannot run tensors on this type of device; None if it can."""
        ...

    def carry(
        self, rule: Rule, inputs: Sequence[Tensor], state: Sequence[Tensor], params: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """inputs [T, B, *F] each, state [B, *F] each, params broadcastable to [*F] -> outputs [T, B, *F] each, in the
        dtype of the inputs, and the state after the last step."""
        ...


class Kernels(Backend, Protocol):
    """A backend whose forward and backward are kernels; torch sees them as one operator (`op.py`)."""

    still: ClassVar[bool] = False  # whether a gradient that is equal at all steps may be given as one row
    strided: ClassVar[bool] = False  # whether the steps of an input may have any stride, 0 too

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
