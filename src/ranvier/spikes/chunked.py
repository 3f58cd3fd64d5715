"""A linear layer and its neurons, computed for a chunk of steps at a time.

    u[t] = x[t] W^T (+ b),   (y[t], s[t]) = rule(u[t], s[t - 1])

For each chunk the matrix product writes u, and the neurons read it while it is in cache. Saved for backward are u, the
states at the start of each chunk, and x (one bit each if x is spikes). Only one chunk of the gradient of u is in memory
at a time; the same holds for y if spikes are passed on as bits. The neurons are in `chunk.py`.

Memory traffic besides that of the product, per neuron and step: forward writes and reads u (4 bytes each) and writes y
(4 bytes, or one bit); backward reads u and the gradient of y (8 bytes).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ranvier.backends.autograd import Function, whole
from ranvier.backends.buffers import contiguous, empty, scratch
from ranvier.derive.rule import Rule
from ranvier.spikes import bits, product
from ranvier.spikes.chunk import Neurons, RecurrentNeurons

CHUNK = 1 << 18  # numbers of u in a chunk: one megabyte, which stays in cache
SHARED = 1 << 22  # as CHUNK, for several threads: larger, since the threads wait for each other after each chunk
ROWS = 1024  # fewest rows of a dense product, since each product rearranges the whole weight first


@dataclass(frozen=True)
class Spikes:
    """Spikes [T, B, N] passed to the next stage as bits [T B, words], 64 a word.

    Bits have no gradient in torch; `carrier` [T, B, N], a tensor without memory of its own, receives it."""

    bits: Tensor
    carrier: Tensor


@dataclass(frozen=True)
class Drive:
    """What to compute: the rule and the class of the neurons, whether the product may skip zeros of its input
    (`events`), and whether spikes are passed on as bits (`hand`).
    """

    rule: Rule
    kind: type[Neurons]
    events: bool
    hand: bool


def run(
    x: Tensor | Spikes, weight: Tensor, bias: Tensor | None, initial: Sequence[Tensor], learned: Sequence[Tensor],
    drive: Drive,
) -> tuple[Tensor | Spikes, list[Tensor]]:  # fmt: skip
    """x [T, B, K], weight [N, K], bias [N], initial: the initial states, [B, N] each -> y [T, B, N], or its bits
    (only of a spiking rule in float32), and the final states."""
    given, known = of(x, drive.events)
    if given.shape[2] != weight.shape[1] or (bias is not None and bias.shape[0] != weight.shape[0]):
        raise ValueError(
            f"linear layer {tuple(weight.shape)} = [outputs, inputs] cannot take an input of {tuple(given.shape)} = "
            f"[T, B, inputs]"
        )
    asked = any(v is not None and v.requires_grad for v in (given, weight, bias, *initial, *learned))
    keep = torch.is_grad_enabled() and asked
    if keep:
        y, packed, *after = _Chunked.apply(given, known, weight, bias, drive, len(initial), *initial, *learned)
    else:
        y, packed, after, _ = _forward(given, known, weight, bias, drive, initial, learned, False)
    return Spikes(packed, y) if drive.hand else y, after


def of(x: Tensor | Spikes, events: bool) -> tuple[Tensor, Tensor | None]:
    """Return the tensor that receives the gradient of x [T, B, K], and the bits of x if all its numbers are 0 or 1."""
    if isinstance(x, Spikes):
        return x.carrier, x.bits
    return x, product.bits_of(x) if events else None


def chunks(steps: int, batch: int, neurons: int, dense: bool) -> list[slice]:
    """Return the chunks: slices of steps that are computed together."""
    most = CHUNK if torch.get_num_threads() == 1 else SHARED
    rows = max(most // max(1, neurons), max(ROWS, neurons // 4) if dense else 1)
    count = max(1, rows // max(1, batch), math.isqrt(steps))  # a state is saved for each chunk, so about sqrt(T) chunks
    return [slice(t, min(t + count, steps)) for t in range(0, steps, count)]


def drive(x: Tensor | Spikes, weight: Tensor, bias: Tensor | None, events: bool) -> Tensor:
    """Return the input u [T, B, N] of the neurons, equal bit for bit to the u in `run`."""
    given, known = of(x, events)
    (steps, batch, columns), width = given.shape, weight.shape[0]
    rows = given.detach().reshape(-1, columns) if known is None else known
    density = product.share(rows, columns) if events else 1.0
    count = chunks(steps, batch, width, not product.few(density, columns, width))[0].stop * batch
    return product.linear(given, weight, bias, known, events, count)


@dataclass(frozen=True)
class Kept:
    """The values saved for backward. tensors: x or its bits, the weight, u, and the bits of recurrent spikes; marks:
    the states at the start of each chunk; others: values saved by the neurons; spans: the chunks; density: that of x.
    """

    tensors: tuple[Tensor | None, ...]
    marks: Sequence[Tensor]
    others: Sequence[Tensor]
    spans: list[slice]
    density: float


def _forward(
    x: Tensor, known: Tensor | None, weight: Tensor, bias: Tensor | None, drive: Drive, initial: Sequence[Tensor],
    learned: Sequence[Tensor], keep: bool,
) -> tuple[Tensor, Tensor, list[Tensor], Kept]:  # fmt: skip
    """Return y (or its carrier), its bits (empty, [0], if they are not needed), the final states, and the values to
    save.
    """
    (steps, batch, columns), width, dtype = x.shape, weight.shape[0], weight.dtype
    rows = x.reshape(-1, columns).contiguous() if known is None else known
    density = product.share(rows, columns) if drive.events else 1.0
    spans = chunks(steps, batch, width, not product.few(density, columns, width))
    neurons = drive.kind(drive.rule, learned, (batch, width), dtype)
    state = neurons.begin(initial)
    multiply = product.multiplier(rows, columns, weight, bias, density)
    most, packs = spans[0].stop, drive.hand or (keep and drive.kind is RecurrentNeurons)
    u = empty((steps, batch, width), dtype) if keep else scratch("u", (most, batch, width), dtype)
    y = scratch("chunk", (most, batch * width), dtype) if drive.hand else empty((steps, batch * width), dtype)
    spikes = torch.empty(steps * batch if packs else 0, bits.words(width), dtype=torch.int64)
    marks = []
    for span in spans:
        of, n = slice(span.start * batch, span.stop * batch), span.stop - span.start
        marks.append(state)
        v, z = u[span] if keep else u[:n], y[:n] if drive.hand else y[span]
        multiply(rows[of], v.view(-1, width))
        state = neurons.forward(v, state, z)
        if packs:
            bits.packed(z.view(-1, width), into=spikes[of])
    own = spikes if drive.kind is RecurrentNeurons else None
    kept = Kept((rows, weight, u, own), marks, neurons.kept(), spans, density)
    out = weight.new_zeros(1).expand(steps, batch, width) if drive.hand else whole(y, (steps, batch, width))
    return out, spikes, neurons.end(state), kept


class _Chunked(Function):
    """`_forward` and its derivative, for autograd."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, known: Tensor | None, weight: Tensor, bias: Tensor | None, drive: Drive, count: int,
        *rest: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        initial, learned = rest[:count], rest[count:]
        y, spikes, after, kept = _forward(x, known, weight, bias, drive, initial, learned, True)
        ctx.save_for_backward(*kept.tensors, *learned, *kept.marks, *kept.others)
        ctx.drive, ctx.spans, ctx.density, ctx.count = drive, kept.spans, kept.density, count
        ctx.mark_non_differentiable(spikes)
        ctx.set_materialize_grads(False)
        return y, spikes, *after

    @staticmethod
    def gradients(ctx: Any, saved: tuple[Tensor, ...], *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        rows, weight, u, spikes, *others = saved
        (steps, batch, width), columns, dtype, drive = u.shape, weight.shape[1], u.dtype, ctx.drive
        inward, _, weighs, biases, _, _, *needs = ctx.needs_input_grad
        learns, spans = needs[ctx.count :], ctx.spans
        learned, marks = others[: len(learns)], others[len(learns) : len(learns) + len(spans)]
        neurons = drive.kind(drive.rule, learned, (batch, width), dtype, spikes, others[len(learns) + len(spans) :])
        g_y, _, *g_after = grads
        if g_y is None:
            g_y = weight.new_zeros(1).expand(steps, batch, width)
        g_state = neurons.turn(learns, g_after, marks[0])
        g_x = empty((steps, batch, columns), dtype) if inward else None
        g_weight, g_bias = None, torch.zeros(width, dtype=dtype) if biases else None
        room, density = scratch("chunk", (spans[0].stop, batch * width), dtype), 1.0
        for span, state in zip(reversed(spans), reversed(marks), strict=True):
            of, g_u = slice(span.start * batch, span.stop * batch), room[: span.stop - span.start]
            g = contiguous(g_y[:1] if g_y.stride(0) == 0 else g_y[span])  # stride 0: the gradient of a mean over time
            g_state = neurons.backward(span, u[span], state, g.view(len(g), -1), g_state, g_u)
            g_rows = g_u.view(-1, width)
            if g_weight is None:
                density = product.share(g_rows, width) if drive.events else 1.0
                g_weight = product.Gradient(width, columns, ctx.density, density)
            if g_x is not None:
                product.multiplier(g_rows, width, weight.t(), None, density)(g_rows, g_x[span].view(-1, columns))
            if weighs:
                g_weight.add(rows[of], g_rows)
            if g_bias is not None:
                g_bias += g_rows.sum(0)
        of_weight = g_weight.total() if g_weight and weighs else None
        return g_x, None, of_weight, g_bias, None, None, *neurons.before(g_state), *neurons.gradients()
