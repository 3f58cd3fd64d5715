"""The interface of a backend: a class that runs a rule over all steps, and has attributes that describe its
abilities.

To add a backend, write its class in a new file, and add a line to `BACKENDS` (`choose.py`).
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

from torch import Tensor

from ranvier.derive.rule import Rule


class Backend(Protocol):
    """A class that runs a rule over all steps; the result of `carry` is differentiable."""

    name: ClassVar[str]
    description: ClassVar[str]
    events: ClassVar[bool] = False  # whether it has event-driven kernels, and kernels for single steps
    transforms: ClassVar[bool] = False  # whether transforms of torch.func (grad, vmap, ...) work with it

    recurrence: ClassVar[Callable[..., Tensor] | None] = None
    """(c, x, back) -> v: a recurrence without reset, computed for all steps at once; None if there is no kernel for it.
    See `linear.py`.
    """

    def lacks(self, device: str) -> str | None:
        """Return the reason why this backend cannot run tensors on this type of device; None if it can."""
        ...

    def carry(
        self, rule: Rule, inputs: Sequence[Tensor], state: Sequence[Tensor], params: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Run the rule over all steps.

        inputs [T, B, *F] each, state [B, *F] each, params broadcastable to [*F] -> outputs [T, B, *F] each, in the
        dtype of the inputs, and the state after the last step.
        """
        ...


class Kernels(Backend, Protocol):
    """A backend whose forward and backward are kernels; torch sees them as one operator (`op.py`)."""

    still: ClassVar[bool] = False  # whether an output gradient that is equal at all steps may be passed as one row
    strided: ClassVar[bool] = False  # whether the step axis of an input may have any stride, also 0

    forward: ClassVar[Callable[..., tuple[list[Tensor], Tensor]]]
    """(rule, inputs, initial, params) -> outputs [T, N] each, final [S, N]. inputs are [T, N] each, initial [S, N], and
    params [1] or [N] each."""

    backward: ClassVar[Callable[..., tuple[list[Tensor], Tensor, Tensor]]]
    """(rule, inputs, initial, params, g_outputs, g_final, wanted) -> gradients of the wanted inputs [T, N] each, of the
    initial state [S, N], and of the P wanted parameters [P, N]."""

    forward_marked: ClassVar[Callable[..., tuple[list[Tensor], Tensor, Tensor]] | None] = None
    """(rule, inputs, initial, params, wanted) -> outputs, final, marks: as `forward`, and the states at some steps (the
    marks). `backward` accepts them as its last argument, so it does not have to compute them again."""

    def carry(
        self, rule: Rule, inputs: Sequence[Tensor], state: Sequence[Tensor], params: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        from ranvier.backends import op  # not at the top: `op` imports this file

        return op.carry(self, rule, inputs, state, params)
