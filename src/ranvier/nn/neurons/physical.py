"""Neurons in SI units whose terms can be switched on and off: current-based LIF and LI, and adaptive exponential."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from ranvier.backends import choose as backends
from ranvier.backends import op
from ranvier.nn.neuron import Neuron, Option
from ranvier.nn.neurons.printed import equations
from ranvier.nn.neurons.terms import METHODS, OBSERVABLES, Form, Method, Step, Term, choose
from ranvier.nn.temporal import check_sequence
from ranvier.surrogate import Surrogate

_here = threading.local()  # .records: set by `measuring` in this thread


def _synapses(name: str, synapses: Any) -> Any:
    """Return the number of inputs, or their names."""
    many = [*range(synapses)] if isinstance(synapses, int) else list(synapses)
    if not many or len(set(many)) != len(many):
        raise ValueError(f"{name} must be a number of inputs above 0, or a tuple of names, got {synapses!r}")
    return synapses


def _form(settings: Mapping[str, Any], kind: type[Step]) -> Form:
    """Return the equation for these options."""
    s = SimpleNamespace(**settings)
    if s.refractory and not s.fire:
        raise ValueError("refractory=True needs spikes: set fire=True, or refractory=False")
    many = [str(k) for k in range(s.synapses)] if isinstance(s.synapses, int) else list(s.synapses)
    switches = {k: getattr(s, k) for k in SWITCHES} | {"reset": s.fire}
    suffixes = ("",) if s.synapses == 1 else tuple(f"_{k}" for k in many)
    return Form(choose(switches, dict(s.terms or {})), suffixes, s.method, s.detach_reset, kind)


Value = float | Tensor

SLOWEST = 1e-5  # smallest share of the membrane that a learned leak removes per step

SWITCHES = "leak", "fire", "refractory", "exponential", "subthreshold", "spike_triggered"


class Physical(Neuron):
    """Base of the neurons whose terms can be switched on and off; see `AdEx`."""

    kind_of_step: ClassVar[type[Step]] = Step  # runs the terms of a step in order

    dt: Option[float] = Option(1e-3, "length of a step in seconds", number=True)
    synapses: Option[int | Sequence[str]] = Option(1, "how many inputs, or their names", check=_synapses)
    leak: Option[bool] = Option(True, "the term g_leak (v_leak - v)")
    fire: Option[bool] = Option(True, "spikes and reset; without them the membrane is the output")
    refractory: Option[bool] = Option(False, "no spikes for t_refractory after a spike")
    exponential: Option[bool] = Option(False, "the exponential onset of a spike")
    subthreshold: Option[bool] = Option(False, "adaptation by the membrane, a")
    spike_triggered: Option[bool] = Option(False, "adaptation by spikes, b")
    method: Option[Method] = Option("euler", "how a step is computed", choices=tuple(METHODS))
    detach_reset: Option[bool] = Option(False, "no gradient flows through the spike of the reset")
    terms: Option[Mapping[str, Term | None] | None] = Option(None, "terms that are changed, added or removed")

    @classmethod
    def declared(cls) -> None:
        form = _form({k: o.default for k, o in cls.options.items()}, cls.kind_of_step)
        cls.inputs, cls.params, cls.states = form.inputs, form.params, form.states

    def __init__(self, *, tau_mem: float | Tensor | None = None, **given: Any):
        given_options = {
            k: o.checked(f"{type(self).__name__}: {k}", given.get(k, o.default)) for k, o in self.options.items()
        }
        form = _form(given_options, self.kind_of_step)
        self.inputs, self.params, self.states = form.inputs, form.params, form.states  # type: ignore[misc]
        self.records = (*form.states, "z")
        if tau_mem is not None:
            if clash := {"c_mem", "g_leak"} & given.keys():
                raise ValueError(
                    f"{type(self).__name__}: give either tau_mem or {sorted(clash)}; tau_mem = c_mem / g_leak"
                )
            given["c_mem"] = tau_mem
        super().__init__(**given)

    @property
    def _form(self) -> Form:
        return _form(self.settings, self.kind_of_step)

    def _set_option(self, name: str, value: Any) -> None:
        value = self.options[name].checked(f"{type(self).__name__}: {name}", value)
        form = _form({**self.settings, name: value}, self.kind_of_step)
        if (form.inputs, [*form.params], [*form.states]) != (self.inputs, [*self.params], [*self.states]):
            raise AttributeError(
                f"{type(self).__name__}: {name}={value!r} changes the equation, its parameters or its states; "
                f"build a new neuron with it"
            )
        super()._set_option(name, value)

    def bounds(self, name: str) -> tuple[Any, Any]:
        """Return the bounds of a parameter during learning. Time constants stay so large that a step of dt is stable
        (Euler), or that the state does not decay completely in one step (exponential).
        """
        low, high = super().bounds(name)
        method, dt = self.settings["method"], self.settings["dt"]
        g = self.g_leak.detach() if "g_leak" in self.params else 1.0
        if name == "delta":  # the exponential must have an effect at the threshold
            return (self.threshold - self.v_exp).detach().abs() / 64 if self.fire else 1e-3, high
        if method == "factors":
            return (0.0, 1.0) if name.startswith("tau") or name == "c_mem" else (max(low, SLOWEST), high)
        if name == "g_leak":  # at zero leak the other parameters of the membrane have no gradient
            return SLOWEST * self.c_mem.detach() / dt, high
        least = dt if method == "euler" else dt / 16
        return {"c_mem": (least * g, high)}.get(name, (max(low, least) if name.startswith("tau") else low, high))

    def _check_step(self) -> None:
        name, method, dt = type(self).__name__, self.settings["method"], self.settings["dt"]
        leaks = "g_leak" in self.params and not self.g_leak.is_meta
        if leaks and method != "euler" and bool((self.g_leak == 0).any()):
            raise ValueError(f"{name}: method={method!r} divides by g_leak, which is 0; take method='euler'")
        if method != "euler":
            return
        times = {k: getattr(self, k) for k in self.params if k.startswith("tau")}
        if leaks and "membrane.leak" in self._form.terms:
            times["c_mem / g_leak"] = self.c_mem / self.g_leak
        for k, tau in times.items():
            if not tau.is_meta and bool((tau < dt * (1.0 - 1e-6)).any()):
                least = tau.min().item()
                raise ValueError(
                    f"{name}: {k} is {least:g} s, and steps of dt={dt:g} s cannot follow it by Euler's method; "
                    f"take dt up to {least:g}, or method='exponential'"
                )

    @property
    def learnable(self) -> tuple[str, ...]:
        """The names of the parameters that `learn` may contain. If fire=False, the parameters of spikes are
        left out.
        """
        form = self._form
        idle = set() if form.fires else {"b"} if "adaptation.subthreshold" in form.terms else {"b", "tau_w"}
        return tuple(k for k in super().learnable if k not in idle)

    def _numbers(self, said: Any) -> list[str]:
        return ["dt"]

    def _made(self, said: Any) -> dict[str, Any]:
        return {}  # the equation already contains the options

    def _bind(self, names: tuple[str, ...], said: Any = None, inputs: Any = None) -> Any:
        return super()._bind(names, self._form.step() if said is None else said, inputs)

    def describe(self) -> str:
        """The equations in use, in the order in which a step runs them.

        >>> import ranvier
        >>> print(ranvier.PhysicalLIF(refractory=True).describe())
        dv = dt / c_mem * (i + g_leak * (v_leak - v))
        i = (1 - dt / tau_syn) * i + x
        v = v + dv
        z = where(left > 0, 0, spike(v - threshold))
        v = (1 - z) * v + z * v_reset
        v = where(left > 0, v_reset, v)
        left = where(z > 0, -floor(-(t_refractory / dt * 0.999999)), maximum(where(left > 0, left - 1, 0), 0))
        """
        form = self._form
        return equations(form.step(), (*form.inputs, *form.states, *form.params, "dt"), form)

    def forward(self, x: Any, measured: Mapping[str, Tensor] | None = None) -> Any:
        """Run a sequence: x [T, B, *features], or a tuple with one such tensor for each synapse -> spikes z, or the
        membrane v if fire=False.

        measured: recordings from a device, by observable: "v" the membrane, "z" the spikes, "w" the adaptation, each
        [steps, B, *features]. They replace the values of the model, but derivatives are those of the model. The result
        has min(T, steps) steps.
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
        """Compute the same as `run`, but with recordings `measured`, and with parameters that are given as tensors
        (broadcastable to [B, *features]).
        """
        measured, late = dict(measured or {}), dict(late or {})
        records = {**measured, **late}
        if unknown := records.keys() - set(OBSERVABLES) | ({"w"} & records.keys() if "w" not in self.states else set()):
            raise ValueError(
                f"{type(self).__name__}: measured has {sorted(unknown)}; the observables are {[*OBSERVABLES]}"
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
            rule = self._bind(names, step, inputs)
            op.register(rule)
            self._rules[key] = rule
        return self._rules[key]


@contextmanager
def measuring(records: Mapping[nn.Module, Mapping[str, Tensor]]) -> Iterator[None]:
    """Within this block, neurons use the measured values in `records`: {layer: {"v", "z" or "w": recording}}."""
    outer = getattr(_here, "records", {})
    _here.records = {**outer, **records}
    try:
        yield
    finally:
        _here.records = outer


if TYPE_CHECKING:  # for type checkers; `more` are the time constants of named synapses, and the parameters of terms

    class _Physical(Physical):
        def __init__(
            self, *, tau_mem: Value | None = None, tau_syn: Value = 5e-3, c_mem: Value = 20e-3, g_leak: Value = 1.0,
            v_leak: Value = 0.0, threshold: Value = 1.0, v_reset: Value = 0.0, t_refractory: Value = 2e-3,
            delta: Value = 0.1, v_exp: Value = 0.8, a: Value = 0.1, b: Value = 0.1, tau_w: Value = 0.1,
            dt: float = 1e-3, synapses: int | Sequence[str] = 1, leak: bool = True, fire: bool = True,
            refractory: bool = False, exponential: bool = False, subthreshold: bool = False,
            spike_triggered: bool = False, method: Method = "euler",
            detach_reset: bool = False, terms: Mapping[str, Term | None] | None = None,
            surrogate: Surrogate | None = None, learn: Sequence[str] = (),
            shape: Sequence[int] | int | None = None, **more: Value,
        ) -> None: ...  # fmt: skip


class AdEx(Physical):
    """Adaptive exponential integrate-and-fire in SI units; every term can be switched on or off.

    c_mem dv/dt = i + g_leak (v_leak - v) + g_leak delta exp((v - v_exp) / delta) - w,   tau_syn di/dt = -i + input,
    tau_w dw/dt = a (v - v_leak) - w;   z = 1 and v := v_reset, w := w + b where v >= threshold. `describe()` prints the
    equations of a step.

    x [T, B, *features]: an input of 1 increases the synaptic current by 1, which changes the membrane one step later.
    Returns spikes z of the same shape, or the membrane v if `fire=False`. All parameters are numbers or per neuron, and
    may be learned.

    Switches: `leak`, `fire`, `refractory` (after a spike the neuron is silent and stays at v_reset for t_refractory),
    `exponential`, `subthreshold` (a), `spike_triggered` (b). `synapses`: the number of inputs, or their names; each
    input has its own tau_syn_<name>; x is then a tuple. `method`: "euler", or "exponential" (exact decays). `tau_mem`
    sets c_mem, with g_leak = 1. `terms` changes the equation: {"leak": f} replaces a term by the function f, {"leak":
    None} removes it, and {"membrane.shunt": f} adds a term named shunt to a stage (current, membrane, spike,
    adaptation, reset, refractory). The arguments of f are the names of the values that it reads. Brette & Gerstner,
    Adaptive exponential integrate-and-fire model, J. Neurophysiology 94, 2005.

    >>> import torch, ranvier
    >>> drive = torch.full((40, 1, 1), 0.6)
    >>> ranvier.AdEx(tau_mem=10e-3, refractory=True)(drive).sum()
    tensor(5.)
    >>> shunted = ranvier.AdEx(terms={"membrane.shunt": lambda v, i, k=0.5: -k * i * v})
    >>> bool(shunted(drive).sum() < ranvier.AdEx()(drive).sum())
    True
    """

    exponential: Option[bool] = Option(True, "the exponential onset of a spike")
    subthreshold: Option[bool] = Option(True, "adaptation by the membrane, a")
    spike_triggered: Option[bool] = Option(True, "adaptation by spikes, b")

    if TYPE_CHECKING:
        __init__ = _Physical.__init__


class PhysicalLIF(Physical):
    """Current-based leaky integrate-and-fire in SI units: `AdEx` without exponential and adaptation.

    c_mem dv/dt = i + g_leak (v_leak - v),   tau_syn di/dt = -i + input;   z = 1 and v := v_reset where v >= threshold.

    x [T, B, *features] -> z of the same shape. It has all switches of `AdEx`.

    >>> import torch, ranvier
    >>> ranvier.PhysicalLIF(tau_mem=10e-3)(torch.full((40, 1, 1), 0.6)).sum()
    tensor(8.)
    """

    if TYPE_CHECKING:
        __init__ = _Physical.__init__


class PhysicalLI(Physical):
    """Current-based leaky integrator in SI units, a readout: `PhysicalLIF` without spikes. The output is the membrane
    v.

    >>> import torch, ranvier
    >>> ranvier.PhysicalLI(dt=1e-3, tau_mem=10e-3)(torch.ones(3, 1, 1)).flatten()
    tensor([0.0000, 0.1000, 0.2700])
    """

    fire: Option[bool] = Option(False, "spikes and reset; without them the membrane is the output")

    if TYPE_CHECKING:
        __init__ = _Physical.__init__
