"""Checks of the arguments of neurons. Each function returns the value in its final form, or raises an error."""

import math
from collections.abc import Iterable, Sequence
from operator import index
from typing import Any

import torch
from torch import Tensor

from ranvier.surrogate import SURROGATES, Surrogate, atan, custom


def value(where: str, given: Any, shape: tuple[int, ...] | None, low: float, high: float) -> Tensor:
    """Return the value of a parameter as a new tensor of `shape`, after checking that it is finite and within its
    bounds. On device "meta" nothing is checked, since the values are not known yet.
    """
    if isinstance(given, bool) or not isinstance(given, (int, float, Tensor, Sequence)) or isinstance(given, str):
        try:
            given = float(given)
        except (TypeError, ValueError):
            raise TypeError(f"{where} must be a number or a tensor, got {given!r}") from None
    try:
        tensor = given.detach() if isinstance(given, Tensor) else torch.tensor(given, dtype=torch.get_default_dtype())
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{where} must be a number or a tensor, got {given!r}") from None
    tensor = tensor if tensor.is_floating_point() else tensor.to(torch.get_default_dtype())
    if isinstance(given, (int, float)):
        finite, within = math.isfinite(given), low <= given <= high
    elif tensor.is_meta:
        finite = within = True
    else:
        finite = bool(torch.isfinite(tensor).all())
        within = not bool(((tensor < low) | (tensor > high)).any())
    if not finite:
        raise ValueError(f"{where} must be finite, got {_first(given, tensor, ~torch.isfinite(tensor))}")
    if not within:
        wrong = _first(given, tensor, (tensor < low) | (tensor > high))
        raise ValueError(f"{where} must lie between {low:g} and {high:g}, got {wrong}")
    if shape is None:
        return tensor.clone()
    try:
        return tensor.expand(shape).clone()
    except RuntimeError:
        raise ValueError(
            f"{where} has shape {tuple(tensor.shape)}, which does not broadcast to shape={shape}"
        ) from None


def _first(given: Any, tensor: Tensor, wrong: Tensor) -> str:
    """Write a number as it was given, and of several numbers the first wrong one with its place."""
    if tensor.dim() == 0:
        return repr(given)
    place = tuple(wrong.nonzero()[0].tolist())
    return f"{tensor[place].item():g} at {list(place)} of shape {tuple(tensor.shape)}"


def _told(value: Any) -> str:
    """Write a value that is not a number; of a tensor with several, its shape."""
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) and value.dim() else repr(value)


def positive(name: str, value: Any) -> float:
    """Return the value as a float; raise an error that names it if it is not a positive number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive number, got {_told(value)}")
    return float(value)


def surrogate(name: str, given: Any) -> Surrogate:
    """Return a surrogate: the given one, or one made from the given function of u, or atan(2.0) for None."""
    if given in SURROGATES.values() or given is custom:
        raise TypeError(
            f"{name}: surrogate.{given.__name__} makes a surrogate when it is called; "
            f"write surrogate=ranvier.surrogate.{given.__name__}(...)"
        )
    if given is not None and not callable(given):
        raise TypeError(
            f"{name}: surrogate must be one of ranvier.surrogate, such as surrogate.atan(2.0), got {given!r}"
        )
    return atan(2.0) if given is None else given if isinstance(given, Surrogate) else custom(given)


def names(where: str, given: Any, known: Iterable[str]) -> tuple[str, ...]:
    """Return the names as a tuple, after checking that all are in `known`; a single name may be given as a string."""
    if isinstance(given, bool) or not isinstance(given, (str, Sequence)):
        raise TypeError(f"{where} must be names of parameters, such as learn=({next(iter(known))!r},), got {given!r}")
    found = (given,) if isinstance(given, str) else tuple(given)
    if unknown := set(found) - set(known):
        raise ValueError(f"{where} names {sorted(unknown)}, but its parameters are {list(known)}")
    return found


def shape(name: str, given: Any) -> tuple[int, ...] | None:
    """Return the shape of the features as a tuple; None if none was given."""
    try:
        return None if given is None else (index(given),) if hasattr(given, "__index__") else tuple(map(index, given))
    except TypeError:
        raise TypeError(f"{name}: shape must be whole numbers, such as shape=(128,), got {given!r}") from None
