"""Handles: objects with named fields, which a run fills with tensors."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor


class _Kinds(type):
    """`Handle(...)` makes an instance of the class with exactly these fields; there is one class for each set of
    names.
    """

    def __call__(cls, *values: Any, **fields: Any) -> Any:
        if cls is not Handle:
            return super().__call__(*values, **fields)
        if values and fields and set(values) != set(fields):
            raise ValueError(f"Handle: ambiguous, names {sorted(values)} and fields {sorted(fields)} differ")
        names = tuple(sorted({*values, *fields}))
        kind = Handle.kinds.get(names) or type("Handle", (Handle,), {"_fields": names})
        return kind(**fields)


class Handle(metaclass=_Kinds):
    """An object with named fields in alphabetical order, filled by `Handle(a=x)` or left empty by `Handle("a", "b")`.
    Its truth value is always True, even if it is empty.

    >>> from ranvier.compat.hxtorch import spiking as hx
    >>> handle = hx.Handle("spikes", "current")
    >>> isinstance(handle, hx.Handle), handle.holds("spikes")
    (True, False)
    """

    kinds: ClassVar[dict[tuple[str, ...], Any]] = {}
    _fields: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        Handle.kinds.setdefault(cls._fields, cls)

    def __init__(self, *values: Any, **given: Any):
        if unknown := given.keys() - set(self._fields):
            raise TypeError(f"{type(self).__name__} has no field {sorted(unknown)}; it has {list(self._fields)}")
        for name in self._fields:
            setattr(self, name, None)
        for name, value in (*zip(self._fields, values, strict=False), *given.items()):
            setattr(self, name, value)

    def holds(self, name: str) -> bool:
        """Whether the field exists and is filled."""
        return getattr(self, name, None) is not None

    def clone(self, other: "Handle") -> None:
        """Copy the fields of another handle, which must have the same names."""
        if self._fields != other._fields:
            raise ValueError(f"clone: fields differ, {list(self._fields)} and {list(other._fields)}")
        for name in self._fields:
            setattr(self, name, getattr(other, name))

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Handle) or self._fields != other._fields:
            return False
        return all(_same(getattr(self, n), getattr(other, n)) for n in self._fields)

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={getattr(self, n)!r}' for n in self._fields)})"


def _same(a: Any, b: Any) -> bool:
    return torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else a is b or a == b


class TensorHandle(Handle):
    """A handle with the field tensor."""

    _fields = ("tensor",)


class SynapseHandle(Handle):
    """A handle with the field graded_spikes."""

    _fields = ("graded_spikes",)


class LIObservables(Handle):
    """A handle with the fields current, membrane_cadc and membrane_madc."""

    _fields = ("current", "membrane_cadc", "membrane_madc")


class LIFObservables(Handle):
    """A handle with the fields current, membrane_cadc, membrane_madc and spikes. Pass their values by name."""

    _fields = ("current", "membrane_cadc", "membrane_madc", "spikes")


@dataclass
class AnalogObservable:
    """The recordings of both converters for one quantity."""

    cadc: Any = None
    madc: Any = None


@dataclass
class HardwareObservables:
    """Raw recordings of one population."""

    spikes: Any = None
    cadc: Any = None
    madc: Any = None
