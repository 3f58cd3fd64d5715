"""Neuron modules: AELIF and its shorter forms LIF and LI, EventPropLIF, NeuronExp, ReadoutNeuronExp."""

import warnings
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ranvier.compat.hxtorch.spiking import functional as F
from ranvier.compat.hxtorch.spiking.experiment import Experiment, HXModule
from ranvier.compat.hxtorch.spiking.handle import AnalogObservable, Handle, LIFObservables, LIObservables
from ranvier.compat.hxtorch.spiking.parameter import MixedHXModelParameter, wrapped
from ranvier.hardware.record import post_process, steps

PARAMETERS = dict(
    leak=80, reset=80, threshold=125, tau_mem=10e-6, tau_syn=10e-6, i_synin_gm=500, refractory_time=1e-6,
    synapse_dac_bias=600, exponential_slope=50e-3, exponential_threshold=110, subthreshold_adaptation_strength=1,
    spike_triggered_adaptation_increment=1, tau_adap=100e-6,
)  # fmt: skip


class AELIF(HXModule):
    """The adaptive exponential neuron; each term can be switched on or off. Parameters are numbers or HXParameters, of
    which the model value is used.

    Output: a handle with current, membrane_cadc, membrane_madc, with adaptation_cadc and adaptation_madc if it
    adapts, and spikes if it fires.
    """

    leak: Any
    reset: Any
    threshold: Any
    refractory_time: Any
    membrane_capacitance: Any
    method: Any

    def __init__(
        self, size: int, experiment: Experiment, *, method: str = "superspike", alpha: float = 50.0, leaky: bool = True,
        fire: bool = True, exponential: bool = True, subthreshold_adaptation: bool = True,
        spike_triggered_adaptation: bool = True, membrane_capacitance: Any = None, trace_offset: float | Tensor = 0.0,
        trace_scale: float = 1.0, cadc_time_shift: int = 0, shift_cadc_to_first: bool = False,
        interpolation: str = "linear", placement_constraint: Any = None, **parameters: Any,
    ):  # fmt: skip
        ignored = {k for k in parameters if k.startswith(("enable_", "cadc_", "record_", "neuron_", "holdoff"))}
        if unknown := parameters.keys() - PARAMETERS.keys() - ignored:
            raise TypeError(f"{type(self).__name__} has no parameter {sorted(unknown)}; it has {[*PARAMETERS]}")
        if placement_constraint is not None and len(placement_constraint) != size:
            raise ValueError(f"placement_constraint must have one entry for each of {size} neurons")
        given = {**PARAMETERS, **{k: v for k, v in parameters.items() if k not in ignored}}
        self._flags = dict(
            leaky=leaky, fire=fire, exponential=exponential, subthreshold_adaptation=subthreshold_adaptation,
            spike_triggered_adaptation=spike_triggered_adaptation,
        )  # fmt: skip
        super().__init__(experiment)
        for name, value in given.items():
            setattr(self, name, wrapped(value))
        default = MixedHXModelParameter(10e-6, 63) if membrane_capacitance is None else wrapped(membrane_capacitance)
        self.membrane_capacitance = default
        self.size, self.method, self.alpha, self.interpolation = size, method, alpha, interpolation
        self.trace_offset, self.trace_scale = trace_offset, trace_scale
        self.cadc_time_shift, self.shift_cadc_to_first = cadc_time_shift, shift_cadc_to_first
        silent = torch.as_tensor(self.refractory_time.model_value)
        self.refractory = bool((silent != 0).any())
        if self.refractory and not fire:
            warnings.warn(f"{type(self).__name__}: without fire there is no refractory time", UserWarning, stacklevel=2)
            self.refractory = False

    @property
    def adaptation(self) -> bool:
        return self._flags["subthreshold_adaptation"] or self._flags["spike_triggered_adaptation"]

    def new_handle(self) -> Any:
        names = ["current", "membrane_cadc", "membrane_madc"]
        names += ["adaptation_cadc", "adaptation_madc"] if self.adaptation else []
        names += ["spikes"] if self._flags["fire"] else []
        plain = {4: LIFObservables, 3: LIObservables}
        return Handle(*names) if self.adaptation else plain[len(names)]()

    def forward_func(self, *inputs: Any, hw_data: Any = None) -> Any:
        def model(name: str) -> Any:
            return getattr(self, name).model_value

        voltage, adapted = getattr(hw_data, "voltage", None), getattr(hw_data, "adaptation", None)
        code = F.CuBaStepCode(
            **self._flags, refractory=self.refractory,
            hw_voltage_trace_available=getattr(voltage, "cadc", None) is not None,
            hw_adaptation_trace_available=getattr(adapted, "cadc", None) is not None,
            hw_spikes_available=getattr(hw_data, "spikes", None) is not None,
        ).generate()  # fmt: skip
        out = F.cuba_aelif_integration(
            tuple(h.graded_spikes for h in inputs), leak=model("leak"), reset=model("reset"),
            threshold=model("threshold"),
            tau_syn=model("tau_syn"), c_mem=model("membrane_capacitance"),
            g_l=model("membrane_capacitance") / model("tau_mem"), refractory_time=model("refractory_time"),
            method=self.method,
            alpha=self.alpha, exp_slope=model("exponential_slope"), exp_threshold=model("exponential_threshold"),
            subthreshold_adaptation_strength=model("subthreshold_adaptation_strength"),
            spike_triggered_adaptation_increment=model("spike_triggered_adaptation_increment"),
            tau_adap=model("tau_adap"),
            hw_data=hw_data, dt=self.experiment.dt, refractory=self.refractory, integration_step_code=code,
            **self._flags,
        )  # fmt: skip
        fields = dict(
            current=out.current, membrane_cadc=out.membrane, membrane_madc=out.membrane_madc, spikes=out.spikes
        )
        fields |= dict(adaptation_cadc=out.adaptation, adaptation_madc=out.adaptation_madc)
        handle = self.new_handle()
        return type(handle)(**{k: fields[k] for k in handle._fields})

    def post_process(self, hw_spikes: Any, runtime: float | None = None) -> Any:
        """Convert raw recordings to `hw_data`: dense spikes, and the trace of the converter, shifted, offset and
        scaled.

        hw_spikes: `HardwareObservables`; its records are dense tensors, or have a method `.to_dense(runtime, dt,
        mode)`.
        """
        rows = 0 if runtime is None else steps(runtime, self.experiment.dt)

        def dense(record: Any) -> Any:
            if record is None or isinstance(record, Tensor):
                return record
            return record.to_dense(runtime, self.experiment.dt, self.interpolation)

        spikes, cadc = dense(hw_spikes.spikes), dense(hw_spikes.cadc)
        if spikes is not None and not spikes.is_floating_point():
            spikes = spikes.to(torch.get_default_dtype())  # in the dtype of the model's spikes
        if cadc is not None:
            cadc = post_process(
                cadc[:rows] if rows else cadc, shift=self.cadc_time_shift, offset=self.trace_offset,
                scale=self.trace_scale,
                from_first=self.shift_cadc_to_first,
            )  # fmt: skip
        voltage = AnalogObservable(cadc, hw_spikes.madc)
        return SimpleNamespace(spikes=spikes, voltage=voltage, adaptation=AnalogObservable())


_PLAIN = dict(exponential=False, subthreshold_adaptation=False, spike_triggered_adaptation=False)


class LIF(AELIF):
    """Leaky integrate-and-fire: AELIF with leak and fire only."""

    def __init__(self, size: int, experiment: Experiment, **parameters: Any):
        super().__init__(size, experiment, **{**_PLAIN, **parameters})


class LI(AELIF):
    """Leaky integrator, a readout."""

    def __init__(self, size: int, experiment: Experiment, **parameters: Any):
        super().__init__(size, experiment, **{**_PLAIN, "fire": False, "refractory_time": 0.0, **parameters})


class EventPropLIF(LIF):
    """LIF with hxtorch's own EventProp adjoint; its input must come from one `EventPropSynapse`."""

    def forward_func(self, *inputs: Any, hw_data: Any = None) -> LIFObservables:
        if len(inputs) != 1:
            raise ValueError(f"EventPropLIF takes exactly one input, got {len(inputs)}")
        names = ("leak", "reset", "threshold", "tau_syn", "tau_mem")
        constants: list[Any] = [getattr(self, n).model_value for n in names]
        given = (inputs[0].graded_spikes, *constants)
        z, v, i = F.EventPropLIFFunction.apply(*given, hw_data, self.experiment.dt)
        return LIFObservables(spikes=z, membrane_cadc=v, current=i)


class NeuronExp(LIF):
    """LIF with exact decays (deprecated in hxtorch)."""

    def _decays(self) -> dict[str, Any]:
        taus = {f"{n}_exp": torch.as_tensor(getattr(self, n).model_value) for n in ("tau_syn", "tau_mem")}
        return {n: torch.exp(-self.experiment.dt / tau) for n, tau in taus.items()} | {"leak": self.leak.model_value}

    def forward_func(self, *inputs: Any, hw_data: Any = None) -> LIFObservables:
        rest = dict(
            reset=self.reset.model_value, threshold=self.threshold.model_value, method=self.method, alpha=self.alpha
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            z, v, i, madc = F.exp_cuba_lif_integration(
                tuple(h.graded_spikes for h in inputs), **self._decays(), **rest, hw_data=hw_data
            )
        return LIFObservables(spikes=z, membrane_cadc=v, current=i, membrane_madc=madc)


class ReadoutNeuronExp(LI):
    """LI with exact decays (deprecated in hxtorch)."""

    _decays = NeuronExp._decays

    def forward_func(self, *inputs: Any, hw_data: Any = None) -> LIObservables:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            v, i, madc = F.exp_cuba_li_integration(
                tuple(h.graded_spikes for h in inputs), **self._decays(), hw_data=hw_data
            )
        return LIObservables(membrane_cadc=v, current=i, membrane_madc=madc)
