"""Neurons in SI units whose terms are chosen when they are built: current-based LIF and LI, adaptive exponential."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.backends import choose as backends
from ranvier.backends import op
from ranvier.nn.neuron import Neuron, Option
from ranvier.nn.neurons.printed import equations
from ranvier.nn.neurons.terms import METHODS, OBSERVABLES, ORDERS, Form, Term, choose
from ranvier.nn.temporal import check_sequence

_here = threading.local()  # .records: what `measuring` put in force in this thread


def _form(
    dt: float, synapses: Any, leak: bool, fire: bool, refractory: bool, exponential: bool, subthreshold: bool,
    spike_triggered: bool, method: str, order: str, detach_reset: bool, terms: Mapping[str, Term | None] | None,
) -> Form:  # fmt: skip
    if not (isinstance(dt, (int, float)) and dt > 0 and dt < float("inf")):
        raise ValueError(f"dt must be a positive number of seconds, got {dt!r}")
    for name, value, known in (("method", method, [*METHODS]), ("order", order, [*ORDERS])):
        if value not in known:
            raise ValueError(f"{name} must be one of {known}, got {value!r}")
    if refractory and not fire:
        raise ValueError("refractory=True needs spikes: set fire=True, or refractory=False")
    many = [str(k) for k in range(synapses)] if isinstance(synapses, int) else list(synapses)
    if not many or len(set(many)) != len(many):
        raise ValueError(f"synapses must be a number of inputs above 0, or a tuple of names, got {synapses!r}")
    switches = dict(leak=leak, fire=fire, refractory=refractory, exponential=exponential, subthreshold=subthreshold)
    switches |= dict(spike_triggered=spike_triggered, reset=fire)
    suffixes = ("",) if synapses == 1 else tuple(f"_{s}" for s in many)
    return Form(float(dt), choose(switches, dict(terms or {})), suffixes, method, order, detach_reset)


_SWITCHES = dict(
    dt=1e-3, synapses=1, leak=True, fire=True, refractory=False, exponential=False, subthreshold=False,
    spike_triggered=False, method="euler", order="masked", detach_reset=False, terms=None,
)  # fmt: skip


class Physical(Neuron):
    """Base of the neurons whose terms are chosen when they are built; see `AdEx`."""

    form = Option(_form, **_SWITCHES)

    def __init_subclass__(cls, **kwargs: Any):
        form = _form(**vars(cls).get("form", cls.options.get("form")).keywords)
        cls.inputs, cls.params, cls.states = form.inputs, form.params, form.states
        super().__init_subclass__(**kwargs)

    def __init__(self, *, tau_mem: Any = None, **given: Any):
        form = _form(**{k: given.get(k, v) for k, v in self.options["form"].keywords.items()})
        self.inputs, self.params, self.states = form.inputs, form.params, form.states  # type: ignore[misc]
        self.records = (*form.states, "z")
        if tau_mem is not None:
            if clash := {"c_mem", "g_leak"} & given.keys():
                raise ValueError(
                    f"{type(self).__name__}: give either tau_mem or {sorted(clash)}; tau_mem = c_mem / g_leak"
                )
            given["c_mem"] = tau_mem
        super().__init__(**given)
        for name in (p for p in self.params if p.startswith("tau") or p == "c_mem"):
            if bool((getattr(self, name) <= 0).any()):
                raise ValueError(f"{type(self).__name__}: {name} must be above 0, got {getattr(self, name)}")

    @property
    def _form(self) -> Form:
        return _form(**self.settings)

    def _bind(self, names: tuple[str, ...], said: Any = None, inputs: Any = None) -> Any:
        if said is None:
            step = self._form.step()
            said = lambda form, **q: step(**q)  # noqa: E731  the option stands in the equation already
        return super()._bind(names, said, inputs)

    def describe(self) -> str:
        """The equations in use, in the order in which a step runs them.

        >>> import ranvier
        >>> print(ranvier.PhysicalLIF(refractory=True).describe())
        dv = 0.001 / c_mem * (i + g_leak * (v_leak - v))
        i = (1 - 0.001 / tau_syn) * i + x
        v = v + dv
        z = where(left > 0, 0, spike(v - threshold))
        v = (1 - z) * v + z * v_reset
        v = where(left > 0, v_reset, v)
        left = where(z > 0, -floor(-(t_refractory / 0.001 * 0.999999)), maximum(where(left > 0, left - 1, 0), 0))
        """
        form = self._form
        return equations(form.step(), (*form.inputs, *form.states, *form.params), form)

    def forward(self, x: Any, measured: Mapping[str, Tensor] | None = None) -> Any:
        """x [T, B, *features], or a tuple with one for each synapse; gives spikes z (membrane v with fire=False).

        measured: recordings of a device by observable: "v" the membrane, "z" the spikes, "w" the adaptation, each
        [T', B, *features]. They take the place of the model's values; the derivative stays the model's. The
        result has min(T, T') steps.
        """
        if measured is None:
            return super().forward(x)
        with measuring({self: measured}):
            return super().forward(x)

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        measured = getattr(_here, "records", {}).get(self)
        if not measured:
            return super().run(x, state, names)
        return self.carry(x, state, names, measured)

    def carry(
        self, x: Any, state: Any = None, names: tuple[str, ...] = (), measured: Mapping[str, Tensor] | None = None,
        late: Mapping[str, Tensor] | None = None, params: Mapping[str, Tensor] | None = None,
    ) -> tuple[Any, Any, dict[str, Tensor]]:  # fmt: skip
        """`run` with recordings, and with parameters given as tensors (broadcastable to [B, *features])."""
        measured, late = dict(measured or {}), dict(late or {})
        records = {**measured, **late}
        if unknown := records.keys() - set(OBSERVABLES) | ({"w"} & records.keys() if "w" not in self.states else set()):
            raise ValueError(
                f"{type(self).__name__}: measured has {sorted(unknown)}; there are {[*OBSERVABLES]}, as modelled"
            )
        xs = tuple(x) if isinstance(x, (tuple, list)) else (x,)
        for one in xs:
            check_sequence(self, one)
        if len(xs) != len(self.inputs):
            raise ValueError(f"{type(self).__name__} takes {len(self.inputs)} inputs {self.inputs}, got {len(xs)}")
        for name, record in records.items():
            if record.shape[1:] != xs[0].shape[1:]:
                raise ValueError(
                    f"{type(self).__name__}: measured {name!r} is {tuple(record.shape)} but the input is "
                    f"{tuple(xs[0].shape)}; "
                    f"all axes but the first must agree"
                )
        steps = min(len(r) for r in (*xs, *records.values()))
        values: dict[str, Tensor] = {k: getattr(self, k) for k in self.params} | dict(params or {})
        if params is None:
            xs = self._inputs(tuple(one[:steps] for one in xs))
        xs = tuple(one[:steps] for one in xs)
        if state is None:
            state = {k: self._begin(s.initial, xs[0], values) for k, s in self.states.items()}
        rule = self._recorded(names, tuple(measured), tuple(late))
        inputs = (*xs, *(records[n][:steps].to(xs[0].dtype) for n in dict.fromkeys((*measured, *late))))
        taken = [*(values[k] for k in self.params), *self.values(xs[0])[len(self.params) :]]
        got, after = backends.carry(rule, inputs, [state[k] for k in self.states], taken)
        return got[0], dict(zip(self.states, after, strict=True)), dict(zip(names, got[1:], strict=True))

    def _begin(self, initial: float | str, x: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        like = torch.zeros_like(x[:1].sum(0), dtype=torch.promote_types(x.dtype, torch.float32))
        return values[initial].to(like.dtype).expand(like.shape) if isinstance(initial, str) else like + initial

    def _recorded(self, names: tuple[str, ...], measured: tuple[str, ...], late: tuple[str, ...]) -> Any:
        key = (*names, *(f"measured {n}" for n in measured), *(f"late {n}" for n in late))
        if key not in self._rules:
            step = self._form.step(measured, late)
            inputs = (*self.inputs, *(f"{n}_measured" for n in dict.fromkeys((*measured, *late))))
            rule = self._bind(names, lambda form, **q: step(**q), inputs)
            op.register(rule)
            self._rules[key] = rule
        return self._rules[key]


@contextmanager
def measuring(records: Mapping[nn.Module, Mapping[str, Tensor]]) -> Iterator[None]:
    """Within this block the physical neurons named take the values that were measured: {layer: {"v" | "z" | "w":
    record}}.
    """
    outer = getattr(_here, "records", {})
    _here.records = {**outer, **records}
    try:
        yield
    finally:
        _here.records = outer


class AdEx(Physical):
    """Adaptive exponential integrate-and-fire, in SI units, every term of it a switch.

    c_mem dv/dt = i + g_leak (v_leak - v) + g_leak delta exp((v - v_exp) / delta) - w,   tau_syn di/dt = -i + input,
    tau_w dw/dt = a (v - v_leak) - w;   z = 1 and v := v_reset, w := w + b where v >= threshold. `describe()` prints the
    step in use.

    x [T, B, *features]: a unit makes the synaptic current jump by 1; it moves the membrane one step later. Gives z,
    spikes of the same shape; with `fire=False` the membrane v. All parameters are numbers or per neuron, and may be
    learned.

    Switches: `leak`, `fire`, `refractory` (silent, and held at v_reset, for t_refractory), `exponential`,
    `subthreshold` (a), `spike_triggered` (b). `synapses`: how many inputs, or their names, each with its own
    tau_syn_<name>; x is then a tuple. `method`: "euler", or "exponential" (exact decays). `tau_mem` sets c_mem, with
    g_leak = 1. `terms` changes the equation: {"leak": f} replaces a term, {"membrane.shunt": f} adds one to a stage
    (current, membrane, spike, adaptation, reset, refractory), None takes one away; f names what it reads.
    `order="hxtorch"` lets silent neurons adapt and does not reset a measured membrane, as that library does.
    Brette & Gerstner, Adaptive exponential integrate-and-fire model, J. Neurophysiology 94, 2005.

    >>> import torch, ranvier
    >>> drive = torch.full((40, 1, 1), 0.6)
    >>> ranvier.AdEx(tau_mem=10e-3, refractory=True)(drive).sum()
    tensor(5.)
    >>> shunted = ranvier.AdEx(terms={"membrane.shunt": lambda v, i, k=0.5: -k * i * v})
    >>> bool(shunted(drive).sum() < ranvier.AdEx()(drive).sum())
    True
    """

    form = Option(_form, **{**_SWITCHES, "exponential": True, "subthreshold": True, "spike_triggered": True})


class PhysicalLIF(Physical):
    """Current-based leaky integrate-and-fire in SI units: `AdEx` with neither exponential nor adaptation.

    c_mem dv/dt = i + g_leak (v_leak - v),   tau_syn di/dt = -i + input;   z = 1 and v := v_reset where v >= threshold.

    x [T, B, *features] -> z of the same shape. All switches of `AdEx` are here too.

    >>> import torch, ranvier
    >>> ranvier.PhysicalLIF(tau_mem=10e-3)(torch.full((40, 1, 1), 0.6)).sum()
    tensor(8.)
    """

    form = Option(_form, **_SWITCHES)


class PhysicalLI(Physical):
    """Current-based leaky integrator in SI units, a readout: `PhysicalLIF` that does not fire. Gives the membrane v.

    >>> import torch, ranvier
    >>> ranvier.PhysicalLI(dt=1e-3, tau_mem=10e-3)(torch.ones(3, 1, 1)).flatten()
    tensor([0.0000, 0.1000, 0.2700])
    """

    form = Option(_form, **{**_SWITCHES, "fire": False})
