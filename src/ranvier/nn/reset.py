"""What a spike does to the membrane."""

from collections.abc import Callable
from typing import Any

from ranvier.nn.neuron import Option
from ranvier.ops import stop

RESETS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "subtract": lambda v, z, threshold: v - z * threshold,
    "zero": lambda v, z, threshold: v * (1.0 - z),
    "none": lambda v, z, threshold: v,
}


def _choose(reset: str, detach_reset: bool) -> Callable[[Any, Any, Any], Any]:
    if reset not in RESETS:
        raise ValueError(f"reset must be one of {list(RESETS)}, got {reset!r}")
    after = RESETS[reset]
    return (lambda v, z, threshold: after(v, stop(z), threshold)) if detach_reset else after


def resetting(kind: str = "subtract") -> Option:
    """The option `reset` of a neuron, with `detach_reset`; its rule says `reset(v, z, threshold)`.

    "subtract": v - z threshold; "zero": v (1 - z); "none": v. With `detach_reset=True` no gradient flows through z.
    """
    return Option(_choose, reset=kind, detach_reset=False)
