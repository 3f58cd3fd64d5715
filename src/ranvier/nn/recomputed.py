"""Activation checkpointing that works with states: recomputation instead of saved tensors.

`torch.utils.checkpoint` saves only the input of the layers inside it, and runs the layers again in backward. But by
then `scan` (or `step`, `record`), which gave the layers their states, has ended, and they would start from their
initial states. So `ranvier.checkpoint` gives the layers the same states again in backward. With torch's own checkpoint
an error is raised if its gradient would be wrong.
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

_KINDS = {  # the code objects of torch's checkpoints, as found on the call stack
    inspect.unwrap(torch_checkpoint.checkpoint).__code__: "non-reentrant",
    torch_checkpoint.CheckpointFunction.forward.__code__: "reentrant",
}


def checkpoint(layers: Callable[..., Any], *x: Any) -> Any:
    """Compute layers(*x); save only x for backward, which computes the rest again.

    It works under every verb: within `scan`, `step` and `record` the recomputation begins with the same state, and the
    state that is passed on has its gradient. Random numbers (dropout) are the same again. layers: a module, or any
    function of tensors.

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
    """Within this block `refuse_recomputation` does not raise, since `checkpoint` restores the states."""
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
    """Raise an error for a layer that runs within `scan` (or `step`, `record`) and torch's own checkpoint, if the
    gradient would be wrong.

    differs: whether the verb gives the layer a state or records it, which the second run would miss. A verb that was
    itself called within the checkpoint runs again as a whole.
    """
    if torch.compiler.is_compiling() or getattr(here, "recomputable", False):
        return
    frame = sys._getframe(1)
    while frame is not None and frame.f_code not in verbs:
        kind = _KINDS.get(frame.f_code)
        if kind == "reentrant" or (kind and differs):
            raise RuntimeError(
                f"layer {path!r} runs within torch.utils.checkpoint and under a verb: computed again, it would not "
                f"know its state, or that it is recorded; use ranvier.checkpoint(layers, x), which knows it"
            )
        frame = frame.f_back
