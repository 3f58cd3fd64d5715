"""Parts that the packages share: signatures that are made from tables, and a core layer that uses the tensors of
another module.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ClassVar

from torch import Tensor, nn


def signature(takes: dict[str, Any], named: dict[str, Any] | None = None) -> inspect.Signature:
    """Return a signature from {argument: default}, in order; `...` means no default. named: keyword-only arguments."""
    empty, kinds = inspect.Parameter.empty, (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    rows = [(k, v, kind) for table, kind in zip((takes, named or {}), kinds, strict=True) for k, v in table.items()]
    return inspect.Signature([inspect.Parameter(k, kind, default=empty if v is ... else v) for k, v, kind in rows])


class Described:
    """A class whose signature is made from two tables {argument: default}: `takes`, and `named` for keyword-only
    arguments.
    """

    takes: ClassVar[dict[str, Any]]
    named: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "takes" in vars(cls):
            cls.__signature__ = signature(cls.takes, cls.named)


def also(**names: str) -> Callable[[Callable], Callable]:
    """Decorate a function so that some of its arguments have a second name: second name = "first name"."""

    def known(function: Callable) -> Callable:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **{names.get(k, k): v for k, v in kwargs.items()})

        return call

    return known


def renamed(function: Callable, **names: str) -> Callable:
    """Return the function with other names for some of its arguments: new name = "name in the function"."""
    other = {of: name for name, of in names.items()}
    call, own = also(**names)(function), inspect.signature(function)
    parameters = [p.replace(name=other.get(p.name, p.name)) for p in own.parameters.values()]
    call.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    return call


def bound(cls: type, args: tuple, kwargs: dict) -> dict[str, Any]:
    """Return the arguments of a call by name, with defaults. The signature is that of the nearest parent class, or the
    class itself, that has a table `takes`.
    """
    row: Any = next(c for c in cls.__mro__ if "takes" in vars(c))
    given = row.__signature__.bind(*args, **kwargs)
    given.apply_defaults()
    return dict(given.arguments)


@contextmanager
def lend(core: nn.Module, values: dict[str, Tensor]) -> Iterator[Any]:
    """Within this block the core layer uses these tensors instead of its own: {dotted name in `core`: tensor}."""
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
