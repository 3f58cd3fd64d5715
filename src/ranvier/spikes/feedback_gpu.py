"""Recurrent layers on the GPU, compiled by Triton: each program runs a block of the batch through all steps."""

from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from ranvier.backends import numba_backend, op, triton_backend
from ranvier.derive.rule import Rule

CHUNK_BYTES = 32 << 10  # bytes of a chunk of the weight; shared memory (99 KB on small cards) has room for two chunks


class Block(NamedTuple):
    """The size of the block that one program runs, and how it multiplies: constants of the kernels."""

    ROWS: int  # samples
    COLUMNS: int  # neurons, rounded up to a power of two
    CHUNK: int  # rows of the weight that are multiplied at once
    PRECISION: str  # precision of a float32 product: "ieee" on ordinary multipliers, "tf32" on tensor cores
    DEPTH: int  # number of chunks of the weight that are loaded in advance
    num_warps: int


def block(batch: int, neurons: int, dtype: torch.dtype, processors: int) -> Block:
    """Return the block for a batch, a number of neurons, and the dtype of the product.

    Each step reads the whole weight from the L2 cache, at about 64 bytes per cycle and processor, also for a single
    sample. So a block has at least as many samples as can be multiplied during this time (4, or the 16 rows of a tensor
    core), and more if the batch fills all processors. A block has at most 4,096 numbers. Then 16 registers are
    available for each number; backward of a rule with two states needs them. Above 512 neurons (`feedback.WIDEST`)
    reading the weight takes too long for one processor.
    """
    short = dtype.itemsize == 2 or _tf32(dtype)
    columns = max(16, _power(neurons))
    most = min(64, 4096 // columns)
    rows = min(max(16 if short else 4, _power(-(-batch // processors))), most)
    chunk = min(32 if short else 16, CHUNK_BYTES // (columns * dtype.itemsize))
    warps = min(max(4, rows * columns // 128), 16)
    return Block(rows, columns, chunk, "tf32" if _tf32(dtype) else "ieee", 3, warps)


def _power(n: int) -> int:
    """Return the smallest power of two that is at least n."""
    return 1 << (n - 1).bit_length()


def _tf32(dtype: torch.dtype) -> bool:
    """Whether torch allows float32 products on tensor cores, in the shorter format TF32."""
    return dtype == torch.float32 and torch.backends.cuda.matmul.fp32_precision == "tf32"


def kernels(rule: Rule, dtype: torch.dtype, wanted: tuple[bool, ...]) -> ModuleType:
    """Return the kernels of a rule for these gradients, together with those of `feedback_gpu_kernels.py`."""
    more = numba_backend.loops("ranvier.spikes", "feedback_gpu_kernels.py")
    return triton_backend.module(rule, dtype, wanted, more=more)


def _product(weight: Tensor, dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of the product: the shorter of `dtype` and that of the weight.

    Triton's interpreter cannot multiply bfloat16.
    """
    lost = weight.dtype == torch.bfloat16 and triton.knobs.runtime.interpret  # type: ignore
    return dtype if weight.dtype.itemsize >= 4 or lost else weight.dtype


def _ready(params: Sequence[Tensor], neurons: int, dtype: torch.dtype) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """Return each parameter as one number or as one number per neuron, and which parameters are per neuron."""
    flat = op.flat_params(params, (neurons,), dtype)
    return tuple(flat), tuple(map(int, numba_backend.per_neuron(flat)))


def forward(
    rule: Rule, x: Tensor, z: Tensor, initial: Tensor, params: Sequence[Tensor], weight: Tensor, bias: Tensor | None,
    segment: int,
) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:  # fmt: skip
    """Return outputs [T, B, N] each, final [S, B, N], marks [segments, S, B, N], u [T, B, N]; see
    `ranvier::feedback`.
    """
    (steps, batch, neurons), dtype = x.shape, initial.dtype
    code = kernels(rule, dtype, (True, *(False for _ in params)))
    outputs, u = [torch.empty_like(x) for _ in rule.outputs], torch.empty_like(x, dtype=dtype)
    marks, final = initial.new_empty(-(-steps // segment), *initial.shape), torch.empty_like(initial)
    known, wide = _ready(params, neurons, dtype)
    inner = _product(weight, dtype)
    last = torch.stack([z, z]).to(inner)
    chosen = block(batch, neurons, inner, triton_backend.processors(x.device))
    triton_backend.launch(
        code.feedback_forward, -(-batch // chosen.ROWS), x,
        x, initial, known, weight.t().to(inner).contiguous(), None if bias is None else bias.to(dtype).contiguous(),
        last, tuple(outputs), u, final, marks, steps, batch, neurons, segment,
        wide=wide, S=len(rule.states), **chosen._asdict(),
    )  # fmt: skip
    return outputs, final, marks, u


def backward(
    rule: Rule, u: Tensor, marks: Tensor, params: Sequence[Tensor], weight: Tensor, grads: Sequence[Tensor],
    wanted: Sequence[bool], segment: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Return the gradients of u [T, B, N], of the initial state [S, B, N], and of the P wanted parameters [P, B, N]."""
    (steps, batch, neurons), dtype = u.shape, marks.dtype
    code = kernels(rule, dtype, (True, *wanted))
    g_u, g_initial = torch.empty_like(u), torch.empty_like(marks[0])
    g_params = u.new_zeros(sum(wanted), batch, neurons)
    known, wide = _ready(params, neurons, dtype)
    inner = _product(weight, dtype)
    last, trail = u.new_zeros(2, batch, neurons, dtype=inner), marks.new_empty(segment, code.SEEN.value, batch, neurons)
    chosen = block(batch, neurons, inner, triton_backend.processors(u.device))
    triton_backend.launch(
        code.feedback_backward, -(-batch // chosen.ROWS), u,
        u, known, weight.to(inner).contiguous(), last, tuple(g.contiguous() for g in grads[:-1]),
        grads[-1].to(dtype).contiguous(), g_u, g_initial, g_params, marks, trail, steps, batch, neurons, segment,
        len(marks), wide=wide, S=len(rule.states), P=sum(wanted), **chosen._asdict(),
    )  # fmt: skip
    return g_u, g_initial, g_params
