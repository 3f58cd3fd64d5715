"""EventProp as in hxtorch: spikes occur at whole steps, and the adjoint equations are integrated in reverse time.

The gradient is of first order in dt and biased low (`ranvier.TimedLIF` is exact). It is here so that networks that were
trained with hxtorch can be compared.
"""

from typing import Any

import torch
from torch import Tensor

from ranvier.nn.neuron import Neuron, Option, Param, State
from ranvier.nn.neurons.physical import PhysicalLIF
from ranvier.ops import spike, where


class GridAdjoint(Neuron):
    """The adjoint equations of a LIF neuron that spikes at whole steps, from the last step to the first.

    Inputs, in reverse time: the spikes z, the current i of the previous step, and g = -dL/dt of each spike. The states
    lv and li are the adjoint variables lambda_v and lambda_i; the outputs are (lv, li) after the step. Wunderlich &
    Pehle 2021, in hxtorch's order.
    """

    tau_mem, tau_syn = Param(10e-6, low=0.0), Param(10e-6, low=0.0)
    v_leak, v_reset, threshold = Param(0.0), Param(0.0), Param(1.0)
    lv, li = State(0.0), State(0.0)
    dt: Option[float] = Option(1e-6, "length of a step in seconds", number=True)

    @staticmethod
    def rule(z, i, g, lv, li, tau_mem, tau_syn, v_leak, v_reset, threshold, dt):
        before, after = v_leak - threshold + i, v_leak - v_reset + i  # tau_mem dv/dt before and after the spike
        fired = z / where(before == 0.0, 1.0, before) * where(before == 0.0, 0.0, 1.0)
        li = li + dt / tau_syn * (lv - li)
        kept = lv * (1.0 - dt / tau_mem)
        lv = (1.0 - z) * kept + fired * after * kept + fired * g
        return (lv, li), (lv, li)


class GridEventProp(torch.autograd.Function):
    """(x, params) -> spikes, membrane, current; row 0 is the state before x. `params`: v_leak, v_reset, threshold,
    tau_syn, tau_mem as tensors; they get no gradient. The weighted spikes are x[0] of x [2, T, B, N]."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, params: dict[str, Tensor], dt: float, recorded: tuple | None
    ) -> tuple[Tensor | None, ...]:
        ctx.dt, ctx.params, ctx.shape = dt, params, x.shape
        if recorded is None:
            z, membrane, current = _forward(x[0], params, dt)
        else:  # the spikes were recorded on the device; the current is computed by the model
            (z, membrane), current = recorded, None
            ctx.mark_non_differentiable(*(r for r in recorded if r is not None))
            z, membrane = (None if r is None else r.clone() for r in (z, membrane))
        ctx.save_for_backward(x, z, current if current is not None else _forward(x[0], params, dt)[2])
        ctx.set_materialize_grads(False)
        return z, membrane, current

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        x, z, current = ctx.saved_tensors
        gradient = torch.zeros_like(x)
        g = grads[0]
        if g is None:
            return gradient, None, None, None
        steps = x.shape[1]
        neuron = GridAdjoint(dt=ctx.dt)
        backwards = tuple(s.flip(0).contiguous() for s in (z[1:steps], current[: steps - 1], g[1:steps]))
        with torch.no_grad():
            lv, li = torch.func.functional_call(neuron, ctx.params, (backwards,))
        gradient[0, : steps - 1] = ctx.params["tau_syn"] * li.flip(0)
        gradient[1, : steps - 1] = (lv - li).flip(0)
        return gradient, None, None, None


def _forward(x: Tensor, params: dict[str, Tensor], dt: float) -> tuple[Tensor, Tensor, Tensor]:
    neuron = PhysicalLIF(dt=dt, terms={"fire": lambda v, threshold: spike(v - threshold, strict=True)})
    given = {k: v for k, v in params.items() if k != "tau_mem"}
    given |= {"c_mem": params["tau_mem"], "g_leak": torch.ones_like(params["tau_mem"])}
    with torch.no_grad():
        z, _, traces = neuron.carry(x, names=("v", "i"), params=given)
    return z, traces["v"], torch.cat([torch.zeros_like(z[:1]), traces["i"][:-1]])
