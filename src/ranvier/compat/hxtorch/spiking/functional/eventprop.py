"""EventPropSynapseFunction and EventPropLIFFunction, with hxtorch's own adjoint. `ranvier.TimedLIF` computes the exact
gradient.
"""

from typing import Any

import torch
from torch import Tensor

from ranvier.compat.hxtorch.spiking.functional.grid import GridEventProp


class EventPropSynapseFunction(torch.autograd.Function):
    """spikes [T, B, in], weight [out, in] -> (weighted spikes, zeros) as [2, T, B, out]; the second half exists only to
    pass lambda_v - lambda_i back to the layer below.
    """

    @staticmethod
    def forward(ctx: Any, spikes: Tensor, weight: Tensor, _bias: Any = None) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(spikes, weight)
        y = spikes @ weight.T
        return torch.stack((y, torch.zeros_like(y)))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        spikes, weight = ctx.saved_tensors
        to_weights, to_spikes = grads[0]
        return to_spikes @ weight, to_weights.flatten(0, 1).T @ spikes.flatten(0, 1), None


class EventPropLIFFunction(torch.autograd.Function):
    """`EventPropLIFFunction.apply(input, leak, reset, threshold, tau_syn, tau_mem, hw_data=None, dt=1e-6)`.

    input [2, T, B, N] from `EventPropSynapseFunction` -> (spikes, membrane, current); row 0 is the state before any
    input. The gradient of the spikes is interpreted as -dL/dt of each spike. Gradients of membrane and current are
    ignored, and the parameters get no gradient.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, input: Tensor, leak: Any, reset: Any, threshold: Any, tau_syn: Any, tau_mem: Any,
        hw_data: Any = None, dt: float = 1e-6,
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        if input.dim() != 4 or input.shape[0] != 2:
            raise ValueError(
                f"input must be [2, T, B, N], as EventPropSynapseFunction returns it, got {tuple(input.shape)}"
            )
        given = dict(v_leak=leak, v_reset=reset, threshold=threshold, tau_syn=tau_syn, tau_mem=tau_mem)
        params = {k: torch.as_tensor(p, dtype=input.dtype, device=input.device).detach() for k, p in given.items()}
        recorded = None
        if hw_data is not None:
            recorded = getattr(hw_data, "spikes", None), getattr(getattr(hw_data, "voltage", None), "cadc", None)
        return GridEventProp.forward(ctx, input, params, dt, recorded)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        return GridEventProp.backward(ctx, *grads)[0], *[None] * 7


EventPropNeuronFunction = EventPropLIFFunction
