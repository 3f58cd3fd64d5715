"""Activation checkpointing for layers with states: backward recomputes tensors that were not saved.

`torch.utils.checkpoint` saves only the input of the layers inside it, and runs the layers again in backward. But `scan`
(or `step`, `record`), which passed the states to the layers, has ended by then, and the layers would start from their
initial states. So `ranvier.checkpoint` passes the same states to the layers again in backward. If torch's own
checkpoint is used where its gradient would be wrong, an error is raised.
"""

import inspect
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from types import CodeType
from typing import Any

import torch
from torch.utils import checkpoint as torch_checkpoint

from ranvier.nn.temporal import here

_KINDS = {  # the code objects of torch's checkpoints, to find them on the call stack
    inspect.unwrap(torch_checkpoint.checkpoint).__code__: "non-reentrant",
    torch_checkpoint.CheckpointFunction.forward.__code__: "reentrant",
}


def checkpoint(layers: Callable[..., Any], *x: Any) -> Any:
    """Compute layers(*x), and save only x for backward, which computes everything else again.

    It can be used with the plain call, `scan`, `step` and `record`: the recomputation starts from the same states, and
    gradients flow through the states. Random numbers (dropout) are the same in the recomputation. layers: a module, or
    any function of tensors.

    >>> import torch, ranvier
    >>> deep = ranvier.Sequential(torch.nn.Linear(4, 64), ranvier.LIF(), torch.nn.Linear(64, 4), ranvier.LIF())
    >>> x = torch.rand(20, 2, 4, requires_grad=True)
    >>> ranvier.checkpoint(deep, x).sum().backward()
    """

    if not torch.is_grad_enabled():
        return layers(*x)  # without gradients nothing is recomputed

    def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
        book = getattr(here, "book", None)
        again = nullcontext() if book is None else _again(replace(book, after={}, traces={}, notes=None))
        return _within(), again

    return torch_checkpoint.checkpoint(layers, *x, use_reentrant=False, context_fn=contexts)


@contextmanager
def _within() -> Iterator[None]:
    """Within this block `refuse_recomputation` raises no error, because `checkpoint` restores the states."""
    outer, here.recomputable = getattr(here, "recomputable", False), True
    try:
        yield
    finally:
        here.recomputable = outer


@contextmanager
def _again(book: Any) -> Iterator[None]:
    outer, here.book = getattr(here, "book", None), book
    try:
        with _within():
            yield
    finally:
        here.book = outer


def refuse_recomputation(path: str, differs: bool, verbs: Collection[CodeType]) -> None:
    """Raise an error if a layer runs within `scan` (or `step`, `record`) and within torch's own checkpoint, and its
    gradient would be wrong.

    differs: whether the layer is passed a state or is recorded, since both would be missing in the second run. If
    `scan` itself was called within the checkpoint, it is run again as a whole, so the gradient is right.
    """
    if torch.compiler.is_compiling() or getattr(here, "recomputable", False):
        return
    frame = sys._getframe(1)
    while frame is not None and frame.f_code not in verbs:
        kind = _KINDS.get(frame.f_code)
        if kind == "reentrant" or (kind and differs):
            raise RuntimeError(
                f"layer {path!r} runs within torch.utils.checkpoint and within scan, step or record: backward would "
                f"run it again without its state, so the gradient would be wrong; use ranvier.checkpoint(layers, x)"
            )
        frame = frame.f_back
