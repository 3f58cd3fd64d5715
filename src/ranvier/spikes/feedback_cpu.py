"""Recurrent layers on the CPU, compiled by Numba: threads run tiles of the batch through all steps.

At each step, forward adds up those rows of the weight whose neurons spiked; if many spiked, it computes the dense
product.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ranvier.backends import numba_backend, op
from ranvier.backends.autograd import array
from ranvier.backends.buffers import empty, scratch
from ranvier.backends.threads import spread
from ranvier.derive.rule import Rule
from ranvier.spikes import crossover, product

WORTH = 1 << 17  # from this many numbers on, several threads share the batch


def loops() -> str:
    """The text of the loops of recurrent layers, which is the last part of the module of a rule."""
    return numba_backend.loops("ranvier.spikes", "feedback_cpu_kernels.py")


def together(neurons: int) -> int:
    """Return the number of samples per tile. With more samples, each row of the weight that is read is used more often;
    with fewer, the tile stays in cache.
    """
    return 8 if neurons <= 512 else 16


def columns(weight: Tensor) -> Tensor:
    """Return a weight [N, K] in the layout that the kernels read: panels in float32, transposed in float64."""
    return product.panels(weight, name="back") if weight.dtype == torch.float32 else weight.t().contiguous()


def _flat(sequences: Sequence[Tensor]) -> tuple:
    """Return sequences [T, B, N] as arrays [T, B N]."""
    return tuple(s.view(len(s), -1).numpy() for s in sequences)


def forward(
    rule: Rule, x: Tensor, z: Tensor, initial: Tensor, params: Sequence[Tensor], weight: Tensor, bias: Tensor | None,
    segment: int,
) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:  # fmt: skip
    """Return outputs [T, B, N] each, final [S, B, N], marks [segments, S, B, N], u [T, B, N]; see
    `ranvier::feedback`.
    """
    dtype = initial.dtype
    outputs, u = [empty(x.shape, dtype) for _ in rule.outputs], empty(x.shape, dtype)
    marks, final = initial.new_empty(-(-len(x) // segment), *initial.shape), torch.empty_like(initial)
    current, flat = (
        x.to(dtype) if bias is None else x.to(dtype) + bias.to(dtype),
        op.flat_params(params, x.shape[1:], dtype),
    )
    begin, back = z.to(dtype).contiguous(), columns(weight.to(dtype))
    carry(rule, current, begin, initial, flat, back, segment, outputs, u, final, marks)
    return outputs, final, marks, u


def carry(
    rule: Rule, x: Tensor, z: Tensor, initial: Tensor, params: Sequence[Tensor], columns: Tensor, segment: int,
    outputs: Sequence[Tensor], u: Tensor, final: Tensor, marks: Tensor,
) -> None:  # fmt: skip
    """Compute the same as `forward`, but write the results to given arrays; u may be the same array as x. params and
    columns must have the layout of the kernels.
    """
    (_, batch, neurons), states, dtype = x.shape, len(rule.states), initial.dtype
    code = numba_backend.module(rule, dtype, numba_backend.per_neuron(params), more=loops())
    few = crossover.crossover("step", neurons, neurons) if dtype == torch.float32 else 0.0
    arrays = (few, x.numpy(), z.numpy(), array(columns), initial.view(states, -1).numpy(),
              tuple(map(array, params)), _flat(outputs), outputs[0].numpy(), u.numpy(), _flat([u]),
              final.view(states, -1).numpy(), marks.view(len(marks), states, -1).numpy())  # fmt: skip
    tile = min(together(neurons), batch)

    def work(lo: int, hi: int) -> None:
        two = scratch("feedback", (2, states, tile * neurons), dtype).numpy()
        around = two, *product.tile_scratch(tile, neurons)
        numba_backend.timed(rule.name, code.feedback_forward, lo, hi, segment, *arrays, *around)

    spread(work, batch, tile, x.numel() >= WORTH)


def backward(
    rule: Rule, u: Tensor, marks: Tensor, params: Sequence[Tensor], weight: Tensor, grads: Sequence[Tensor],
    wanted: Sequence[bool], segment: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Return the gradients of u [T, B, N], of the initial state [S, B, N], and of the P wanted parameters [P, B, N]."""
    (_, batch, neurons), dtype = u.shape, marks.dtype
    *g_outputs, g_final = (g.to(dtype).contiguous() for g in grads)
    g_u, flat, back = empty(u.shape, dtype), op.flat_params(params, u.shape[1:], dtype), columns(weight.to(dtype).t())
    after = torch.zeros(batch, neurons, dtype=dtype)
    g_initial, g_params = carry_back(rule, u, marks, flat, back, g_outputs, after, g_final, wanted, segment, g_u)
    return g_u, g_initial.view(marks.shape[1:]), g_params.view(-1, batch, neurons)


def carry_back(
    rule: Rule, u: Tensor, marks: Tensor, params: Sequence[Tensor], columns: Tensor, g_outputs: Sequence[Tensor],
    g_after: Tensor, g_final: Tensor, wanted: Sequence[bool], segment: int, g_u: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Compute the same as `backward`, but write the gradient of u to a given array.

    g_after [B, N]: a gradient that is added to that of the last output. Return the gradients of the state before the
    first step [S, B N] and of the wanted parameters [P, B N].
    """
    (_, batch, neurons), states, dtype = u.shape, len(rule.states), marks.dtype
    code = numba_backend.module(rule, dtype, numba_backend.per_neuron(params), (True, *wanted), more=loops())
    g_z = torch.empty(1, batch, neurons, dtype=dtype)
    g_initial = torch.empty(states, batch * neurons, dtype=dtype)
    g_params = torch.zeros(sum(wanted), batch * neurons, dtype=dtype)
    arrays = (_flat([u]), marks.view(len(marks), states, -1).numpy(), tuple(map(array, params)), array(columns),
              g_outputs[0].numpy(), g_after.numpy(), g_z.numpy(), _flat([g_z, *g_outputs[1:]]),
              g_final.view(states, -1).numpy(), g_u.numpy(), _flat([g_u]), g_initial.numpy(),
              g_params.numpy())  # fmt: skip
    tile = min(together(neurons), batch)

    def work(lo: int, hi: int) -> None:
        trail = scratch("trail", (segment, states, tile * neurons), dtype).numpy()
        carry = scratch("carry", (states, tile * neurons), dtype).numpy()
        around = trail, carry, *product.tile_scratch(tile, neurons)
        numba_backend.timed(rule.name, code.feedback_backward, lo, hi, segment, *arrays, *around)

    spread(work, batch, tile, u.numel() >= WORTH)
    return g_initial, g_params
