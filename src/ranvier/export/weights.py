"""Weights with few bits: linear layers and convolutions on integers."""

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ranvier.export.integers import C, Numpy, Width
from ranvier.export.parts import Array, Constant, Part, Rescale, Wire

BITS = {8: 127, 4: 7, 2: 1}  # bits -> the largest weight; 2 bits are ternary: -1, 0, 1
EXACT = 2**53  # below this, sums of integers are exact in float64
PACKED = {
    8: ("int8_t", 1, "{table}[{at}]"),
    4: ("uint8_t", 2, "(({table}[({at}) >> 1] >> (4 * (({at}) & 1)) & 15) - 8)"),
    2: ("uint8_t", 4, "(({table}[({at}) >> 2] >> (2 * (({at}) & 3)) & 3) - 2)"),
}


def quantise(weight: Array, bits: int) -> tuple[Array, Array]:
    """Return weight [O, ...] as integers, and one scale for each output. The scale is chosen so that scale * integer
    has the smallest squared error.

    >>> q, scale = quantise(np.array([[0.5, -1.0], [0.1, 0.2]]), 4)
    >>> q.tolist(), (q * scale[:, None]).round(1).tolist()
    ([[4, -7], [4, 7]], [[0.5, -1.0], [0.1, 0.2]])
    """
    if bits not in BITS:
        raise ValueError(f"weights have {sorted(BITS)} bits (2: ternary), got {bits!r}")
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    if not np.isfinite(rows).all():
        raise ValueError("a weight is infinite or NaN")
    largest = np.abs(rows).max(1, initial=0.0)
    best, scale = np.full(len(rows), np.inf), np.ones(len(rows))
    for share in np.linspace(1.0, 0.2, 41):
        tried = np.where(largest > 0, share * largest / BITS[bits], 1.0)
        whole = np.clip(np.rint(rows / tried[:, None]), -BITS[bits], BITS[bits])
        error = ((whole * tried[:, None] - rows) ** 2).sum(1)
        scale, best = np.where(error < best, tried, scale), np.minimum(error, best)
    whole = np.clip(np.rint(rows / scale[:, None]), -BITS[bits], BITS[bits]).astype(np.int64)
    return whole.reshape(weight.shape), scale


def pack(integers: Array, bits: int) -> list[int]:
    """Return integers in the form in which they are stored in flash: one, two or four in a byte.

    >>> pack(np.array([-8, 7]), 4), pack(np.array([-1, 0, 1, 1]), 2)
    ([240], [249])
    """
    flat, each = integers.reshape(-1), PACKED[bits][1]
    if each == 1:
        return flat.tolist()
    flat = np.concatenate([flat, np.zeros(-len(flat) % each, np.int64)]) + 2 ** (bits - 1)
    return sum(flat[k::each] << (bits * k) for k in range(each)).tolist()  # type: ignore[union-attr]


class Weighted(Part):
    """A layer with weights. q: integers [O, ...]; scale: one for each output; bias [O]; before, after: formats of the
    input and the output.
    """

    def __init__(
        self,
        tag: str,
        path: str,
        q: Array,
        scale: Array,
        bias: Array,
        before: Wire,
        after: Wire,
        bits: int,
        width: Width,
    ):
        self.tag, self.path, self.before, self.after = tag, path, before, after
        self.q, self.bits = q, bits
        bound = max(1, int(np.abs(q).reshape(len(q), -1).sum(1).max(initial=0))) * before.bound
        if bound >= EXACT:
            raise ValueError(f"{path}: its sums may need {bound.bit_length()} bits; use fewer bits")
        self.rescale = Rescale.of(tag, scale * 2.0 ** (after.frac - before.frac), bias, after.frac, bound, width)

    def stored(self) -> Array:
        """Return the weights in the order in which the C code reads them."""
        return self.q

    def weight(self, at: str) -> str:
        return PACKED[self.bits][2].format(table=f"{self.tag}_w", at=at)

    def constants(self) -> list[Constant]:
        return [
            Constant(f"{self.tag}_w", pack(self.stored(), self.bits), PACKED[self.bits][0]),
            *self.rescale.constants(),
        ]

    def scaled(self, channel: str) -> str:
        """Return the sum of a channel in the format of the next layer, in C."""
        return self.rescale.apply(C(), "sum", f"{self.tag}_by[{channel}]", f"{self.tag}_add[{channel}]")

    def rescaled(self, total: Any, axes: int) -> Array:
        """Return sums [B, O, ...] in the format of the next layer."""
        shape = (-1, *[1] * axes)
        whole = np.rint(total).astype(np.int64)
        return self.rescale.apply(Numpy(), whole, self.rescale.by.reshape(shape), self.rescale.add.reshape(shape))


class Dense(Weighted):
    """y = W x + b. Only the columns of W whose input is not zero are added."""

    def stored(self) -> Array:
        return np.ascontiguousarray(self.q.T)

    def body(self, x: str = "x", y: str = "y") -> list[str]:
        outputs, inputs = self.q.shape
        sums = self.rescale.word
        return [
            f"{sums} sums[{outputs}] = {{0}};",
            f"for (int i = 0; i < {inputs}; i++) {{",
            f"    const {sums} a = {x}[i];",
            f"    if (a) for (int o = 0; o < {outputs}; o++) sums[o] += a * {self.weight(f'i * {outputs} + o')};",
            "}",
            f"for (int o = 0; o < {outputs}; o++) {{",
            f"    const {sums} sum = sums[o];",
            f"    {y}[o] = ({self.after.type}){self.scaled('o')};",
            "}",
        ]

    def step(self, x: Array, state: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        return self.rescaled(x.astype(np.float64) @ self.q.T.astype(np.float64), 0), state

    def products(self) -> int:
        return self.q.size

    def met(self, x: Array, state: dict[str, Array]) -> int:
        return int((x != 0).sum()) * len(self.q)


class Convolution(Weighted):
    """Conv2d, or Conv1d as a Conv2d of height 1: q [O, C / groups, KH, KW]; padding: zeros before each axis."""

    def __init__(self, *given: Any, stride: Any, padding: Any, dilation: Any, groups: int):
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        super().__init__(*given)
        self.space_in, self.space_out = ((1, *w.shape[1:])[-2:] for w in (self.before, self.after))

    def body(self) -> list[str]:
        (outputs, each, kh, kw), (h, w), (h2, w2) = self.q.shape, self.space_in, self.space_out
        (sh, sw), (ph, pw), (dh, dw) = self.stride, self.padding, self.dilation
        per_group, sums = outputs // self.groups, self.rescale.word
        weight = self.weight(f"((o * {each} + k) * {kh} + i) * {kw} + j")
        return [
            f"for (int o = 0; o < {outputs}; o++) for (int r = 0; r < {h2}; r++) for (int c = 0; c < {w2}; c++) {{",
            f"    {sums} sum = 0;",
            f"    for (int k = 0; k < {each}; k++) for (int i = 0; i < {kh}; i++) {{",
            f"        const int p = r * {sh} - {ph} + i * {dh};",
            f"        if (p < 0 || p >= {h}) continue;",
            f"        for (int j = 0; j < {kw}; j++) {{",
            f"            const int q = c * {sw} - {pw} + j * {dw};",
            f"            if (q < 0 || q >= {w}) continue;",
            f"            sum += ({sums})x[((o / {per_group} * {each} + k) * {h} + p) * {w} + q] * {weight};",
            "        }",
            "    }",
            f"    y[(o * {h2} + r) * {w2} + c] = ({self.after.type}){self.scaled('o')};",
            "}",
        ]

    def _sums(self, x: Array, q: Array) -> Array:
        (h2, w2), (sh, sw), (dh, dw) = self.space_out, self.stride, self.dilation
        after = [
            (n2 - 1) * s + d * (k - 1) + 1 - n - p
            for n, n2, s, d, k, p in zip(
                self.space_in, (h2, w2), (sh, sw), (dh, dw), self.q.shape[2:], self.padding, strict=True
            )
        ]
        given = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float64)).reshape(len(x), -1, *self.space_in)
        sides = (self.padding[1], after[1], self.padding[0], after[0])
        weight = torch.from_numpy(np.ascontiguousarray(q, dtype=np.float64))
        return functional.conv2d(
            functional.pad(given, sides), weight, None, self.stride, 0, self.dilation, self.groups
        ).numpy()

    def step(self, x: Array, state: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        y = self.rescaled(self._sums(x, self.q), 2)
        return y.reshape(len(x), *self.after.shape), state

    def products(self) -> int:
        return int(self._sums(np.ones((1, *self.before.shape)), np.ones_like(self.q)).sum())

    def met(self, x: Array, state: dict[str, Array]) -> int:
        return int(self._sums(x != 0, np.ones_like(self.q)).sum())
