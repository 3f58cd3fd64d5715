"""The reference: a plain loop over time, with which all other backends are compared. It runs on any device, in any
float dtype, and can be differentiated any number of times.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ranvier.backends.backend import Backend
from ranvier.derive.rule import Rule
from ranvier.ops import spike_derivative


class Reference(Backend):
    """The plain loop over time, in torch operations, on any device."""

    name, description, transforms = "reference", "a loop of torch operations", True

    def lacks(self, device: str) -> str | None:
        return None

    def carry(
        self, rule: Rule, inputs: Sequence[Tensor], state: Sequence[Tensor], params: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        dtype = torch.promote_types(inputs[0].dtype, torch.float32)
        outputs, after = scan(rule, [x.to(dtype) for x in inputs], state, [p.to(dtype) for p in params])
        return [y.to(inputs[0].dtype) for y in outputs], after


def scan(rule: Rule, inputs: Sequence[Tensor], state: Sequence[Tensor], params: Sequence[Tensor]) -> tuple[list, list]:
    """Run a rule: inputs [T, B, *F] each, state [B, *F] each, params broadcastable to [*F] -> outputs [T, B, *F] each,
    and the final state.
    """
    steps: list[tuple] = []
    like = inputs[0]
    with spike_derivative(rule.surrogate_at(params), like.dtype):
        for now in zip(*(x.unbind(0) for x in inputs), strict=True):
            outputs, state = rule.function(*now, *state, *params)
            steps.append(tuple(_tensor(y, now[0]) for y in outputs))
            state = tuple(_tensor(s, now[0]) for s in state)
    if not steps:
        return [torch.empty_like(like) for _ in rule.outputs], list(state)
    return [torch.stack(y) for y in zip(*steps, strict=True)], list(state)


def _tensor(value: Tensor | float, like: Tensor) -> Tensor:
    """Return a value of a rule as a tensor of full shape; a rule may return a plain number or a smaller tensor."""
    if isinstance(value, Tensor):
        return value if value.shape == like.shape else value.expand_as(like)
    return torch.full_like(like, value)
