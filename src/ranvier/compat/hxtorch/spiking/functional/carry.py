"""Run a physical neuron of Ranvier with hxtorch's arguments."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ranvier.compat.hxtorch.spiking.functional.order import OriginalAdEx
from ranvier.compat.hxtorch.spiking.functional.threshold import slope
from ranvier.nn.neurons.physical import AdEx
from ranvier.ops import spike


def _strictly(v: Any, threshold: Any) -> Any:
    return spike(v - threshold, strict=True)


@cache
def neuron(dt: float, slope_name: str | None, alpha: float, flags: tuple[tuple[str, Any], ...]) -> AdEx:
    """Return the neuron for these flags; its parameters are passed at each call."""
    switches = dict(flags)
    fires = switches["fire"]
    return OriginalAdEx(
        dt=dt, detach_reset=True, terms={"fire": _strictly} if fires else None,
        surrogate=slope(str(slope_name), alpha) if fires else None, **switches,
    )  # fmt: skip


def summed(input: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Return hxtorch's inputs as one [T, B, N]: a tensor, or a tuple of synapse outputs, which are added."""
    if isinstance(input, tuple):
        if len({x.shape for x in input}) != 1:
            raise ValueError(f"inputs of one neuron must agree in [T, B, N], got {[tuple(x.shape) for x in input]}")
        input = torch.stack(input).sum(0)
    if not isinstance(input, Tensor) or input.dim() != 3:
        raise ValueError(
            f"input must be a tensor [T, B, N], or a tuple of such, got {getattr(input, 'shape', type(input).__name__)}"
        )
    return input


def carried(
    x: Tensor, params: Mapping[str, Any], *, dt: float, slope_name: str | None = None, alpha: Any = 0.0,
    measured: Mapping[str, Tensor] | None = None, late: Mapping[str, Tensor] | None = None, begin: Any = None,
    **flags: Any,
) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
    """Run the neuron on x [T, B, N]; return its output, and the traces {v, i, w}. params: numbers or tensors, with
    Ranvier's names of the parameters.
    """
    if not dt > 0:
        raise ValueError(f"dt must be above 0, got {dt!r}")
    layer = neuron(float(dt), slope_name, float(alpha), tuple(sorted(flags.items())))
    missing = [k for k in layer.params if params.get(k) is None]
    if missing:
        raise ValueError(f"these parameters are needed by the terms in use, but are None: {missing}")
    values = {k: torch.as_tensor(params[k], dtype=x.dtype, device=x.device) for k in layer.params}
    for k, value in values.items():
        if not bool(torch.isfinite(value).all()) or (
            (k.startswith("tau") or k == "c_mem") and bool((value <= 0).any())
        ):
            raise ValueError(f"{k} must be finite, and a time constant above 0, got {value}")
    state = None
    if begin is not None:
        dtype = torch.promote_types(x.dtype, torch.float32)
        state = {k: torch.zeros_like(x[0], dtype=dtype) for k in layer.states}
        state["v"] = state["v"] + torch.as_tensor(begin, dtype=dtype, device=x.device)
    names = tuple(n for n in ("v", "i", "w") if n in layer.states)
    y, _, traces = layer.carry(x, state, names, measured, late, values)
    return y, traces
