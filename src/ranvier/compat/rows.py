"""What descriptions of classes share: signatures from tables, and a core layer that borrows published tensors."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from torch import Tensor, nn


def signature(takes: dict[str, Any], named: dict[str, Any] | None = None) -> inspect.Signature:
    """A signature from {argument: default}, in order; `...` stands for no default. named: by name only."""
    empty, kinds = inspect.Parameter.empty, (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    rows = [(k, v, kind) for table, kind in zip((takes, named or {}), kinds, strict=True) for k, v in table.items()]
    return inspect.Signature([inspect.Parameter(k, kind, default=empty if v is ... else v) for k, v, kind in rows])


def also(**names: str) -> Callable[[Callable], Callable]:
    """Let a function take some arguments by another name too: {other name: its own}."""

    def known(function: Callable) -> Callable:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **{names.get(k, k): v for k, v in kwargs.items()})

        return call

    return known


def bound(cls: type, args: tuple, kwargs: dict) -> dict[str, Any]:
    """The arguments of a call by name, defaults filled in, by the nearest class that has a table `takes`."""
    row: Any = next(c for c in cls.__mro__ if "takes" in vars(c))
    given = row.__signature__.bind(*args, **kwargs)
    given.apply_defaults()
    return dict(given.arguments)


@contextmanager
def lend(core: nn.Module, values: dict[str, Tensor]) -> Iterator[Any]:
    """The core layer, with these tensors in the place of its own: {dotted name there: tensor}."""
    own = []
    for name, value in values.items():
        where, _, leaf = name.rpartition(".")
        module = core.get_submodule(where)
        table: Any = module._parameters if leaf in module._parameters else module._buffers
        own.append((table, leaf, table[leaf]))
        table[leaf] = value
    try:
        yield core
    finally:
        for table, leaf, value in own:
            table[leaf] = value
