"""The reset: how a spike changes the membrane."""

from collections.abc import Callable
from typing import Any, Literal

from ranvier.nn.declare import Option
from ranvier.ops import stop

__all__ = ["Reset", "detaching", "resetting"]

Reset = Literal["subtract", "zero", "none"]

RESETS: dict[Reset, Callable[[Any, Any, Any], Any]] = {
    "subtract": lambda v, z, threshold: v - z * threshold,
    "zero": lambda v, z, threshold: v * (1.0 - z),
    "none": lambda v, z, threshold: v,
}


def made(reset: Reset, detach_reset: bool) -> Callable[[Any, Any, Any], Any]:
    """Return the function reset(v, z, threshold) -> the membrane after the reset, which a rule calls."""
    after = RESETS[reset]
    return (lambda v, z, threshold: after(v, stop(z), threshold)) if detach_reset else after


def resetting(kind: Reset = "subtract") -> Any:
    """Return the option `reset` of a neuron, which also needs the option `detach_reset`; its rule calls `reset(v, z,
    threshold)`.

    "subtract": v - z threshold; "zero": v (1 - z); "none": v.
    """
    return Option(kind, "what a spike does to the membrane", make=made, choices=tuple(RESETS))


def detaching() -> Any:
    """Return the option `detach_reset` of a neuron: if it is True, no gradient flows through the reset."""
    return Option(False, "no gradient flows through the spike of the reset")
