"""The cuba_* functions of hxtorch before mid-2025: LI, and LIF and IAF with and without a refractory time."""

from typing import Any, NamedTuple

from torch import Tensor

from ranvier.compat.hxtorch.spiking.functional.carry import carried, summed


class LIOutput(NamedTuple):
    """[T, B, N] each; `madc` is returned unchanged."""

    membrane: Tensor
    current: Tensor
    madc: Any


class LIFOutput(NamedTuple):
    """[T, B, N] each; `madc` is returned unchanged."""

    spikes: Tensor
    membrane: Tensor
    current: Tensor
    madc: Any


def cuba_li_integration(
    input: Any, *, leak: Any, tau_syn: Any, tau_mem: Any, hw_data: Any = None, dt: float = 1e-6
) -> LIOutput:
    """Leaky integrator, by the Euler method: v += dt / tau_mem (leak - v + i), then i = i (1 - dt / tau_syn) + x.

    hw_data: (cadc, madc).
    """
    cadc, madc = hw_data or (None, None)
    params = dict(v_leak=leak, tau_syn=tau_syn, c_mem=tau_mem, g_leak=1.0)
    _y, traces = carried(
        summed(input), params, dt=dt, measured={} if cadc is None else {"v": cadc}, **_flags(fire=False)
    )
    return LIOutput(traces["v"], traces["i"], madc)


def _flags(leak: bool = True, fire: bool = True, refractory: bool = False) -> dict[str, Any]:
    off = dict(exponential=False, subthreshold=False, spike_triggered=False)
    return dict(leak=leak, fire=fire, refractory=refractory, **off)


def _lif(
    input: Any,
    hw_data: Any,
    dt: float,
    method: str,
    alpha: Any,
    params: dict[str, Any],
    begin: Any = None,
    **flags: bool,
) -> LIFOutput:
    spikes, cadc, madc = hw_data or (None, None, None)
    measured = {k: r for k, r in (("z", spikes), ("v", cadc)) if r is not None}
    params = {k: v for k, v in params.items() if v is not None} | {"g_leak": 1.0}
    z, traces = carried(
        summed(input), params, dt=dt, slope_name=method, alpha=alpha, measured=measured, begin=begin, **_flags(**flags)
    )
    return LIFOutput(z, traces["v"], traces["i"], madc)


def cuba_lif_integration(
    input: Any, *, leak: Any, reset: Any, threshold: Any, tau_syn: Any, tau_mem: Any, method: str, alpha: Any,
    hw_data: Any = None, dt: float = 1e-6,
) -> LIFOutput:  # fmt: skip
    """Leaky integrate-and-fire, by the Euler method. hw_data: (spikes, cadc, madc)."""
    params = dict(v_leak=leak, v_reset=reset, threshold=threshold, tau_syn=tau_syn, c_mem=tau_mem)
    return _lif(input, hw_data, dt, method, alpha, params)


def cuba_refractory_lif_integration(
    input: Any, *, leak: Any, reset: Any, threshold: Any, tau_syn: Any, tau_mem: Any, refractory_time: Any, method: str,
    alpha: Any, hw_data: Any = None, dt: float = 1e-6,
) -> LIFOutput:  # fmt: skip
    """Leaky integrate-and-fire. For refractory_time after a spike, the neuron is silent and its membrane is clamped."""
    params = dict(
        v_leak=leak, v_reset=reset, threshold=threshold, tau_syn=tau_syn, c_mem=tau_mem, t_refractory=refractory_time
    )
    return _lif(input, hw_data, dt, method, alpha, params, refractory=True)


def cuba_iaf_integration(
    input: Any, *, reset: Any, threshold: Any, tau_syn: Any, tau_mem: Any, method: str, alpha: Any, hw_data: Any = None,
    dt: float = 1e-6,
) -> LIFOutput:  # fmt: skip
    """Integrate-and-fire without leak; it starts at v = reset."""
    params = dict(v_reset=reset, threshold=threshold, tau_syn=tau_syn, c_mem=tau_mem)
    return _lif(input, hw_data, dt, method, alpha, params, begin=reset, leak=False)


def cuba_refractory_iaf_integration(
    input: Any, *, reset: Any, threshold: Any, tau_syn: Any, tau_mem: Any, refractory_time: Any, method: str,
    alpha: Any, hw_data: Any = None, dt: float = 1e-6,
) -> LIFOutput:  # fmt: skip
    """`cuba_iaf_integration` with a refractory time: after a spike the neuron is silent and its membrane is clamped."""
    params = dict(v_reset=reset, threshold=threshold, tau_syn=tau_syn, c_mem=tau_mem, t_refractory=refractory_time)
    return _lif(input, hw_data, dt, method, alpha, params, begin=reset, leak=False, refractory=True)
