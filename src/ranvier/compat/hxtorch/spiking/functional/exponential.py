"""exp_cuba_li_integration and exp_cuba_lif_integration. Both are deprecated in hxtorch, and here too."""

import warnings
from typing import Any

from torch import Tensor

from ranvier.compat.hxtorch.spiking.functional.carry import carried, summed

_FLAGS: dict[str, Any] = dict(
    leak=True, refractory=False, exponential=False, subthreshold=False, spike_triggered=False, method="factors"
)


def _records(hw_data: Any) -> tuple[dict[str, Tensor], Any]:
    voltage = getattr(hw_data, "voltage", None)
    found = {"z": getattr(hw_data, "spikes", None), "v": getattr(voltage, "cadc", None)}
    return {k: r for k, r in found.items() if r is not None}, getattr(voltage, "madc", None)


def exp_cuba_li_integration(
    input: Any, *, leak: Any, tau_syn_exp: Any, tau_mem_exp: Any, hw_data: Any = None
) -> tuple[Tensor, Tensor, Any]:
    """v = tau_mem_exp (v - leak) + leak + (1 - tau_mem_exp) i, then i = tau_syn_exp i + x.

    tau_mem_exp and tau_syn_exp are decay factors per step. Returns (membrane, current, membrane_madc).
    """
    warnings.warn("exp_cuba_li_integration is deprecated; use cuba_aelif_integration", DeprecationWarning, stacklevel=2)
    records, madc = _records(hw_data)
    records.pop("z", None)
    params = dict(v_leak=leak, tau_syn=tau_syn_exp, c_mem=tau_mem_exp, g_leak=1.0)
    v, traces = carried(summed(input), params, dt=1.0, measured=records, fire=False, **_FLAGS)
    return v, traces["i"], madc


def exp_cuba_lif_integration(
    input: Any, *, leak: Any, reset: Any, threshold: Any, tau_syn_exp: Any, tau_mem_exp: Any, method: str, alpha: Any,
    hw_data: Any = None,
) -> tuple[Tensor, Tensor, Tensor, Any]:  # fmt: skip
    """Like `exp_cuba_li_integration`, with spikes and reset. Returns (spikes, membrane, current, membrane_madc)."""
    warnings.warn(
        "exp_cuba_lif_integration is deprecated; use cuba_aelif_integration", DeprecationWarning, stacklevel=2
    )
    records, madc = _records(hw_data)
    params = dict(v_leak=leak, v_reset=reset, threshold=threshold, tau_syn=tau_syn_exp, c_mem=tau_mem_exp, g_leak=1.0)
    z, traces = carried(
        summed(input), params, dt=1.0, slope_name=method, alpha=alpha, measured=records, fire=True, **_FLAGS
    )
    return z, traces["v"], traces["i"], madc
