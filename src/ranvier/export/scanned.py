"""The loop over time as one torch operation that can be exported: torch's `scan`, ONNX's Scan."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan_op
from torch.utils import _pytree as tree

from ranvier.backends import reference
from ranvier.backends.backend import Backend
from ranvier.derive.rule import Rule
from ranvier.nn.recurrent import Recurrent
from ranvier.nn.returning import _Returning
from ranvier.nn.temporal import Temporal
from ranvier.nn.timed import TimedRecurrent

STEPPED = (Recurrent, _Returning, TimedRecurrent)  # layers that run step by step: each also becomes one loop


class Scanned(Backend):
    """The loop over time as one torch operation that can be exported."""

    name, description, transforms = "scanned", "torch's scan", True

    def lacks(self, device: str) -> str | None:
        return None

    def carry(
        self, rule: Rule, inputs: Sequence[Tensor], state: Sequence[Tensor], params: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        like, dtype = inputs[0], torch.promote_types(inputs[0].dtype, torch.float32)
        wide, held = [x.to(dtype) for x in inputs], [p.to(dtype) for p in params]

        def body(now: list[Tensor], before: list[Tensor], rest: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
            outputs, after = reference.scan(rule, [x.unsqueeze(0) for x in now], before, rest)
            return [y[0] for y in outputs], after

        if type(like.shape[0]) is int and like.shape[0] < 2:
            outputs, after = reference.scan(rule, wide, state, held)
        elif state:
            outputs, after = loop(body, wide, list(state), held)
        else:  # without a state the steps are independent: compute all at once
            outputs, after = reference.scan(rule, [x.unsqueeze(0) for x in wide], state, held)
            outputs = [y[0] for y in outputs]
        return [y.to(like.dtype) for y in outputs], after


def loop(
    body: Callable[[list[Tensor], list[Tensor], list[Tensor]], tuple[list[Tensor], list[Tensor]]],
    inputs: list[Tensor], state: list[Tensor], held: list[Tensor],
) -> tuple[list[Tensor], list[Tensor]]:  # fmt: skip
    """Run body(inputs of a step, state, held) -> (outputs of the step, new state) over all steps of inputs [T, ...].

    held: all other tensors that the body uses.
    """
    states, until = len(state), len(state) + len(inputs)

    def combine(*given: Tensor) -> list[Tensor]:
        outputs, after = body(list(given[states:until]), list(given[:states]), list(given[until:]))
        kept = [new.to(old.dtype).expand(old.shape) for new, old in zip(after, given, strict=False)]
        return [t.clone() for t in (*kept, *outputs)]  # torch's scan forbids results that share memory

    begin = [s.clone(memory_format=torch.contiguous_format) for s in state]
    found = scan_op(combine, begin, inputs, tuple(h.clone() for h in held))
    return list(found[states:]), list(found[:states])


class _Run(nn.Module):
    """A module whose forward is the method `run` of a layer."""

    def __init__(self, layer: Temporal):
        super().__init__()
        self.layer = layer

    def forward(self, x: Any, state: Any) -> tuple[Any, Any]:
        return type(self.layer).run(self.layer, x, state)[:2]


def looped(layer: Temporal, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict]:
    """The method `run` of a layer that runs step by step, as one loop that can be exported."""
    inputs, run = list(x) if isinstance(x, (tuple, list)) else [x], _Run(layer)
    pack: Callable[[list[Tensor]], Any] = tuple if isinstance(x, (tuple, list)) else (lambda given: given[0])
    if type(inputs[0].shape[0]) is int and inputs[0].shape[0] < 2:
        return (*run(x, state), {})
    if state is None:
        state = run(pack([v[:0] for v in inputs]), None)[1]
    begin, shape = tree.tree_flatten(state)
    tensors = {**dict(run.named_parameters()), **dict(run.named_buffers())}

    def body(now: list[Tensor], before: list[Tensor], held: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        given = dict(zip(tensors, held, strict=True))
        x_t, old = pack([v.unsqueeze(0) for v in now]), tree.tree_unflatten(before, shape)
        y, after = torch.func.functional_call(run, given, (x_t, old))
        return [v[0] for v in (y if isinstance(y, tuple) else (y,))], tree.tree_leaves(after)

    outputs, after = loop(body, inputs, begin, list(tensors.values()))
    return (tuple(outputs) if len(outputs) > 1 else outputs[0]), tree.tree_unflatten(after, shape), {}
