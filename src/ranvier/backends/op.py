"""The torch operator that runs a rule over all steps by a kernel, and the operator for its derivative.

The same two operators, `ranvier::scan` and `ranvier::scan_backward`, run every rule. Their arguments contain the key of
the rule and the name of the backend. The inputs, the initial state and the parameters are saved for backward. Calling a
custom operator through torch's dispatcher makes a small layer 1.5 times slower, so `carry` calls the operator only
while operations are traced.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ranvier.backends.autograd import Function, refuse, whole
from ranvier.backends.backend import Kernels
from ranvier.backends.buffers import contiguous
from ranvier.derive.hoist import evaluate
from ranvier.derive.rule import Rule

PLAIN = (Tensor, torch.nn.Parameter)

rules: dict[str, Rule] = {}
kernels: dict[str, Kernels] = {}


def register(rule: Rule) -> str:
    """Add a rule to the table in which the operators find it by its key; return the key."""
    rules.setdefault(rule.key, rule)
    if rule.hoisted is not None:
        register(rule.hoisted[1])
    return rule.key


def carry(
    backend: Kernels, rule: Rule, inputs: Sequence[Tensor], state: Sequence[Tensor], params: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Do the work of `Backend.carry` by kernels: return the outputs, and the final value of each state."""
    like = inputs[0]
    dtype = torch.promote_types(like.dtype, torch.float32)
    initial = torch.stack(list(state)) if state else like.new_empty((0, *like.shape[1:]), dtype=dtype)
    rule, params = _hoisted(rule, params, initial.dtype)
    *outputs, final = _apply(list(inputs), initial, list(params), rule.key, backend.name)
    return outputs, [final[k] for k in range(len(state))]


def _hoisted(rule: Rule, params: Sequence[Tensor], dtype: torch.dtype) -> tuple[Rule, Sequence[Tensor]]:
    """Run the hoisted operations, if one of their parameters differs between neurons; return the rest of the rule and
    its parameters. If all are single numbers, return the rule unchanged: then the kernel computes these operations
    before its loop.
    """
    if rule.hoisted is None:
        return rule, params
    hoisted, rest = rule.hoisted
    given = dict(zip((f"{p}_" for p in rule.params), params, strict=True))
    if all(given[name].numel() == 1 for name in hoisted.taken):
        return rule, params
    known = evaluate(hoisted.ops, {name: p.to(dtype) for name, p in given.items()})
    return rest, [known[name] for name in hoisted.given]


def traced(tensors: Sequence[Tensor]) -> bool:
    """Whether operations on these tensors are traced (by torch.compile, torch.jit or a dispatch mode), or a tensor is
    of a subclass with its own dispatch. In both cases the kernel must be called as an operator."""
    return (
        torch.compiler.is_dynamo_compiling()
        or bool(torch._C._len_torch_dispatch_stack())  # type: ignore
        or torch._C._get_tracing_state() is not None
        or any(type(t) not in PLAIN for t in tensors)
    )


def _apply(inputs: list[Tensor], initial: Tensor, params: list[Tensor], rule: str, backend: str) -> list[Tensor]:
    if traced((*inputs, initial, *params)):
        return scan(inputs, initial, params, rule, backend)
    learns = torch.is_grad_enabled() and any(t.requires_grad for t in (*inputs, initial, *params))
    return list(_Scan.apply(rule, backend, len(inputs), learns, *inputs, initial, *params))


def flat_params(params: Sequence[Tensor], shape: Sequence[int], dtype: torch.dtype) -> list[Tensor]:
    """Return the parameters in the form that kernels need: [1] if a parameter is one number for all neurons, otherwise
    one number for each neuron of `shape`, flat.
    """
    wide = [p.to(dtype) if p.numel() == 1 else p.to(dtype).expand(shape) for p in params]
    return [p.reshape(-1).contiguous() for p in wide]


def _flat(
    inputs: Sequence[Tensor], initial: Tensor, params: Sequence[Tensor], strided: bool
) -> tuple[list, Tensor, list]:
    """Return inputs, initial state and parameters in the form that kernels need: inputs [T, N], state [S, N], and
    parameters as one number or one per neuron, in the dtype of the state.

    strided: whether the step axis may have any stride, also 0; each row itself must be contiguous.
    """
    steps, shape, dtype = inputs[0].shape[0], inputs[0].shape[1:], initial.dtype
    neurons = math.prod(shape)
    rows = [(x if strided and x[0].is_contiguous() else contiguous(x)).view(steps, neurons) for x in inputs]
    return rows, initial.reshape(len(initial), neurons).contiguous(), flat_params(params, shape, dtype)


def _forward(inputs: list[Tensor], initial: Tensor, params: list[Tensor], rule: str, backend: str) -> list[Tensor]:
    """Run a rule: inputs [T, B, *F] each, initial [S, B, *F], params broadcastable to [*F] -> outputs [T, B, *F] each,
    and the final state.
    """
    return _forward_marked(inputs, initial, params, rule, backend, None)[0]


def _forward_marked(
    inputs: list[Tensor], initial: Tensor, params: list[Tensor], rule: str, backend: str, wanted: tuple | None
) -> tuple[list[Tensor], Tensor | None]:
    """Return the result of `_forward`, and the marks: states that backward of the wanted gradients needs. They are None
    if `wanted` is None, or if the backend has no marks.
    """
    like, carried = inputs[0], kernels[backend]
    if like.numel() == 0:
        new = [torch.empty_like(like, memory_format=torch.contiguous_format) for _ in rules[rule].outputs]
        return [*new, initial.clone(memory_format=torch.contiguous_format)], None
    given, marks = _flat(inputs, initial, params, carried.strided), None
    if wanted is not None and carried.forward_marked is not None:
        outputs, final, marks = carried.forward_marked(rules[rule], *given, wanted)
    else:
        outputs, final = carried.forward(rules[rule], *given)
    return [*(whole(y.to(like.dtype), like.shape) for y in outputs), whole(final, initial.shape)], marks


scan = torch.library.custom_op("ranvier::scan", _forward, mutates_args=())


@scan.register_fake
def _(inputs: list[Tensor], initial: Tensor, params: list[Tensor], rule: str, backend: str) -> list[Tensor]:
    new = [torch.empty_like(inputs[0], memory_format=torch.contiguous_format) for _ in rules[rule].outputs]
    return [*new, torch.empty_like(initial, memory_format=torch.contiguous_format)]


def _gradients(
    inputs: list[Tensor], initial: Tensor, params: list[Tensor], grads: list[Tensor], wanted: list[bool], rule: str,
    backend: str,
) -> list[Tensor]:  # fmt: skip
    """Return the gradients of the wanted inputs, of the initial state, and of the wanted parameters."""
    return _gradients_marked(inputs, initial, params, grads, wanted, rule, backend, ())


def _gradients_marked(
    inputs: list[Tensor], initial: Tensor, params: list[Tensor], grads: list[Tensor], wanted: Sequence[bool], rule: str,
    backend: str, marks: Sequence[Tensor],
) -> list[Tensor]:  # fmt: skip
    """Return the same gradients as `_gradients`; marks: the states that forward has saved for backward, or an empty
    tuple.
    """
    like, count, carried = inputs[0], len(inputs), kernels[backend]
    kept = [q for q, want in zip(params, wanted[count:], strict=True) if want]
    if like.numel() == 0:
        given = [torch.zeros_like(like) for want in wanted[:count] if want]
        return [*given, grads[-1].to(initial.dtype).clone(), *map(torch.zeros_like, kept)]
    x, s, p = _flat(inputs, initial, params, carried.strided)
    neurons = x[0].shape[1]
    still = [carried.still and y.stride(0) == 0 for y in grads[:-1]]  # stride 0: the gradient of a mean over time
    g = [contiguous(y[:1] if one else y).view(-1, neurons) for y, one in zip(grads[:-1], still, strict=True)]
    g_final = grads[-1].to(initial.dtype).reshape(s.shape).contiguous()
    g_inputs, g_initial, rows = carried.backward(rules[rule], x, s, p, g, g_final, tuple(wanted), *marks)
    return [
        *(whole(g.to(like.dtype), like.shape) for g in g_inputs),
        whole(g_initial, initial.shape),
        *(r.view(like.shape[1:]).sum_to_size(q.shape).to(q.dtype) for r, q in zip(rows, kept, strict=True)),
    ]


scan_backward = torch.library.custom_op("ranvier::scan_backward", _gradients, mutates_args=())


@scan_backward.register_fake
def _(
    inputs: list[Tensor], initial: Tensor, params: list[Tensor], grads: list[Tensor], wanted: list[bool], rule: str,
    backend: str,
) -> list[Tensor]:  # fmt: skip
    new = torch.contiguous_format
    return [
        *(torch.empty_like(x, memory_format=new) for x, want in zip(inputs, wanted, strict=False) if want),
        torch.empty_like(initial, memory_format=new),
        *(torch.empty_like(p, memory_format=new) for p, w in zip(params, wanted[len(inputs) :], strict=True) if w),
    ]


def _keep(ctx: Any, rule: str, backend: str, count: int, *tensors: Tensor) -> None:
    ctx.set_materialize_grads(False)
    ctx.rule, ctx.backend, ctx.count = rule, backend, count
    ctx.save_for_backward(*tensors)


def _back(
    ctx: Any, saved: Sequence[Tensor], grads: Sequence[Tensor | None], needs: Sequence[bool], gradients: Callable
) -> list[Tensor | None]:
    """Return the gradients of all saved tensors (inputs, initial state, parameters); None for those that need none."""
    n = ctx.count
    xs, initial, params = list(saved[:n]), saved[n], list(saved[n + 1 :])
    wanted = [*needs[:n], *needs[n + 1 :]]
    likes = [xs[0]] * (len(grads) - 1) + [initial]
    given = [torch.zeros_like(like) if g is None else g for g, like in zip(grads, likes, strict=True)]
    found = iter(gradients(xs, initial, params, given, wanted, ctx.rule, ctx.backend))
    return [next(found) if want or at == n else None for at, want in enumerate(needs)]


class _Scan(Function):
    """`scan` without torch's dispatcher; if gradients may be needed, forward saves the marks for backward."""

    saves_inputs = True

    @staticmethod
    def forward(ctx: Any, rule: str, backend: str, count: int, learns: bool, *tensors: Tensor) -> tuple[Tensor, ...]:
        needs = ctx.needs_input_grad[4:]
        ctx.wanted = (*needs[:count], *needs[count + 1 :])
        given = list(tensors[:count]), tensors[count], list(tensors[count + 1 :])
        out, marks = _forward_marked(*given, rule, backend, ctx.wanted if learns else None)
        ctx.marked = marks is not None
        _keep(ctx, rule, backend, count, *tensors, *(() if marks is None else (marks,)))
        return tuple(out)

    @staticmethod
    def gradients(ctx: Any, saved: tuple[Tensor, ...], *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        needs, n = ctx.needs_input_grad[4:], ctx.count
        if not ctx.marked:
            return None, None, None, None, *_back(ctx, saved, grads, needs, _gradients)
        asked = [*ctx.wanted[:n], True, *ctx.wanted[n:]]  # as in forward, although fewer may be needed now
        found = _back(ctx, saved[:-1], grads, asked, partial(_gradients_marked, marks=saved[-1:]))
        return None, None, None, None, *(g if need else None for g, need in zip(found, needs, strict=True))


def _remember(ctx: Any, inputs: tuple, output: Any) -> None:
    xs, initial, params, rule, backend = inputs
    _keep(ctx, rule, backend, len(xs), *xs, initial, *params)


def _backward(ctx: Any, grads: list[Tensor | None]) -> tuple:
    of_inputs, of_initial, of_params, *_ = ctx.needs_input_grad
    n, saved = ctx.count, ctx.saved_tensors
    needs = [*map(bool, of_inputs), bool(of_initial), *(map(bool, of_params) if of_params else ())]
    found = _back(ctx, saved, grads, needs, scan_backward)
    return found[:n], found[n], found[n + 1 :], None, None


scan.register_autograd(_backward, setup_context=_remember)
scan_backward.register_autograd(refuse, setup_context=lambda ctx, inputs, output: None)
