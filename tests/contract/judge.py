"""How a promise is judged: run, differentiate, compare."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from catalogue import CASES, LAYERS, tensors
from torch import Tensor, nn

import ranvier as rv
from ranvier.backends.choose import BACKENDS

# Of the backends that make no stages few rows of layers are asked, and Triton's interpreter is slow.
ASKED: dict[str, Sequence[str]] = {
    "reference": [*(c.name for c in LAYERS), "rv.Linear+LIF+rv.Linear+LI", "nn.Linear+Recurrent", "deep"],
    "triton": ["LIF", "CubaLIF", "Recurrent", "nn.Linear+LIF"],
}


def asked(some: Iterable[str]) -> list[tuple[str, str]]:
    """(case, backend): some of the cases on each backend that is asked them."""
    return [(case, backend) for backend in BACKENDS for case in some if case in ASKED.get(backend, CASES)]


def leaves(x: Any) -> Any:
    """The same input(s) as leaves that want a gradient."""
    return tuple(map(leaves, x)) if isinstance(x, tuple) else x.detach().clone().requires_grad_()


def run(net: Callable, x: Any, backend: str | None = None) -> Any:
    """net(x), with the same random numbers every time."""
    torch.manual_seed(7)
    with rv.backend(backend) if backend else nullcontext():
        return net(x)


def weighed(y: Any) -> Tensor:
    """A number that depends on every number of an output, on each by another weight."""
    generator = torch.Generator().manual_seed(3)
    return sum(
        ((v * torch.rand(v.shape, generator=generator, dtype=torch.float64).to(v.dtype)).sum() for v in floats(y)),
        torch.zeros(()),
    )


def floats(y: Any) -> list[Tensor]:
    return [v for v in tensors(y) if v.is_floating_point()]


def gradients(total: Tensor, net: nn.Module, x: Any, **given: Any) -> list[Tensor]:
    """Of `total` by the inputs and all parameters; zeros where there is none."""
    wanted = [v for v in (*tensors(x), *net.parameters()) if v.requires_grad]
    if not total.requires_grad:
        return [torch.zeros_like(v) for v in wanted]
    found = torch.autograd.grad(total, wanted, allow_unused=True, **given)
    return [torch.zeros_like(v) if g is None else g for v, g in zip(wanted, found, strict=True)]


def outcome(net: nn.Module, x: Any, backend: str | None = None) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs and gradients of one run."""
    x = leaves(x)
    with rv.backend(backend) if backend else nullcontext():
        y = run(net, x)
        return [v.detach() for v in tensors(y)], gradients(weighed(y), net, x)


def equal(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> None:
    """Bit for bit, NaN for NaN."""
    assert len(found) == len(wanted)
    for k, (a, b) in enumerate(zip(found, wanted, strict=True)):
        assert a.shape == b.shape and a.dtype == b.dtype, f"tensor {k}: {a.shape} {a.dtype}, not {b.shape} {b.dtype}"
        same = (a == b) | (a.isnan() & b.isnan())
        assert bool(same.all()), f"tensor {k}: {int((~same).sum())} of {a.numel()} numbers differ"


def close(found: Sequence[Tensor], wanted: Sequence[Tensor], tolerance: float = 1e-5) -> None:
    """Up to rounding, measured by the largest number of each tensor, and of a tensor of rounding errors only (as the
    gradient of a bias before a batch norm) by a tenth of the largest of all; NaN and inf at the same places."""
    assert len(found) == len(wanted)
    most = max((v.double().where(v.isfinite(), 0.0).abs().max().item() for v in wanted if v.numel()), default=0.0)
    for k, (a, b) in enumerate(zip(found, wanted, strict=True)):
        assert a.shape == b.shape, f"tensor {k}: {tuple(a.shape)}, not {tuple(b.shape)}"
        a, b = a.double(), b.double()
        assert torch.equal(a.isfinite(), b.isfinite()), f"tensor {k}: NaN or inf at other places"
        a, b = (v.where(b.isfinite(), 0.0) for v in (a, b))
        scale = max(b.abs().max().item() if b.numel() else 0.0, most / 10, 1e-3)
        off = (a - b).abs().max().item() / scale if b.numel() else 0.0
        assert off <= tolerance, f"tensor {k} {tuple(b.shape)}: off by {off:.2g} of its largest number {scale:.3g}"
