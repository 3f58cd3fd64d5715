"""Dense products at full speed: one function for the products of a linear layer, x W^T (forward), g W and g^T x
(backward).

All three have the form out = a w^T, where a and w are each stored by rows or by columns. torch has several
implementations of matrix products, and the processor decides which one is fastest. On some processors, the
implementation of `torch.mm` is less than half as fast as that of oneDNN, which is also part of torch. So both are timed
once per machine for each of the three cases (`measured.py`), and again for small sizes, where the order may be another.
A wrong choice only costs time: all of them compute the same sums, in different orders.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ranvier.backends.threads import usable
from ranvier.spikes.measured import known

WORTH = 1 << 20  # number of multiplications above which the choice matters more than the cost of a call
THIN = 64  # number of inputs of a layer (of outputs, for the gradient of its weight) below which a product is thin
FEW = 32  # number of outputs below which a forward product is timed as one with few outputs
NARROW = 1 << 16  # size of a weight up to which its gradient is timed as that of a narrow layer
TALL = 4  # a gradient of a weight with this many times more outputs than inputs is computed as its transpose
SIZE = 512, 384, 256  # M, K, N of the products that are timed
LAYOUTS = {  # layouts of a [M, K] and w [N, K]: forward, gradient of the input, gradient of the weight
    "forward": lambda m, k, n: (_ones(m, k), _ones(n, k)),
    "input": lambda m, k, n: (_ones(m, k), _ones(k, n).t()),
    "weight": lambda m, k, n: (_ones(k, m).t(), _ones(k, n).t()),
}
KINDS = {  # what is timed: layout and size
    **{layout: (layout, SIZE) for layout in LAYOUTS},
    "thin forward": ("forward", (4096, 16, 256)),
    "thin input": ("input", (4096, 16, 256)),
    "thin weight": ("weight", (16, 4096, 256)),
    "narrow weight": ("weight", (128, 2048, 128)),
    "few forward": ("forward", (4096, 128, 16)),
}


def _ones(*shape: int) -> Tensor:
    return torch.ones(shape, dtype=torch.float32, device="cpu")


def _torch(a: Tensor, w: Tensor, bias: Tensor | None, out: Tensor) -> None:
    torch.mm(a, w.t(), out=out) if bias is None else torch.addmm(bias, a, w.t(), out=out)


def _onednn(a: Tensor, w: Tensor, bias: Tensor | None, out: Tensor) -> None:
    out.copy_(torch.ops.mkldnn._linear_pointwise(a, w, bias, "none", [], ""))


WAYS: dict[str, Callable[[Tensor, Tensor, Tensor | None, Tensor], None]] = {"torch": _torch, "onednn": _onednn}

_pinned: str | None = os.environ.get("RANVIER_PRODUCTS")


def multiply(a: Tensor, w: Tensor, bias: Tensor | None, out: Tensor) -> None:
    """Compute out [M, N] = a [M, K] w [N, K]^T (+ bias [N]) by the fastest implementation."""
    m, k, n = *a.shape, w.shape[0]
    if m * k * n < WORTH or a.dtype != torch.float32 or not out.is_contiguous() or _pinned == "torch":
        return _torch(a, w, bias, out)
    layout = "weight" if a.stride(0) == 1 and k > 1 else "input" if w.stride(0) == 1 and k > 1 else "forward"
    if layout == "weight" and bias is None and n * TALL <= m:
        turned = out.new_empty((n, m))
        multiply(w, a, None, turned)
        out.copy_(turned.t())
        return None
    WAYS[way(_kind(layout, m, k, n))](a, w, bias, out)


def _kind(layout: str, m: int, k: int, n: int) -> str:
    """Return the kind, one of `KINDS`, of a product of these sizes."""
    if (m if layout == "weight" else k) < THIN:
        return f"thin {layout}"
    if layout == "weight" and m * n <= NARROW:
        return "narrow weight"
    return "few forward" if layout == "forward" and n < FEW else layout


@contextmanager
def products(name: str | None) -> Iterator[None]:
    """Choose how all dense layers compute matrix products within this block: "torch" (results of contiguous inputs
    equal those of `torch.mm` bit for bit), "onednn", or None (the fastest).

    The environment variable RANVIER_PRODUCTS does the same for a whole program.

    >>> import torch, ranvier
    >>> layer, x = ranvier.Linear(64, 32), torch.rand(1024, 64)
    >>> with ranvier.products("torch"):
    ...     y = layer(x)
    >>> torch.equal(y, torch.nn.functional.linear(x, layer.weight, layer.bias))
    True
    """
    global _pinned
    if name is not None and name not in WAYS:
        raise ValueError(f"products: there is no product {name!r}; there are {', '.join(map(repr, WAYS))}, and None")
    outer, _pinned = _pinned, name
    try:
        yield
    finally:
        _pinned = outer


def way(kind: str) -> str:
    """Return the name of the fastest implementation for one of `KINDS` on this machine, with the number of threads that
    torch uses now.
    """
    return _pinned or known("products", usable(), _measured, _right)[kind]


def _measured() -> dict[str, str]:
    return {kind: _measure(*LAYOUTS[layout](*size)) for kind, (layout, size) in KINDS.items()}


def _right(found: dict[str, str]) -> bool:
    return found.keys() == KINDS.keys() and set(found.values()) <= WAYS.keys()


def _measure(a: Tensor, w: Tensor) -> str:
    """Time one product, and return the name of the implementation whose fastest run took least time. An implementation
    that fails or does not exist is left out.
    """
    out, best = _ones(a.shape[0], w.shape[0]), {"torch": 0.0}
    for turn in range(5):
        for name, run in WAYS.items():
            start = time.perf_counter()
            try:
                run(a, w, None, out)
            except (RuntimeError, AttributeError, NotImplementedError):
                best.pop(name, None)
                continue
            spent = time.perf_counter() - start
            if turn:  # the first run only warms up
                best[name] = min(best.get(name) or spent, spent)
    return min(best, key=best.__getitem__)
