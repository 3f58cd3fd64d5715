"""The terms of physical neurons: small functions, which are combined, stage by stage, into the rule of one step.

Terms of the membrane and of the adaptation read min(v, threshold) instead of v (unless `Step.caps` is False): in the
step of a spike v exceeds the threshold by an amount that depends on dt, and this must not affect them. The arguments of
a term are the names of the values that it reads: states (`v`, `w`, `i`), the spike `z`, the input `x`, parameters,
`dt`, and `keep`. The function keep(tau) returns the factor by which a value with time constant tau decays in one step.
Any other name is a new parameter.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ranvier.nn.neuron import Param, State
from ranvier.ops import exp, floor, inject, maximum, minimum, spike, stop, where

Term = Callable[..., Any]

STAGES = ("current", "membrane", "spike", "adaptation", "reset", "refractory")

STEEPEST = 40.0  # largest exponent: there the membrane reaches the threshold in one step, and gradients are finite

TERMS: dict[str, Term] = {
    "current.synapse": lambda i, x, tau_syn, keep: keep(tau_syn) * i + x,
    "membrane.input": lambda i: i,
    "membrane.leak": lambda v, v_leak, g_leak: g_leak * (v_leak - v),
    "membrane.exponential": lambda v, g_leak, delta, v_exp: (
        g_leak * delta * exp(minimum((v - v_exp) / delta, STEEPEST))
    ),
    "membrane.adaptation": lambda w: -w,
    "spike.fire": lambda v, threshold: spike(v - threshold),
    "adaptation.decay": lambda w, tau_w, keep: keep(tau_w) * w,
    "adaptation.subthreshold": lambda v, v_leak, a, tau_w, keep: (1.0 - keep(tau_w)) * a * (v - v_leak),
    "adaptation.spike_triggered": lambda z, b: b * z,
    "reset.value": lambda v, z, v_reset: (1.0 - z) * v + z * v_reset,
    "refractory.hold": lambda v, v_reset: v_reset,
    # whole steps; the factor 0.999999 allows for rounding errors, as in 0.3 / 0.1
    "refractory.count": lambda t_refractory, dt: -floor(-(t_refractory / dt * (1.0 - 1e-6))),
}

PARAMS = {
    "tau_syn": Param(5e-3, "time constant of the synaptic current in seconds", low=1e-30),
    "c_mem": Param(20e-3, "capacitance of the membrane; c_mem / g_leak is its time constant in seconds", low=1e-30),
    "g_leak": Param(1.0, "conductance of the leak", low=0.0),
    "v_leak": Param(0.0, "membrane at rest"),
    "threshold": Param(1.0, "membrane at which a spike is fired"),
    "v_reset": Param(0.0, "membrane after a spike"),
    "t_refractory": Param(2e-3, "refractory period in seconds, rounded up to whole steps", low=0.0, learnable=False),
    "delta": Param(0.1, "width of the exponential onset of a spike", low=1e-30),
    "v_exp": Param(0.8, "membrane at which the exponential term starts to grow"),
    "a": Param(0.1, "adaptation per unit of the membrane above rest"),
    "b": Param(0.1, "what a spike adds to the adaptation"),
    "tau_w": Param(100e-3, "time constant of the adaptation in seconds", low=1e-30),
}

Method = Literal["euler", "exponential", "factors"]

METHODS: dict[Method, tuple[Callable, Callable]] = {  # keep(tau, dt), and gain(c, g, dt): the effect of a current on v
    "euler": (lambda tau, dt: 1.0 - dt / tau, lambda c, g, dt: dt / c),
    "exponential": (lambda tau, dt: exp(-dt / tau), lambda c, g, dt: (1.0 - exp(-dt * g / c)) / g),
    "factors": (lambda tau, dt: tau, lambda c, g, dt: (1.0 - c) / g),  # tau_syn, tau_w, c_mem are factors per step
}

OBSERVABLES = ("v", "z", "w")
_GIVEN = {"v", "z", "w", "i", "x", "dt", "keep"}


def reads(term: Term) -> dict[str, Any]:
    """Return the names that a term reads, with their defaults."""
    return {k: p.default for k, p in inspect.signature(term).parameters.items()}


def choose(switches: dict[str, bool], changes: dict[str, Term | None]) -> dict[str, Term]:
    """Return the terms in use: the terms of the table, without those that are switched off, and with the user's
    changes.
    """
    off = {name for name, on in switches.items() if not on}
    if {"subthreshold", "spike_triggered"} <= off:
        off |= {"membrane.adaptation", "adaptation.decay"}
    terms = {
        k: t
        for k, t in TERMS.items()
        if k not in off and k.partition(".")[2] not in off and k.partition(".")[0] not in off
    }
    for name, term in changes.items():
        known = [k for k in TERMS if k == name or k.partition(".")[2] == name]
        stage = name.partition(".")[0]
        if not known and (stage not in STAGES or "." not in name):
            raise ValueError(
                f"terms: {name!r} is neither a term ({[k.partition('.')[2] for k in TERMS]}) nor a new one; "
                f"write 'stage.{name}' with a stage of {list(STAGES)}"
            )
        if term is not None and not callable(term):
            raise TypeError(f"terms: {name!r} must be a function of the names it reads, or None, got {term!r}")
        key = known[0] if known else name
        terms.pop(key, None) if term is None else terms.update({key: term})
    return terms


@dataclass(frozen=True)
class Form:
    """The equation of a physical neuron: its terms, and the kind of step that computes them."""

    terms: dict[str, Term]
    synapses: tuple[str, ...]  # suffixes of the inputs: ("",) for a single one
    method: Method
    detach_reset: bool
    kind: "type[Step]"

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(f"x{s}" for s in self.synapses)

    @property
    def adapts(self) -> bool:
        return any(
            "w" in reads(t) for k, t in self.terms.items() if k.startswith("membrane.") or k == "adaptation.decay"
        )

    @property
    def refractory(self) -> bool:
        return "refractory.hold" in self.terms

    @property
    def fires(self) -> bool:
        return "spike.fire" in self.terms

    @property
    def states(self) -> dict[str, State]:
        rests = "membrane.leak" in self.terms or "adaptation.subthreshold" in self.terms
        states = {"v": State("v_leak" if rests else 0.0, "membrane")}
        states |= {f"i{s}": State(0.0, "synaptic current") for s in self.synapses}
        states |= {"w": State(0.0, "adaptation")} if self.adapts else {}
        return states | ({"left": State(0.0, "refractory steps that are left")} if self.refractory else {})

    @property
    def params(self) -> dict[str, Param]:
        found: dict[str, Param] = {"c_mem": PARAMS["c_mem"]}
        if self.method != "euler":
            found["g_leak"] = PARAMS["g_leak"]
        for key, term in self.terms.items():
            suffixes = self.synapses if key.startswith("current.") else ("",)
            for name, default in reads(term).items():
                if name in _GIVEN:
                    continue
                if name not in PARAMS and default is inspect.Parameter.empty:
                    raise ValueError(
                        f"term {key!r} reads {name!r}, which is not a known name; if it is a new parameter, give it a "
                        f"default: {name}=0.1"
                    )
                param = PARAMS[name] if name in PARAMS else default if isinstance(default, Param) else Param(default)
                found |= {f"{name}{s}" if s and name == "tau_syn" else name: param for s in suffixes}
        return {k: found[k] for k in sorted(found, key=[*PARAMS, *found].index)}

    def step(self, measured: Sequence[str] = (), late: Sequence[str] = ()) -> Callable[..., tuple[Any, tuple]]:
        """Return the rule of one step. For each observable in `measured` it has a further input: v_measured, z_measured
        or w_measured.

        The observables in `late` replace the values of the model only in the refractory stage.
        """

        def rule(**q: Any) -> tuple[Any, tuple]:
            return self.kind(self, q, frozenset(measured), frozenset(late)).run()

        return rule


class Step:
    """One step of the neuron while it is computed: `q` maps each name to its current value."""

    caps = True  # whether terms read the membrane only up to the threshold if there is an exponential term

    def __init__(self, form: Form, q: dict[str, Any], measured: frozenset, late: frozenset):
        keep, self.gain = METHODS[form.method]
        self.form, self.measured, self.late = form, measured, late
        steep = {"membrane.exponential"} & form.terms.keys()
        self.capped = self.caps and bool(steep) and "threshold" in q
        self.q = {**q, "keep": lambda tau: keep(tau, q["dt"])}

    def ask(self, key: str, suffix: str = "") -> Any:
        q, term = self.q, self.form.terms[key]
        names = {n: f"{n}{suffix}" if suffix and n in ("i", "x", "tau_syn") else n for n in reads(term)}
        values = {n: q[name] for n, name in names.items()}
        if "v" in values and self.capped and key.partition(".")[0] in ("membrane", "adaptation"):
            values["v"] = minimum(values["v"], q["threshold"])
        return term(**values)

    def total(self, stage: str) -> Any:
        values = [self.ask(k) for k in self.form.terms if k.startswith(f"{stage}.")]
        return sum(values[1:], values[0]) if values else 0.0

    def note(self, name: str, value: Any) -> None:
        """Set the value of a name. If values are text, this adds a line to the result of `describe`."""
        self.q[name] = value.__line__(name) if hasattr(value, "__line__") else value

    def seen(self, name: str, again: bool = False) -> None:
        """Replace the value of the model by the measured one, if there is one."""
        if name in self.measured or (again and name in self.late):
            self.note(name, inject(self.q[name], self.q[f"{name}_measured"]))

    def run(self) -> tuple[Any, tuple]:
        form, q = self.form, self.q
        if form.synapses != ("",):
            q["i"] = sum((q[f"i{s}"] for s in form.synapses[1:]), q[f"i{form.synapses[0]}"])
        # the membrane uses the synaptic current of the previous step
        self.note("dv", self.gain(q["c_mem"], q.get("g_leak"), q["dt"]) * self.total("membrane"))
        for s in form.synapses:
            self.note(f"i{s}", self.ask("current.synapse", s))
        self.note("v", q["v"] + q["dv"])
        self.seen("v")
        silent = q["left"] > 0.0 if form.refractory else None
        if form.fires:
            self.spikes(silent)
        else:
            q["z"] = 0.0
            self.adapt()
        return (q["z"] if form.fires else q["v"]), tuple(q[s] for s in form.states)

    def adapt(self) -> None:
        if self.form.adapts:
            self.note("w", self.total("adaptation"))
            self.seen("w")

    def reset(self) -> None:
        if "reset.value" in self.form.terms:
            z = self.q["z"]
            self.q["z"] = stop(z) if self.form.detach_reset else z
            v = self.ask("reset.value")
            self.q["z"] = z
            self.note("v", v)

    def count(self, silent: Any) -> None:
        left = where(silent, self.q["left"] - 1.0, 0.0)
        self.note("left", where(self.q["z"] > 0.0, self.ask("refractory.count"), maximum(left, 0.0)))

    def spikes(self, silent: Any) -> None:
        """Add the spike, the adaptation after it and the reset. Neurons in `silent` (refractory) do not spike."""
        z = self.ask("spike.fire")
        self.note("z", z if silent is None else where(silent, 0.0, z))
        self.seen("z")
        self.adapt()
        self.reset()
        if silent is not None:
            self.note("v", where(silent, self.ask("refractory.hold"), self.q["v"]))
            self.count(silent)
        self.seen("v")
