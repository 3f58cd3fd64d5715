"""Choose the backend that runs a rule, and give the reason."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ranvier.backends import op
from ranvier.backends.backend import Backend
from ranvier.backends.numba_backend import Numba
from ranvier.backends.reference import Reference
from ranvier.backends.triton_backend import Triton
from ranvier.derive.rule import Rule

op.kernels.update({k.name: k for k in (Numba(), Triton())})
BACKENDS: dict[str, Backend] = {**op.kernels, Reference.name: Reference()}
"""All backends; the first that can run on a tensor's device is chosen."""

PLAIN = op.PLAIN

_here = threading.local()  # the backend forced in this thread


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Force one backend for every neuron within this block: "numba" (CPU), "triton" (GPU) or "reference".

    Raises ValueError with the reason if that backend cannot run a call; it never falls back to another one.

    >>> import torch, ranvier
    >>> with ranvier.backend("reference"):
    ...     z = ranvier.LIF()(torch.ones(5, 1, 3))
    """
    if name not in BACKENDS:
        raise ValueError(f"backend: there is no backend {name!r}; there are {', '.join(map(repr, BACKENDS))}")
    with forced(BACKENDS[name]):
        yield


@contextmanager
def forced(backend: Backend) -> Iterator[None]:
    """Force this backend object within the block; unlike `backend`, it need not be one of `BACKENDS`."""
    outer = getattr(_here, "forced", None)
    _here.forced = backend
    try:
        yield
    finally:
        _here.forced = outer


@dataclass(frozen=True)
class Choice:
    """The backend of one call, and the reason for it."""

    backend: Backend
    reason: str


def transformed() -> bool:
    """Whether a transform of torch.func (grad, vmap, ...) is active; such a transform can differentiate torch
    operations only.
    """
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


def fuses(x: Tensor) -> bool:
    """Whether event-driven kernels and kernels for single steps may run on x: `stages` finds a backend for x, and that
    backend has such kernels.
    """
    return (found := _kernels(x)) is not None and found.events


def stages(x: Tensor) -> str | None:
    """Return the name of the backend that may run several consecutive layers on x as one; None if there is none."""
    return None if (found := _kernels(x)) is None else found.name


def _kernels(x: Tensor) -> Backend | None:
    """Return the backend of x if it has kernels and they may be called directly: autocast is off, and no tool records
    the operations (torch.compile, torch.func, torch.jit, dispatch modes). Otherwise return None.
    """
    if op.traced([x]):
        return None
    device = x.device.type
    found = _chosen(device, torch._C._are_functorch_transforms_active())
    # autocast is asked last: torch 2.11 raises an error for the device meta
    return None if found is BACKENDS[Reference.name] or torch.is_autocast_enabled(device) else found


def chosen(like: Tensor) -> Backend:
    """Return the backend for tensors on the device of `like`: the forced one, or else the first that can run there."""
    return _chosen(like.device.type, transformed())


def _chosen(device: str, transformed: bool) -> Backend:
    asked = getattr(_here, "forced", None)
    if asked is None:
        return next(b for b in BACKENDS.values() if b.lacks(device) is None and (b.transforms or not transformed))
    if reason := asked.lacks(device):
        raise ValueError(f"backend({asked.name!r}) {reason}; move it, or leave out `with backend({asked.name!r})`")
    if transformed and not asked.transforms:
        raise ValueError(
            f"backend({asked.name!r}) cannot run in torch.func, which differentiates torch operations only"
        )
    return asked


def choose(like: Tensor) -> Choice:
    """Return the backend for tensors on the device of `like`, and the reason for the choice."""
    found, device = chosen(like), like.device.type
    if getattr(_here, "forced", None) is not None:
        return Choice(found, f"asked for by backend({found.name!r})")
    if transformed():
        return Choice(found, f"torch.func differentiates torch operations only: {found.description}")
    if found is BACKENDS[Reference.name]:
        return Choice(found, f"no kernel for {device} tensors: {found.description}")
    return Choice(found, f"{device} tensors: {found.description}")


def carry(rule: Rule, inputs: Sequence[Tensor], state: Sequence[Tensor], params: Sequence[Tensor]) -> tuple[list, list]:
    """Run a rule over all steps, on the backend of its tensors.

    inputs [T, B, *F] each, state [B, *F] each (float32, or float64 for such inputs), params broadcastable to [*F];
    returns outputs [T, B, *F] each, in the dtype of the inputs, and the state after the last step.
    """
    return chosen(inputs[0]).carry(rule, inputs, state, params)
