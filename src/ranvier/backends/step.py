"""One step of a whole network as one compiled call, for fast streams through small networks.

A network is a list of `Layer`s. A layer consists of a linear map of its input, a linear map of its own output at the
previous step, and the rule of its neurons; each of the three is optional. The code depends only on the kinds of layers,
so it is compiled once for all sizes; the sizes and the addresses of the arrays are passed in a table. Weights and
parameters are not copied: each step reads their memory, so changes in place take effect.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from ranvier.backends import numba_backend
from ranvier.derive.rule import Rule
from ranvier.derive.source import load


@dataclass(frozen=True)
class Layer:
    """One layer: weight [N, K], bias [N], recurrent weight `back` [N, N], and params, [1] or [N] each, with their
    limits.
    """

    weight: Tensor | None = None
    bias: Tensor | None = None
    back: Tensor | None = None
    rule: Rule | None = None
    params: Sequence[tuple[Tensor, float, float]] = ()

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors that are read at each step, without a copy."""
        return [t for t in (self.weight, self.bias, self.back, *(p for p, _, _ in self.params)) if t is not None]


class Step:
    """The compiled step of a list of layers, for inputs [batch, width]. It stores the states of the layers."""

    def __init__(self, layers: Sequence[Layer], batch: int, width: int, dtype: torch.dtype):
        self.layers, self.batch, self.dtype = layers, batch, dtype
        self.states: list[Tensor] = []  # states [S, B N] of each layer with a rule, the start of the next step
        self.outputs: list[Tensor] = []  # last output [B, N] of each recurrent layer
        self._held: list[Tensor] = []
        self._table: list[int] = [batch]
        rows, lines, at = [], [], "given"
        for k, layer in enumerate(layers):
            out = "out" if k == len(layers) - 1 else None
            if layer.weight is not None:
                width, columns = layer.weight.shape
                at = self._product(lines, layer, at, columns, width, out if layer.rule is None else None)
            if layer.rule is not None:
                rows.append(numba_backend.forward_row(layer.rule, _wide(layer), f"row_{k}"))
                at = self._neurons(lines, layer, at, width, out, f"row_{k}")
        self.width = width
        name = "_".join(("step", *(layer.rule.name for layer in layers if layer.rule)))[:80]
        text = "\n".join(["@kernel", "def step(given, out, table):", *(f"    {line}" for line in lines)])
        self._run: Callable = _module(name, "\n\n".join([*rows, text]), dtype).step
        self._numbers = np.array(self._table, np.int64)

    def _slot(self, value: int) -> str:
        self._table.append(value)
        return f"table[{len(self._table) - 1}]"

    def _room(self, *shape: int) -> Tensor:
        """Return a new array of zeros, which exists as long as this object."""
        self._held.append(torch.zeros(shape, dtype=self.dtype, device="cpu"))
        return self._held[-1]

    def _at(self, t: Tensor) -> str:
        return self._slot(t.data_ptr())

    def _product(self, lines: list[str], layer: Layer, x: str, columns: int, width: int, out: str | None) -> str:
        """Add the line that computes a linear map of the numbers at address x; return the address of the result."""
        assert layer.weight is not None
        bias = self._room(width) if layer.bias is None else layer.bias
        k, n, u = self._slot(columns), self._slot(width), out or self._at(self._room(self.batch, width))
        weight, base = f"matrix({self._at(layer.weight)}, {n}, {k})", f"matrix({self._at(bias)}, 1, {n})"
        lines.append(f"multiply(matrix({x}, table[0], {k}), {weight}, {base}, 0, matrix({u}, table[0], {n}))")
        return u

    def _neurons(self, lines: list[str], layer: Layer, u: str, width: int, out: str | None, row: str) -> str:
        """Add the lines that compute neurons whose input is at address u; return the address of their output."""
        assert layer.rule is not None
        n, numbers, count = self._slot(width), self._slot(self.batch * width), len(layer.rule.states)
        z = out or self._at(self._room(self.batch, width))
        if layer.back is not None:
            self.outputs.append(self._room(self.batch, width))
            z, sums = self._at(self.outputs[-1]), self._at(self._room(self.batch, width))
            before, base = f"matrix({z}, table[0], {n})", f"matrix({u}, table[0], {n})"
            weight = f"matrix({self._at(layer.back)}, {n}, {n})"
            lines.append(f"multiply({before}, {weight}, {base}, 1, matrix({sums}, table[0], {n}))")
            u = sums
        self.states.append(self._room(count, self.batch * width))
        before, after = (
            f"matrix({self._at(s)}, {count}, {numbers})"
            for s in (self.states[-1], self._room(count, self.batch * width))
        )
        params = "".join(f"{self._param(p, low, high, width)}, " for p, low, high in layer.params)
        lines += [
            f"before, after = {before}, {after}",
            f"x, z = (matrix({u}, 1, {numbers}),), (matrix({z}, 1, {numbers}),)",
            f"{row}(0, 0, {numbers}, x, before, ({params}), z, after)",
            f"read(before, after, 0, {numbers})",
        ]
        if layer.back is not None and out:
            lines.append(f"read(matrix({out}, 1, {numbers}), matrix({z}, 1, {numbers}), 0, {numbers})")
        return z

    def _param(self, param: Tensor, low: float, high: float, width: int) -> str:
        """Return the text of a parameter in the form that a row needs: one number, or one for each neuron of
        the batch.
        """
        limits = self._room(2)
        limits.copy_(torch.tensor([low, high], device="cpu"))
        size = 1 if param.numel() == 1 else self.batch * width
        source = f"vector({self._at(param)}, {self._slot(param.numel())})"
        target = f"vector({self._at(self._room(size))}, {self._slot(size)})"
        return f"hold({source}, vector({self._at(limits)}, 2), {target})"

    def __call__(self, x: Tensor) -> Tensor:
        """Run one step: x [B, K], contiguous and in the dtype of this step -> y [B, N]."""
        y = torch.empty(self.batch, self.width, dtype=self.dtype, device="cpu")
        self._run(x.data_ptr(), y.data_ptr(), self._numbers)
        return y


def _wide(layer: Layer) -> tuple[bool, ...]:
    return tuple(p.numel() != 1 for p, _, _ in layer.params)


@cache
def _module(name: str, text: str, dtype: torch.dtype) -> ModuleType:
    head = (
        "import numpy as np\nfrom llvmlite import ir\nfrom numba import njit\nfrom numba.core import types\n"
        "from numba.extending import intrinsic\nfrom numba.np.arrayobj import make_array, populate_array\n\n"
        f"from {numba_backend.ops(dtype).__name__} import *\n\n"
        'compiled = njit(nogil=True, error_model="numpy", inline="always")'
    )
    return load(name, "\n\n".join((head, numba_backend.loops("ranvier.backends", "step_kernels.py"), text)))
