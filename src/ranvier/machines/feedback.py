"""A rule whose own output returns through a weight, carried through time on the CPU in one operator.

    u[t] = x[t] + z[t - 1] W^T (+ b),   (z[t], s[t]) = rule(u[t], s[t - 1])

Forward is one product, by events where few outputs are not zero, and one row kernel per tick; u takes the place of x
as what is kept for backward. With u known, backward needs no product to see the states again: they are retraced
segment by segment, then each tick is one row kernel and one product, g_z[t] = g_y[t] + g_u[t + 1] W. The gradient of
W is a single product over all ticks.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ranvier.machines import cpu, op
from ranvier.machines.memory import empty, scratch
from ranvier.spikes import product

ROW = 1 << 22  # numbers that the states of one segment may take


def _segment(steps: int, states: int, count: int) -> int:
    """Ticks whose states are held at once: all if they are few, else about sqrt(T)."""
    return max(1, steps if steps * states * count <= ROW else math.isqrt(max(steps - 1, 0)) + 1)


def _ready(params: Sequence[Tensor], x: Tensor, dtype: torch.dtype) -> tuple[tuple[bool, ...], tuple]:
    """Which parameters are per neuron, and all of them as the kernels take them."""
    wide = [p.to(dtype) if p.dim() == 0 else p.to(dtype).expand(x.shape[1:]) for p in params]
    flat = [p.reshape(-1).contiguous() for p in wide]
    return tuple(p.numel() != 1 for p in flat), tuple(p.numpy() for p in flat)


def _returning(weight: Tensor) -> Callable[[Tensor, Tensor, Tensor], None]:
    """add(row, z, out): out = row + z weight^T."""
    back = weight.t()

    def dense(row: Tensor, z: Tensor, out: Tensor) -> None:
        torch.addmm(row, z, back, out=out)

    if weight.dtype != torch.float32 or len(weight) < product.NARROW:
        return dense
    panels = product.panels(weight)

    def by_density(row: Tensor, z: Tensor, out: Tensor) -> None:
        if torch.count_nonzero(z).item() <= product.FORWARD * z.numel():
            product.add_events(z, panels, len(weight), row, out)
        else:
            dense(row, z, out)

    return by_density


@torch.library.custom_op("ranvier::feedback", mutates_args=())
def feedback(
    x: Tensor, z: Tensor, initial: Tensor, params: list[Tensor], weight: Tensor, bias: Tensor | None, rule: str
) -> list[Tensor]:
    """x [T, B, N], z [B, N] the output before the first tick, initial [S, B, N], weight [N, N], bias [N] or None
    -> outputs [T, B, N] each, final [S, B, N], marks [segments, S, B, N], u [T, B, N]."""
    known, dtype = op.rules[rule], initial.dtype
    steps, count = len(x), x[0].numel() if len(x) else 0
    segment = _segment(steps, len(known.states), count)
    outputs, u = [empty(x.shape, dtype) for _ in known.outputs], empty(x.shape, dtype)
    marks = initial.new_empty(-(-steps // segment), *initial.shape)
    wide, numbers = _ready(params, x, dtype)
    code = cpu.module(known, dtype, wide)
    two = initial.new_empty(2, *initial.shape)
    two[0] = initial
    states = two.view(2, len(known.states), -1).numpy()
    x_row = x.to(dtype) if bias is None else x.to(dtype) + bias.to(dtype)
    add, before = _returning(weight.to(dtype)), z.to(dtype).contiguous()
    inputs, results = u.view(steps, 1, count).numpy(), [y.view(steps, 1, count).numpy() for y in outputs]
    for t in range(steps):
        add(x_row[t], before, u[t])
        if t % segment == 0:
            marks[t // segment] = two[t & 1]
        row = tuple(y[t] for y in results)
        cpu.timed(known.name, code.forward_tick, count, (inputs[t],), states[t & 1], numbers, row, states[(t + 1) & 1])
        before = outputs[0][t]
    return [*(y.to(x.dtype) for y in outputs), two[steps & 1].clone(), marks, u]


@feedback.register_fake
def _(
    x: Tensor, z: Tensor, initial: Tensor, params: list[Tensor], weight: Tensor, bias: Tensor | None, rule: str
) -> list[Tensor]:
    known = op.rules[rule]
    segment = _segment(x.shape[0], len(known.states), math.prod(x.shape[1:]))
    outputs = [x.new_empty(x.shape) for _ in known.outputs]
    marks = initial.new_empty(-(-x.shape[0] // segment), *initial.shape)
    return [*outputs, initial.new_empty(initial.shape), marks, x.new_empty(x.shape, dtype=initial.dtype)]


@torch.library.custom_op("ranvier::feedback_backward", mutates_args=())
def feedback_backward(
    u: Tensor, y: Tensor, z: Tensor, marks: Tensor, params: list[Tensor], weight: Tensor, grads: list[Tensor],
    wanted: list[bool], rule: str,
) -> list[Tensor]:  # fmt: skip
    """Gradients of x, z, the initial state, the weight, and the wanted parameters.

    grads: of the outputs [T, B, N] each and of the final state [S, B, N].
    """
    known, dtype = op.rules[rule], marks.dtype
    steps, count, states = len(u), u[0].numel(), len(known.states)
    segment = _segment(steps, states, count)
    wide, numbers = _ready(params, u, dtype)
    code = cpu.module(known, dtype, wide, (True, *wanted))
    g_outputs = [g.to(dtype).contiguous() for g in grads[:-1]]
    carry = grads[-1].to(dtype).clone(memory_format=torch.contiguous_format)
    g_u, g_params = empty(u.shape, dtype), torch.zeros(sum(wanted), count, dtype=dtype)
    weight = weight.to(dtype)
    g_z = torch.empty(u.shape[1:], dtype=dtype)
    trail = scratch("feedback", (segment, states, count), dtype)
    flows, g_rows = u.view(steps, 1, count).numpy(), g_u.view(steps, 1, count).numpy()
    others = [g.view(steps, 1, count).numpy() for g in g_outputs[1:]]
    g_z_row, carried, sums = g_z.view(1, count).numpy(), carry.view(states, count).numpy(), g_params.numpy()
    for m in range(len(marks) - 1, -1, -1):
        start, end = m * segment, min((m + 1) * segment, steps)
        trail[0] = marks[m].view(states, count)
        seen = trail.numpy()
        cpu.timed(known.name, code.retrace, count, end - start, (u[start:end].view(-1, count).numpy(),), numbers, seen)
        for t in range(end - 1, start - 1, -1):
            if t + 1 < steps:
                torch.addmm(g_outputs[0][t], g_u[t + 1], weight, out=g_z)
            else:
                g_z.copy_(g_outputs[0][t])
            rows = (g_z_row, *(g[t] for g in others))
            before, to = seen[t - start], (g_rows[t],)
            cpu.timed(known.name, code.adjoint_tick, count, (flows[t],), before, numbers, rows, carried, to, sums)
    neurons = u.shape[-1]
    returned, g_returned = y[:-1].reshape(-1, neurons).to(dtype), g_u[1:].reshape(-1, neurons)
    g_weight = product.gradient(returned, g_returned, neurons) + g_u[0].t() @ z.to(dtype)
    kept = [p for p, want in zip(params, wanted, strict=True) if want]
    found = [r.view(u.shape[1:]).sum_to_size(p.shape).to(p.dtype) for r, p in zip(g_params, kept, strict=True)]
    return [g_u.to(y.dtype), (g_u[0] @ weight).to(z.dtype), carry, g_weight, *found]


@feedback_backward.register_fake
def _(
    u: Tensor, y: Tensor, z: Tensor, marks: Tensor, params: list[Tensor], weight: Tensor, grads: list[Tensor],
    wanted: list[bool], rule: str,
) -> list[Tensor]:  # fmt: skip
    found = [p.new_empty(p.shape) for p, want in zip(params, wanted, strict=True) if want]
    like = marks.new_empty(weight.shape)
    return [y.new_empty(u.shape), z.new_empty(z.shape), marks.new_empty(marks.shape[1:]), like, *found]


def _remember(ctx: Any, inputs: tuple, output: list[Tensor]) -> None:
    _, z, _, params, weight, bias, ctx.rule = inputs
    *outputs, _, marks, u = output
    ctx.count, ctx.biased = len(params), bias is not None
    ctx.save_for_backward(u, outputs[0], z, marks, weight, *params)


def _backward(ctx: Any, grads: list[Tensor | None]) -> tuple:
    u, y, z, marks, weight, *params = ctx.saved_tensors
    given = [torch.zeros_like(y) if g is None else g for g in grads[:-3]]
    final = torch.zeros_like(marks[0]) if grads[-3] is None else grads[-3]
    wanted = [bool(n) for n in ctx.needs_input_grad[3]] if params else []
    g_x, g_z, g_initial, g_weight, *found = feedback_backward(
        u, y, z, marks, params, weight, [*given, final], wanted, ctx.rule
    )
    each = iter(found)
    g_params = [next(each) if want else None for want in wanted]
    g_bias = g_x.sum((0, 1)) if ctx.biased else None
    return g_x, g_z, g_initial, g_params, g_weight.to(weight.dtype), g_bias, None


feedback.register_autograd(_backward, setup_context=_remember)
feedback_backward.register_autograd(op.no_second_derivative, setup_context=lambda ctx, inputs, output: None)
