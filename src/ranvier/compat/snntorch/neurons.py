"""snnTorch's neurons: a call runs one step, with a given or stored state; `scan` runs a whole sequence,
fused.
"""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ranvier.compat.rows import Described, bound, lend
from ranvier.compat.snntorch.rules import AlphaRule, LapicqueRule, LeakyRule, SynapticRule
from ranvier.compat.snntorch.surrogate import NONE, core_of

RESETS = ("subtract", "zero", "none")
COMMON: dict[str, Any] = {"threshold": 1.0, "spike_grad": None, "surrogate_disable": False, "init_hidden": False}
COMMON |= {"inhibition": False}
STATES: dict[str, Any] = {"state_quant": False, "output": False}


class SpikingNeuron(Described, nn.Module):
    """A neuron that is described by class attributes.

    rule: the neuron class that kernels run. takes: the published arguments and defaults, in order. numbers: {parameter
    of the rule: buffer or parameter of this module}. state: the published names of the states, in the order in which
    they are returned.
    """

    rule: ClassVar[Any]
    numbers: ClassVar[dict[str, str]] = {"threshold": "threshold", "graded": "graded_spikes_factor", "beta": "beta"}
    state: ClassVar[tuple[str, ...]] = ("mem",)
    resets: ClassVar[tuple[str, ...]] = RESETS
    erase: ClassVar[dict[str, bool]] = {}
    _made: Any
    threshold: Any
    graded_spikes_factor: Any
    mem: Any

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()
        given = bound(type(self), args, kwargs)
        if given["state_quant"]:
            raise ValueError(
                f"{type(self).__name__}: state_quant is not supported; quantise weights with ranvier.hardware"
            )
        core_of(given["spike_grad"])
        for name in ("spike_grad", "surrogate_disable", "init_hidden", "inhibition", "state_quant", "output"):
            setattr(self, name, given[name])
        self.reset_delay = given.get("reset_delay", True)
        self._number("threshold", given["threshold"], given["learn_threshold"])
        factor, learned = given.get("graded_spikes_factor", 1.0), given.get("learn_graded_spikes_factor", False)
        self._number("graded_spikes_factor", factor, learned)
        self.register_buffer("reset_mechanism_val", torch.tensor(0))
        self.reset_mechanism = given["reset_mechanism"]
        self._numbers(given)
        for name in self.state:
            self.register_buffer(name, torch.zeros(0), persistent=False)
        self.__dict__["_made"] = {}
        self._core(torch.zeros(()))  # raises errors for values out of range

    def _number(self, name: str, value: Any, learn: bool) -> None:
        value = value.detach().clone() if isinstance(value, Tensor) else torch.as_tensor(value)
        if learn:
            self.register_parameter(name, nn.Parameter(value.to(torch.get_default_dtype())))
        else:
            self.register_buffer(name, value)

    def _numbers(self, given: dict[str, Any]) -> None:
        """Register the numbers of the neuron other than the threshold."""
        self._number("beta", given["beta"], given["learn_beta"])

    @property
    def reset_mechanism(self) -> str:
        return self._reset

    @reset_mechanism.setter
    def reset_mechanism(self, value: str) -> None:
        if value not in self.resets:
            raise ValueError(f"{type(self).__name__}: reset_mechanism must be one of {self.resets}, got {value!r}")
        self._reset = value
        self.reset_mechanism_val: Tensor = torch.tensor(RESETS.index(value))

    def _options(self) -> dict[str, Any]:
        return {"reset": self.reset_mechanism, "delay": bool(self.reset_delay), **self.erase}

    def _core(self, x: Tensor) -> Any:
        slope = NONE if self.surrogate_disable else core_of(self.spike_grad)
        options = self._options()
        key = (slope.name, slope.numbers, *options.items(), x.device)
        if self._made.get("key") != key:
            self._made.update(key=key, core=type(self).rule(surrogate=slope, **options).to(x.device))
        return self._made["core"]

    def _lent(self, core: Any, x: Tensor) -> Any:
        dtype = torch.promote_types(x.dtype, torch.float32)
        return lend(core, {k: getattr(self, own).to(dtype) for k, own in self.numbers.items()})

    def _run(self, x: Tensor, names: tuple[str, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """Run x [T, *step] from the current states. Return the spikes, and the named states at every step."""
        shape = x.shape[1:]
        # the core needs [T, B, *features]; an operation that changes nothing still costs a step of autograd
        wide = x if len(shape) > 1 else x.reshape(len(x), *(1,) * (2 - len(shape)), *shape)
        before = {k: _at_rest(type(self).__name__, k, getattr(self, k), wide, shape) for k in self.state}
        core = self._core(x)
        with self._lent(core, x):
            z, after, traces = core.run(wide, before, names)
        if wide is not x:
            z, traces = z.reshape(x.shape), {k: v.reshape(x.shape) for k, v in traces.items()}
            after = {k: v.reshape(shape) for k, v in after.items()}
        for k in self.state:
            setattr(self, k, after[k])
        if self.inhibition:
            z = z * _winners(traces["mem"] if "mem" in traces else self.mem.unsqueeze(0))
        return z, traces

    def _take(self, given: dict[str, Any]) -> None:
        for name, value in given.items():
            if value is not None:
                if self.init_hidden:
                    raise TypeError(f"`{name}` should not be passed as an argument while `init_hidden=True`")
                setattr(self, name, value)

    def forward(self, input_: Tensor, *states: Tensor | None, **named: Tensor | None) -> Any:
        """Run one step: input_ [B, *features] -> (spk, *states); with init_hidden=True only spk, unless output=True."""
        self._take({**dict(zip(self.state, states, strict=False)), **named})
        z, _ = self._run(input_.unsqueeze(0), ())
        return z[0] if self.init_hidden and not self.output else (z[0], *(getattr(self, k) for k in self.state))

    def scan(self, input_: Tensor, *states: Tensor | None) -> tuple[Tensor, ...]:
        """Run a sequence, fused: input_ [T, B, *features] -> (spk, *states), each [T, B, *features]."""
        self._take(dict(zip(self.state, states, strict=False)))
        z, traces = self._run(input_, self.state)
        return (z, *(traces[k] for k in self.state))

    def reset_mem(self) -> Any:
        """Set the states to zero, and return them."""
        for name in self.state:
            setattr(self, name, torch.zeros_like(getattr(self, name)))
        rest = tuple(getattr(self, name) for name in self.state)
        return rest if len(rest) > 1 else next(iter(rest))

    def detach_hidden(self) -> None:
        """Detach the states from the autograd graph."""
        for name in self.state:
            setattr(self, name, getattr(self, name).detach())

    def reset_hidden(self) -> None:
        self.reset_mem()

    def fire(self, mem: Tensor) -> Tensor:
        """Return the spikes for this membrane."""
        from ranvier.compat.snntorch.surrogate import SpikeGrad

        return SpikeGrad(core_of(self.spike_grad))(mem - self.threshold) * self.graded_spikes_factor

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._made.clear()
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_made": {}}


def _at_rest(layer: str, name: str, value: Any, x: Tensor, shape: torch.Size) -> Tensor:
    """Return a state in the form that the core needs: zeros if there is none yet."""
    if not isinstance(value, Tensor) or value.numel() == 0:
        return torch.zeros(x.shape[1:], dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)
    if value.shape == x.shape[1:] and value.dtype == torch.promote_types(x.dtype, torch.float32):
        return value
    try:
        return value.to(torch.promote_types(x.dtype, torch.float32)).expand(shape).reshape(x.shape[1:])
    except RuntimeError:
        raise ValueError(
            f"{layer}: {name} is {tuple(value.shape)}, but this input is {tuple(shape)}; call utils.reset(net), or "
            f"{layer.lower()}.reset_mem(), before a batch of another size"
        ) from None


def _winners(mem: Tensor) -> Tensor:
    """1 for the highest membrane of each sample [T, B, N], else 0."""
    return torch.zeros_like(mem).scatter(-1, mem.argmax(-1, keepdim=True), 1.0)


LEARNED = {"learn_beta": False, "learn_threshold": False}
GRADED = {"graded_spikes_factor": 1.0, "learn_graded_spikes_factor": False}


class Leaky(SpikingNeuron):
    """Leaky integrate-and-fire, snnTorch's first-order neuron.

    >>> import torch
    >>> lif = Leaky(beta=0.9)
    >>> mem = lif.init_leaky()
    >>> spk, mem = lif(torch.tensor([[0.6, 1.2]]), mem)
    >>> spk.tolist(), [[round(v, 4) for v in row] for row in mem.tolist()]
    ([[0.0, 1.0]], [[0.6, 1.2]])
    """

    rule = LeakyRule
    takes = {"beta": ..., **COMMON, **LEARNED, "reset_mechanism": "subtract", **STATES, **GRADED, "reset_delay": True}
    init_leaky = SpikingNeuron.reset_mem


class Synaptic(SpikingNeuron):
    """snnTorch's second-order neuron: the input drives a current, and the current drives the membrane."""

    rule, state = SynapticRule, ("syn", "mem")
    takes = {
        "alpha": ..., "beta": ..., **COMMON, "learn_alpha": False, **LEARNED, "reset_mechanism": "subtract", **STATES,
        "reset_delay": True,
    }  # fmt: skip
    numbers = {**SpikingNeuron.numbers, "alpha": "alpha"}
    init_synaptic = SpikingNeuron.reset_mem

    def _numbers(self, given: dict[str, Any]) -> None:
        super()._numbers(given)
        self._number("alpha", given["alpha"], given["learn_alpha"])


class Alpha(Synaptic):
    """Two currents of opposite sign. reset_mechanism "subtract" raises an error: in snnTorch it mixes up the states."""

    rule, state, resets = AlphaRule, ("syn_exc", "syn_inh", "mem"), ("zero", "none")
    takes = {
        "alpha": ..., "beta": ..., **COMMON, "learn_alpha": False, **LEARNED, "reset_mechanism": "zero", **STATES,
    }  # fmt: skip
    init_alpha = SpikingNeuron.reset_mem

    def _numbers(self, given: dict[str, Any]) -> None:
        super()._numbers(given)
        if not bool((self.alpha > self.beta).all()):  # type: ignore[operator]
            raise ValueError(f"Alpha: alpha must be above beta, got {given['alpha']!r} and {given['beta']!r}")

    @property
    def tau(self) -> Tensor:
        """The gain of the membrane: log alpha / (log beta - log alpha) + 1."""
        alpha, beta = torch.as_tensor(self.alpha).log(), torch.as_tensor(self.beta).log()
        return alpha / (beta - alpha) + 1.0

    numbers = {**Synaptic.numbers, "tau": "tau"}

    def _options(self) -> dict[str, Any]:
        return {"erase": self.reset_mechanism == "zero"}


class Lapicque(SpikingNeuron):
    """An RC circuit with beta = exp(-time_step / (R C)). Pass beta, or R and C, or beta and one of R and C."""

    rule = LapicqueRule
    takes = {
        "beta": False, "R": False, "C": False, "time_step": 1, **COMMON, **LEARNED, "reset_mechanism": "subtract",
        **STATES,
    }  # fmt: skip
    numbers = {"R": "R", "C": "C", "dt": "time_step", "threshold": "threshold", "graded": "graded_spikes_factor"}
    init_lapicque = SpikingNeuron.reset_mem

    def _numbers(self, given: dict[str, Any]) -> None:
        beta, R, C, dt = (given[k] for k in ("beta", "R", "C", "time_step"))
        if beta is False and (R is False or C is False):
            raise ValueError(f"Lapicque: pass beta, or R and C, got beta={beta!r}, R={R!r}, C={C!r}")
        if beta is not False:
            lasts = dt / math.log(1.0 / float(beta))  # the product R C
            R = (1.0 if C is False else lasts / C) if R is False else R
            C = lasts / R if C is False else C
        else:
            beta = math.exp(-dt / (R * C))
        self._number("beta", float(beta), given["learn_beta"])
        for name, value in (("time_step", dt), ("R", R), ("C", C)):
            self._number(name, value, False)
