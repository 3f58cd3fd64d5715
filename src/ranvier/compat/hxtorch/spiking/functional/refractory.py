"""The function `refractory_update`."""

from typing import Any

import torch
from torch import Tensor

from ranvier.compat.hxtorch.spiking.functional.order import quiet


def refractory_update(
    z: Tensor, v: Tensor, ref_state: Tensor, spikes_hw: Tensor | None = None, membrane_hw: Tensor | None = None, *,
    reset: Any, refractory_time: Any, dt: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Silence and clamp the neurons that are refractory: z, v, ref_state [B, N] -> the same variables after the step.

    `ref_state` counts the refractory steps that are left. A spike sets it to refractory_time / dt, rounded up to whole
    steps (rounding errors of the quotient do not add a step).
    """
    constants = (torch.as_tensor(c, dtype=v.dtype, device=v.device) for c in (reset, refractory_time))
    z, v, left = torch.broadcast_tensors(z, v, ref_state.to(v.dtype))
    measured = {n: r for n, r in (("z", spikes_hw), ("v", membrane_hw)) if r is not None}
    return quiet(z, v, left, *constants, dt=dt, measured=measured)
