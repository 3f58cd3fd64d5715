"""The functions `cuba_aelif_integration` and `CuBaStepCode`."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ranvier.compat.hxtorch.spiking.functional.carry import carried, neuron, summed

_TERMS = ("leaky", "fire", "refractory", "exponential", "subthreshold_adaptation", "spike_triggered_adaptation")


def _flags(
    leaky: bool, fire: bool, refractory: bool, exponential: bool, subthreshold: bool, triggered: bool
) -> dict[str, bool]:
    return dict(
        leak=leaky,
        fire=fire,
        refractory=refractory,
        exponential=exponential,
        subthreshold=subthreshold,
        spike_triggered=triggered,
    )


class StepCode(str):
    """The equations of a step as text, with the selection of terms that they describe."""

    flags: dict[str, bool]


class CuBaStepCode:
    """The terms that a neuron has, and the observables that are injected from hardware. `generate()` returns the
    argument `integration_step_code` of `cuba_aelif_integration`.
    """

    def __init__(
        self, leaky: bool = True, fire: bool = True, refractory: bool = False, exponential: bool = False,
        subthreshold_adaptation: bool = False, spike_triggered_adaptation: bool = False,
        hw_voltage_trace_available: bool = False, hw_adaptation_trace_available: bool = False,
        hw_spikes_available: bool = False,
    ):  # fmt: skip
        self.leaky, self.fire, self.refractory, self.exponential = leaky, fire, refractory, exponential
        self.subthreshold_adaptation, self.spike_triggered_adaptation = (
            subthreshold_adaptation,
            spike_triggered_adaptation,
        )
        self.adaptation = subthreshold_adaptation or spike_triggered_adaptation
        self.hw_voltage_trace_available = hw_voltage_trace_available
        self.hw_adaptation_trace_available = hw_adaptation_trace_available
        self.hw_spikes_available = hw_spikes_available

    def generate(self) -> StepCode:
        """Return the equations as text, with the selected terms in its attribute `flags`."""
        if self.refractory and not self.fire:
            raise ValueError("CuBaStepCode: refractory=True needs fire=True")
        flags = {k: bool(getattr(self, k)) for k in _TERMS}
        layer = neuron(1e-6, "superspike", 1.0, tuple(sorted(_flags(*flags.values()).items())))
        code = StepCode(layer.describe())
        seen = {
            "v": self.hw_voltage_trace_available,
            "w": self.hw_adaptation_trace_available,
            "z": self.hw_spikes_available,
        }
        code.flags = {**flags, **seen}
        return code


class AELIFOutput(NamedTuple):
    """The result of `cuba_aelif_integration`, in this order, each [T, B, N]; records of the converter are returned
    unchanged.
    """

    membrane: Tensor
    membrane_madc: Any
    current: Tensor
    adaptation: Tensor
    adaptation_madc: Any
    spikes: Tensor


def cuba_aelif_integration(
    input: Tensor | tuple[Tensor, ...], *, leak: Any, reset: Any, threshold: Any, tau_syn: Any, c_mem: Any, g_l: Any,
    refractory_time: Any, method: str, alpha: Any, exp_slope: Any, exp_threshold: Any,
    subthreshold_adaptation_strength: Any, spike_triggered_adaptation_increment: Any, tau_adap: Any,
    hw_data: Any = None, dt: float = 1e-6, leaky: bool = True, fire: bool = True, refractory: bool = False,
    exponential: bool = False, subthreshold_adaptation: bool = False, spike_triggered_adaptation: bool = False,
    integration_step_code: str | None = None,
) -> AELIFOutput:  # fmt: skip
    """The configurable current-based neuron of hxtorch. input [T, B, N], or a tuple of such tensors, which are added.

    The order of a step: (1) update the membrane v with the current of the previous step; (2) add the input to the
    current; (3) spike where v is strictly above threshold; (4) adaptation; (5) reset; (6) refractory period. Injected
    records (`hw_data.voltage.cadc`, `.spikes`, `.adaptation.cadc`) shorten the result to their length. Parameters are
    numbers or tensors broadcastable to [B, N].
    """
    x = summed(input)
    terms: dict[str, bool] = dict(
        zip(
            _TERMS,
            (leaky, fire, refractory, exponential, subthreshold_adaptation, spike_triggered_adaptation),
            strict=True,
        )
    )
    if refractory and not fire:
        raise ValueError("cuba_aelif_integration: refractory=True needs fire=True")
    if integration_step_code is not None and not isinstance(integration_step_code, StepCode):
        raise ValueError("integration_step_code must come from CuBaStepCode(...).generate(); no other text is run")
    code = dict(v=False, w=False, z=False) if integration_step_code is None else integration_step_code.flags
    if different := [k for k in terms if integration_step_code is not None and bool(terms[k]) != code[k]]:
        raise ValueError(f"integration_step_code has other flags than this call: {different} differ")
    voltage, adaptation = getattr(hw_data, "voltage", None), getattr(hw_data, "adaptation", None)
    records = {
        "v": getattr(voltage, "cadc", None),
        "z": getattr(hw_data, "spikes", None),
        "w": getattr(adaptation, "cadc", None),
    }
    records = {k: r for k, r in records.items() if r is not None}
    if missing := [k for k in ("v", "z", "w") if code[k] and k not in records]:
        raise ValueError(
            f"integration_step_code expects recordings of {missing} (v membrane, z spikes, w adaptation); pass hw_data"
        )
    measured = {k: r for k, r in records.items() if code[k]}
    late = {k: r for k, r in records.items() if k not in measured and refractory and k != "w"}
    steps = min(len(x), *(len(r) for r in records.values())) if records else len(x)
    ones = torch.ones(x.shape[-1], dtype=x.dtype, device=x.device)
    params = dict(
        v_leak=leak, v_reset=reset, threshold=threshold, tau_syn=tau_syn, c_mem=c_mem, g_leak=ones if g_l is None else
        g_l,
        t_refractory=refractory_time, delta=exp_slope, v_exp=exp_threshold, a=subthreshold_adaptation_strength,
        b=spike_triggered_adaptation_increment, tau_w=tau_adap,
    )  # fmt: skip
    y, traces = carried(
        x[:steps], params, dt=dt, slope_name=method, alpha=alpha if fire else 0.0, measured=_observed(measured,
        terms), late=late,
        **_flags(*terms.values()),
    )  # fmt: skip
    zeros = torch.zeros_like(traces["v"])
    return AELIFOutput(
        traces["v"], getattr(voltage, "madc", None), traces["i"], traces.get("w", zeros),
        getattr(adaptation, "madc", None), y if fire else zeros,
    )  # fmt: skip


def _observed(measured: dict[str, Tensor], terms: dict[str, bool]) -> dict[str, Tensor]:
    """Return the records of variables that the model has: without `fire` it has no spikes, and without an adaptation
    term no adaptation.
    """
    adapts = terms["subthreshold_adaptation"] or terms["spike_triggered_adaptation"]
    modelled = {"v": True, "z": terms["fire"], "w": adapts}
    return {k: r for k, r in measured.items() if modelled[k]}
