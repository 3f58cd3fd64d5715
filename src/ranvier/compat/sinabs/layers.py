"""Sinabs' layers, fused over the sequence: x [B, T, *features] -> the same shape."""

import copy
import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ranvier.compat.rows import Described, bound, lend
from ranvier.compat.sinabs.activation import MembraneReset, MembraneSubtract, MultiSpike, SingleExponential
from ranvier.compat.sinabs.rules import LeakRule, SpikingRule, SynapticRule

SPIKING: dict[str, Any] = {
    "spike_threshold": torch.tensor(1.0),
    "spike_fn": MultiSpike,
    "reset_fn": MembraneSubtract(),
    "surrogate_grad_fn": SingleExponential(),
}


class StatefulLayer(Described, nn.Module):
    """A layer that stores `v_mem` (and `i_syn`) [B, *features] between calls, until `reset_states()`.

    takes: the published arguments and defaults, in order. Attributes may be changed at any time.
    """

    does_spike: ClassVar[bool] = True
    tau_syn: Any
    tau_mem: Any
    spike_fn: Any
    reset_fn: Any
    surrogate_grad_fn: Any
    spike_threshold: Tensor
    min_v_mem: Any
    v_mem: Tensor
    i_syn: Tensor
    norm_input: bool = False
    train_alphas: bool = False
    _made: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()
        given = bound(type(self), args, kwargs)
        for name in ("spike_fn", "reset_fn", "surrogate_grad_fn", "norm_input", "train_alphas"):
            if name in given:
                setattr(self, name, given[name])
        self.record_states, self.recordings = given["record_states"], {}
        for name in ("mem", "syn"):
            self._time_constant(name, given.get(f"tau_{name}"))
        low = given["min_v_mem"]
        self.min_v_mem = None if low is None else nn.Parameter(torch.tensor(float(low)), requires_grad=False)
        if self.does_spike:
            threshold = torch.as_tensor(given["spike_threshold"], dtype=torch.get_default_dtype())
            if not bool((threshold > 0).all()):
                raise ValueError(f"{type(self).__name__}: spike_threshold must be above 0, got {threshold}")
            self.spike_threshold = nn.Parameter(threshold.clone(), requires_grad=False)
        shape = given["shape"]
        for name in self.state:
            self.register_buffer(name, torch.zeros(0 if shape is None else tuple(shape)))
        self.__dict__["_made"] = {}
        self._core(torch.zeros(()))  # a wrong type raises an error here

    def _time_constant(self, name: str, tau: Any) -> None:
        if tau is None:
            setattr(self, f"tau_{name}", None)
            return
        tau = torch.as_tensor(tau, dtype=torch.get_default_dtype())
        if not bool((tau > 0).all()):
            raise ValueError(f"{type(self).__name__}: tau_{name} must be above 0 steps, got {tau}")
        kind, value = ("alpha", torch.exp(-1.0 / tau)) if self.train_alphas else ("tau", tau.clone())
        setattr(self, f"{kind}_{name}", nn.Parameter(value))

    def _alpha(self, name: str) -> Any:
        trained = getattr(self, f"alpha_{name}", None)
        return trained if trained is not None else torch.exp(-1.0 / getattr(self, f"tau_{name}"))

    @property
    def _synaptic(self) -> bool:
        return getattr(self, "tau_syn", None) is not None or "alpha_syn" in self._parameters

    @property
    def state(self) -> tuple[str, ...]:
        return ("v_mem", "i_syn") if self._synaptic else ("v_mem",)

    def _core(self, x: Tensor) -> Any:
        """Return the neuron for the current settings; it is created again when they change."""
        key: Any = (x.device, self._synaptic)
        how: dict[str, Any] = {}
        rule: Any = LeakRule
        if self.does_spike:
            if not isinstance(self.surrogate_grad_fn, SingleExponential):
                raise ValueError(
                    f"{type(self).__name__}: surrogate_grad_fn must be activation.SingleExponential(...), got "
                    f"{self.surrogate_grad_fn!r}"
                )
            if not isinstance(self.reset_fn, (MembraneSubtract, MembraneReset)) or not hasattr(self.spike_fn, "most"):
                raise ValueError(
                    f"{type(self).__name__}: spike_fn must be MultiSpike, SingleSpike or MaxSpike, and reset_fn "
                    f"MembraneSubtract or MembraneReset, of activation; got {self.spike_fn!r} and {self.reset_fn!r}"
                )
            how["reset"] = "subtract" if isinstance(self.reset_fn, MembraneSubtract) else "zero"
            key, rule = (*key, self.surrogate_grad_fn, how["reset"]), SynapticRule if self._synaptic else SpikingRule
            how["surrogate"] = self.surrogate_grad_fn.core
        if self._made.get("key") != key:
            self._made.update(key=key, core=rule(**how).to(x.device))
        return self._made["core"]

    def _numbers(self, x: Tensor) -> dict[str, Tensor]:
        leaks = not isinstance(self, IAF)
        alpha = self._alpha("mem") if leaks else torch.ones(())
        found = {"alpha": alpha, "gain": 1.0 - alpha if self.norm_input else torch.ones(())}
        found["low"] = torch.tensor(-3.0e38) if self.min_v_mem is None else torch.as_tensor(self.min_v_mem)
        if self.does_spike:
            take, most = self.reset_fn, self.spike_fn.most
            amount = take.subtract_value if isinstance(take, MembraneSubtract) else take.reset_value
            found["threshold"] = threshold = torch.as_tensor(self.spike_threshold)
            found["amount"] = threshold if amount is None else torch.tensor(float(amount))
            found["most"] = torch.tensor(3.0e38 if math.isinf(most) else float(most))
        if self._synaptic:
            found["alpha_syn"] = self._alpha("syn")
        dtype = torch.promote_types(x.dtype, torch.float32)
        return {n: v.to(x.device, dtype).reshape(v.shape or (1,)) for n, v in found.items()}

    def forward(self, data: Tensor) -> Tensor:
        if data.dim() < 3:
            raise ValueError(f"{type(self).__name__}: wanted [B, T, *features], got {tuple(data.shape)}")
        x, shape = data.transpose(0, 1), (data.shape[0], *data.shape[2:])
        state = {}
        for name, short in zip(self.state, ("v", "i"), strict=False):
            value = getattr(self, name)
            if value.numel() and value.shape not in (shape, shape[1:]):
                raise ValueError(
                    f"{type(self).__name__}: {name} is {tuple(value.shape)}, but the input {tuple(data.shape)}; call "
                    f"reset_states() before a batch of another size"
                )
            state[short] = value.expand(shape) if value.numel() else x.new_zeros(shape)
        with lend(self._core(x), self._numbers(x)) as core:
            y, after, traces = core.run(x, state, tuple(state) if self.record_states else ())
        for name, short in zip(self.state, ("v", "i"), strict=False):
            setattr(self, name, after[short])
            if self.record_states:
                self.recordings[name] = traces[short].transpose(0, 1)
        return y.transpose(0, 1)

    def reset_states(self) -> None:
        """Set membranes and currents to 0, for a batch of any size."""
        for name in self.state:
            setattr(self, name, torch.zeros(0, device=getattr(self, name).device))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Like torch; in addition the states are detached from the graph."""
        super().zero_grad(set_to_none)
        for name in self.state:
            setattr(self, name, getattr(self, name).detach())

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Return a copy whose states are detached from the graph."""
        for held in (*(getattr(self, name) for name in self.state), *self.recordings.values()):
            memo[id(held)] = held.detach().clone()
        new = memo[id(self)] = self.__class__.__new__(self.__class__)
        new.__dict__ = copy.deepcopy(self.__dict__, memo)
        return new

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        for name in self.state:  # resized to the batch size of the saved state
            if (saved := state_dict.get(prefix + name)) is not None:
                setattr(self, name, torch.zeros_like(saved))
        super()._load_from_state_dict(state_dict, prefix, *args)


class IAF(StatefulLayer):
    """Integrate and fire: v = v + x, then the spikes, then the reset, then v = max(v, min_v_mem).

    With tau_syn (in steps) the input is a current: i = exp(-1 / tau_syn) (i + x), v = v + i.

    >>> import torch
    >>> IAF()(torch.tensor([0.5, 2.7, 0.1, -3.0, 0.9]).reshape(1, 5, 1)).flatten()
    tensor([0., 3., 0., 0., 0.])
    """

    takes = {**SPIKING, "tau_syn": None, "min_v_mem": None, "shape": None, "record_states": False}


class LIF(StatefulLayer):
    """Leaky integrate and fire: `IAF` with v = a v + (1 - a) x, or v = a v + x with norm_input=False.

    a = exp(-1 / tau_mem); time constants are in steps.
    """

    takes = {
        "tau_mem": ..., "tau_syn": None, **SPIKING, "min_v_mem": None, "train_alphas": False, "shape": None,
        "norm_input": True, "record_states": False,
    }  # fmt: skip


class ExpLeak(StatefulLayer):
    """Leaky integrator with output v = a v + x, or v = a v + (1 - a) x with norm_input=True.

    a = exp(-1 / tau_mem); tau_mem is in steps.

    >>> import torch
    >>> ExpLeak(tau_mem=5.0)(torch.tensor([0.5, 2.7]).reshape(1, 2, 1)).flatten().detach()
    tensor([0.5000, 3.1094])
    """

    does_spike = False
    takes = {
        "tau_mem": ..., "shape": None, "train_alphas": False, "min_v_mem": None, "norm_input": False,
        "record_states": False,
    }  # fmt: skip


class _Squeezed(StatefulLayer):
    """A layer for input whose first axis contains batch and time, [B T, *features]. Arguments: batch_size or
    num_timesteps, and the arguments of the layer.
    """

    def __init__(self, batch_size: int | None = None, num_timesteps: int | None = None, **kwargs: Any):
        if batch_size in (None, -1) and num_timesteps in (None, -1):
            raise ValueError(f"{type(self).__name__}: pass batch_size or num_timesteps")
        super().__init__(**kwargs)
        self.batch_size, self.num_timesteps = (-1 if n is None else n for n in (batch_size, num_timesteps))

    def forward(self, data: Tensor) -> Tensor:
        return super().forward(data.unflatten(0, (self.batch_size, self.num_timesteps))).flatten(0, 1)


class IAFSqueeze(_Squeezed, IAF):
    """`IAF` on [B T, *features].

    >>> import torch
    >>> IAFSqueeze(batch_size=2)(torch.ones(10, 3)).shape
    torch.Size([10, 3])
    """


class LIFSqueeze(_Squeezed, LIF):
    """`LIF` on [B T, *features]."""


class ExpLeakSqueeze(_Squeezed, ExpLeak):
    """`ExpLeak` on [B T, *features]."""
