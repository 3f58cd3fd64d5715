"""Recurrent layers on the CPU, compiled by Numba: threads run tiles of the batch through all steps.

At each step, forward adds up those rows of the weight whose neurons spiked; if many spiked, it computes the dense
product.
"""

from collections.abc import Sequence
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from ranvier.backends import numba_backend, op
from ranvier.backends.autograd import array
from ranvier.backends.buffers import empty, room
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
    return product.panels(weight, kept=True) if weight.dtype == torch.float32 else weight.t().contiguous()


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
    dtype, states = initial.dtype, len(initial)
    outputs, u = [empty(x.shape, dtype) for _ in rule.outputs], empty(x.shape, dtype)
    marks, final = initial.new_empty(-(-len(x) // segment), *initial.shape), torch.empty_like(initial)
    current = x.to(dtype) if bias is None else x.to(dtype) + bias.to(dtype)
    flat = op.flat_params(params, x.shape[1:], dtype)
    code = numba_backend.module(rule, dtype, numba_backend.per_neuron(flat), more=loops())
    carry(
        rule.name, code, current.numpy(), z.to(dtype).contiguous().numpy(), array(columns(weight.to(dtype))),
        initial.view(states, -1).numpy(), tuple(map(array, flat)), _flat(outputs), u.numpy(),
        final.view(states, -1).numpy(), marks.view(len(marks), states, -1).numpy(), segment,
    )  # fmt: skip
    return outputs, final, marks, u


def carry(
    name: str, code: ModuleType, x: np.ndarray, z: np.ndarray, columns: np.ndarray, initial: np.ndarray,
    params: tuple[np.ndarray, ...], outputs: tuple[np.ndarray, ...], u: np.ndarray, final: np.ndarray,
    marks: np.ndarray, segment: int,
) -> None:  # fmt: skip
    """Compute the same as `forward`, from arrays to given arrays: outputs [T, B N] each, initial and final [S, B N],
    marks [segments, S, B N]. u may be the same array as x; columns and params have the layout of the kernels.
    """
    _, batch, neurons = x.shape
    few = crossover.crossover("step", neurons, neurons) if x.dtype == np.float32 else 0.0
    arrays = (
        segment, few, x, z, columns, initial, params, outputs, outputs[0].reshape(x.shape), u,
        (u.reshape(len(u), -1),), final, marks,
    )  # fmt: skip
    tile = min(together(neurons), batch)

    def work(lo: int, hi: int) -> None:
        two = room("feedback", (2, len(initial), tile * neurons), x.dtype)
        numba_backend.timed(name, code.feedback_forward, lo, hi, *arrays, two, *product.tile_scratch(tile, neurons))

    spread(work, batch, tile, x.size >= WORTH)


def backward(
    rule: Rule, u: Tensor, marks: Tensor, params: Sequence[Tensor], weight: Tensor, grads: Sequence[Tensor],
    wanted: Sequence[bool], segment: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Return the gradients of u [T, B, N], of the initial state [S, B, N], and of the P wanted parameters [P, B, N]."""
    (_, batch, neurons), dtype, states = u.shape, marks.dtype, len(rule.states)
    *g_outputs, g_final = (g.to(dtype).contiguous() for g in grads)
    g_u, flat = empty(u.shape, dtype), op.flat_params(params, u.shape[1:], dtype)
    code = numba_backend.module(rule, dtype, numba_backend.per_neuron(flat), (True, *wanted), more=loops())
    g_initial, g_params = marks.new_empty(marks.shape[1:]), marks.new_zeros(sum(wanted), batch, neurons)
    carry_back(
        rule.name, code, u.view(len(u), -1).numpy(), marks.view(len(marks), states, -1).numpy(),
        tuple(map(array, flat)), array(columns(weight.to(dtype).t())), _flat(g_outputs),
        np.zeros((batch, neurons), g_u.numpy().dtype), g_final.view(states, -1).numpy(), g_u.numpy(),
        g_initial.view(states, -1).numpy(), g_params.view(len(g_params), batch * neurons).numpy(), segment,
    )  # fmt: skip
    return g_u, g_initial, g_params


def carry_back(
    name: str, code: ModuleType, u: np.ndarray, marks: np.ndarray, params: tuple[np.ndarray, ...],
    columns: np.ndarray, g_outputs: tuple[np.ndarray, ...], g_after: np.ndarray, g_final: np.ndarray,
    g_u: np.ndarray, g_initial: np.ndarray, g_params: np.ndarray, segment: int,
) -> None:  # fmt: skip
    """Compute the same as `backward`, from arrays to given arrays: u and g_outputs [T, B N], g_u [T, B, N],
    the gradients of the final and of the initial state [S, B N]. The gradients of the parameters are added to g_params
    [P, B N]. g_after [B, N]: a gradient that is added to that of the last output.
    """
    (_, batch, neurons), states = g_u.shape, len(g_final)
    g_z = np.empty((1, batch, neurons), u.dtype)
    arrays = (
        segment, (u,), marks, params, columns, g_outputs[0].reshape(g_u.shape), g_after, g_z,
        (g_z.reshape(1, -1), *g_outputs[1:]), g_final, g_u, (g_u.reshape(len(g_u), -1),), g_initial, g_params,
    )  # fmt: skip
    tile = min(together(neurons), batch)

    def work(lo: int, hi: int) -> None:
        trail = room("trail", (segment, states, tile * neurons), u.dtype)
        carry = room("carry", (states, tile * neurons), u.dtype)
        around = trail, carry, *product.tile_scratch(tile, neurons)
        numba_backend.timed(name, code.feedback_backward, lo, hi, *arrays, *around)

    spread(work, batch, tile, u.size >= WORTH)
