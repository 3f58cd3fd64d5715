"""Which backend carries a rule, and why not another."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ranvier.backends import op, reference
from ranvier.derive.hoist import evaluate
from ranvier.derive.rule import Rule

# The device types each backend serves. Triton's interpreter lets the GPU kernels run on CPU tensors, for checking.
SERVES = {"numba": ("cpu",), "triton": ("cuda",), "reference": None}
NAMES = {
    "numba": "Numba, tiles of neurons on CPU threads",
    "triton": "Triton, one program per block of neurons",
    "reference": "a loop of torch operations",
}

_here = threading.local()  # the backend forced in this thread


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Force one backend for every neuron within this block: "numba" (CPU), "triton" (GPU) or "reference".

    A backend that cannot serve a call raises ValueError with the reason; nothing is changed silently.

    >>> import torch, ranvier
    >>> with ranvier.backend("reference"):
    ...     z = ranvier.LIF()(torch.ones(5, 1, 3))
    """
    if name not in SERVES:
        raise ValueError(f"backend: there is no backend {name!r}; there are {', '.join(map(repr, SERVES))}")
    outer = getattr(_here, "forced", None)
    _here.forced = name
    try:
        yield
    finally:
        _here.forced = outer


@dataclass(frozen=True)
class Choice:
    """The backend of one call and the reason for it."""

    backend: str
    reason: str


def transformed() -> bool:
    """Whether torch.func runs this (grad, vmap, ...), which sees through torch operations only."""
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


def choose(like: Tensor) -> Choice:
    """The backend for tensors like this one."""
    device = like.device.type
    name = getattr(_here, "forced", None)
    if name is not None:
        serves = SERVES[name]
        interpreted = name == "triton" and device == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"
        if serves is not None and device not in serves and not interpreted:
            raise ValueError(
                f"backend({name!r}) serves {' and '.join(serves)} tensors, but this one is on {device}; "
                f"move it, or leave out `with backend({name!r})`"
            )
        if transformed() and name != "reference":
            raise ValueError(f"backend({name!r}) does not serve torch.func, which sees through torch operations only")
        return Choice(name, f"asked for by backend({name!r})")
    if transformed():
        return Choice("reference", f"torch.func sees through torch operations only: {NAMES['reference']}")
    for name, serves in SERVES.items():
        if serves and device in serves:
            return Choice(name, f"{device} tensors: {NAMES[name]}")
    return Choice("reference", f"no kernel for {device} tensors: {NAMES['reference']}")


def _hoist(rule: Rule, params: Sequence[Tensor], dtype: torch.dtype) -> tuple[Rule, Sequence[Tensor]]:
    """What every neuron makes of parameters of its own, done before the first step; of single numbers a kernel does it
    once by itself.
    """
    if rule.hoisted is None:
        return rule, params
    hoisted, rest = rule.hoisted
    given = dict(zip((f"{p}_" for p in rule.params), params, strict=True))
    if all(given[name].numel() == 1 for name in hoisted.taken):
        return rule, params
    known = evaluate(hoisted.ops, {name: p.to(dtype) for name, p in given.items()})
    return rest, [known[name] for name in hoisted.given]


def carry(rule: Rule, inputs: Sequence[Tensor], state: Sequence[Tensor], params: Sequence[Tensor]) -> tuple[list, list]:
    """Carry a rule through time on the backend of its tensors.

    inputs [T, B, *F] each, state [B, *F] each (float32, or float64 for such inputs), params broadcastable to [*F];
    gives outputs [T, B, *F] each, in the dtype of the inputs, and the state after the last step.
    """
    chosen = choose(inputs[0])
    if chosen.backend == "reference":
        dtype = state[0].dtype if state else torch.promote_types(inputs[0].dtype, torch.float32)
        outputs, after = reference.scan(rule, [x.to(dtype) for x in inputs], state, [p.to(dtype) for p in params])
        return [y.to(inputs[0].dtype) for y in outputs], after
    initial = torch.stack(list(state)) if state else inputs[0].new_empty((0, *inputs[0].shape[1:]))
    rule, params = _hoist(rule, params, initial.dtype)
    *outputs, final = op.carry(list(inputs), initial, list(params), rule.key, chosen.backend)
    return outputs, list(final.unbind(0))
