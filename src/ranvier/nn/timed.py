"""Layers and functions for neurons with timed spikes: weights, encoding, spike times, delays, recurrence."""

import math
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from ranvier.backends import choose
from ranvier.nn.linear import Linear
from ranvier.nn.neuron import Learn, Option, Param, State
from ranvier.nn.neurons.timed import TimedLI, TimedLIF, _Timed, kappa
from ranvier.nn.sequential import Fold, fold
from ranvier.nn.temporal import Temporal
from ranvier.ops import exp, log, maximum, where

Pair = tuple[Tensor, Tensor]
"""Timed spikes (a, b), or weighted timed spikes (xi, xv), each [T, B, *features]."""


class TimedMap(Fold):
    """A linear module for timed spikes: it maps both numbers of a timed spike with the same weights, (a, b) -> (xi,
    xv).

    >>> import torch, ranvier
    >>> a, b = torch.rand(5, 2, 3), torch.rand(5, 2, 3)
    >>> xi, xv = ranvier.TimedMap(torch.nn.Linear(3, 4, bias=False))((a, b))
    >>> xi.shape
    torch.Size([5, 2, 4])
    """

    def __init__(self, module: nn.Module):
        if getattr(module, "bias", None) is not None:
            raise ValueError("TimedMap: the module has a bias, which would count as spikes; build it with bias=False")
        super().__init__(module)

    def forward(self, x: Any) -> Any:
        xi, xv = _pair("TimedMap", x)
        if type(self.module) in (nn.Linear, Linear):
            return fold(self.module, xi), fold(self.module, xv)
        both = fold(self.module, torch.cat([xi, xv], 1))  # the same random numbers for both
        return tuple(both.split(xi.shape[1], 1))


def _pair(who: str, x: Any) -> Pair:
    if not isinstance(x, (tuple, list)) or len(x) != 2:
        got = f"one tensor {list(x.shape)}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
        raise TypeError(f"{who}: input must be a pair of tensors [T, B, *features], as encode_times returns; got {got}")
    return x[0], x[1]


def _rest(steps: int, times: Tensor, dt: float) -> tuple[Tensor, Tensor]:
    """Return the step of each time, and the seconds from the time to the end of its step."""
    step = (times.detach() / dt).floor()
    if not bool(torch.isfinite(times).all()) or bool((step < 0).any()):
        raise ValueError("encode_times: times must be finite and not negative; use a time beyond the end for no spike")
    return step.long(), (step + 1) * dt - times


def encode_times(times: Tensor, steps: int, to: TimedLIF | TimedLI) -> Pair:
    """Encode spike times exactly as timed spikes for the layer `to`, which receives them.

    times [B, *features] in seconds, one spike each; there is no spike for times at or beyond steps * to.dt. Returns (a,
    b), each [steps, B, *features] in the dtype of `times`; they are differentiable with respect to the times and the
    time constants of `to`.

    >>> import torch, ranvier
    >>> a, b = ranvier.encode_times(torch.tensor([[0.0, 1.5e-3]]), 3, ranvier.TimedLI(dt=1e-3, tau_syn=1e-3))
    >>> a[:, 0]
    tensor([[0.3679, 0.0000],
            [0.0000, 0.6065],
            [0.0000, 0.0000]])
    """
    if not isinstance(to, (TimedLIF, TimedLI)):
        raise TypeError(f"encode_times: `to` must be the layer that receives the spikes, got {to!r}")
    if not times.is_floating_point() or times.dim() < 2:
        raise ValueError(f"encode_times: times must be floating point [B, *features], got {times.dtype} {times.shape}")
    # in float64, so that rounding does not change the step of a time such as 31 * 1e-3
    step, r = _rest(steps, times.double(), to.settings["dt"])
    here = (torch.arange(steps, device=times.device).reshape(-1, *[1] * times.dim()) == step).to(times.dtype)
    constants: Any = to  # its parameters are declared in the class, but are tensors in the instance
    tau_syn, tau_mem = constants.tau_syn, constants.tau_mem
    a, b = torch.exp(-r / tau_syn), kappa(r, tau_syn, tau_mem)
    return here * a.to(times.dtype), here * b.to(times.dtype)


def first_spike(a: Tensor, neuron: TimedLIF, late: float | None = None) -> Tensor:
    """Return the time of each neuron's first spike in seconds, which is differentiable. For neurons without a spike it
    is `late` (by default the end of the sequence).

    a [T, B, *features] is the first output of `neuron`; returns [B, *features]. t = (n + 1) dt + tau_syn log a[n],
    where n is the first step with a spike.
    """
    if not isinstance(neuron, TimedLIF):
        raise TypeError(f"first_spike: wanted the TimedLIF that fired, got {neuron!r}")
    dt = neuron.settings["dt"]
    tau: Any = neuron.tau_syn if neuron.settings["target"] is None else neuron.tau_syn_to
    n = (a > 0).to(torch.uint8).argmax(0, keepdim=True)
    first = a.gather(0, n)[0]
    fired = first > 0
    time = (n[0] + 1) * dt + tau * torch.log(torch.where(fired, first, torch.ones_like(first)))
    return torch.where(fired, time, torch.full_like(time, len(a) * dt if late is None else late))


def _longest(name: str, longest: Any) -> float | None:
    if longest is not None and not (isinstance(longest, (int, float)) and 0 < longest < float("inf")):
        raise ValueError(f"{name} must be a positive number of seconds, got {longest!r}")
    return longest


class TimedDelay(_Timed):
    """Delay timed spikes by `delay` seconds, learnable and exact.

    First the spike is delayed by the whole steps of the delay. The rest of the delay is subtracted from r, the seconds
    from the spike to the end of its step. If r becomes negative, the spike moves to the next step.

    Inputs and outputs (a, b), each [T, B, *features], for targets with tau_mem and tau_syn. delay: between 0 and
    `longest` seconds, also while it is learned. longest: by default the largest given delay, but at least one step. The
    state contains the spikes that have not arrived yet. A delay above `longest` raises a ValueError.

    >>> import torch, ranvier
    >>> li = ranvier.TimedLI(dt=1e-3)
    >>> a, b = ranvier.encode_times(torch.tensor([[0.5e-3]]), 6, li)
    >>> late = ranvier.TimedDelay(delay=3.7e-3, longest=5e-3)((a, b))
    >>> ranvier.first_spike(late[0], ranvier.TimedLIF())
    tensor([[0.0042]])
    """

    delay: Param = Param(0.5e-3, "seconds, from 0 to `longest`", low=0.0)
    tau_mem: Param = Param(20e-3, "time constant of the target's membrane in seconds", low=1e-12)
    tau_syn: Param = Param(5e-3, "time constant of the target's current in seconds", low=1e-12)
    later = State(-1.0, "seconds that the spike under way will have left in the next step; below 0: none")
    longest: Option[float | None] = Option(None, "the longest delay in seconds", check=_longest)
    learn: Learn[Literal["delay", "tau_mem", "tau_syn"]] = Learn()

    @staticmethod
    def rule(a, b, later, delay, tau_mem, tau_syn, dt):
        fired = a > 0.0
        r = -tau_syn * log(where(fired, a, 1.0)) - delay
        now, next = fired & (r >= 0.0), fired & (r < 0.0)
        late = later >= 0.0
        here, there = where(now, r, 0.0), where(late, later, 0.0)
        y = where(now, exp(-here / tau_syn), 0.0) + where(late, exp(-there / tau_syn), 0.0)
        x = where(now, kappa(here, tau_syn, tau_mem), 0.0) + where(late, kappa(there, tau_syn, tau_mem), 0.0)
        return (y, x), where(next, maximum(r + dt, 0.0), -1.0)

    if not TYPE_CHECKING:  # type checkers make it from the declarations above

        def __init__(self, *, delay: Any = 0.5e-3, longest: float | None = None, **given: Any):
            super().__init__(delay=delay, longest=longest, **given)
            if self.delay.is_meta:
                return
            reach = max(self.settings["dt"], self.delay.max().item()) if longest is None else longest
            if bool((self.delay > reach).any()):
                raise ValueError(f"TimedDelay: delay must lie between 0 and longest={reach:g} seconds, got {delay!r}")
            self.settings["longest"] = reach

    @property
    def steps(self) -> int:
        """The number of whole steps in the longest delay; the layer applies them before the rule runs."""
        dt, longest = self.settings["dt"], self.settings["longest"]
        return max(math.ceil((dt if longest is None else longest) / dt * (1.0 - 1e-6)), 1) - 1

    def bounds(self, name: str) -> tuple[Any, Any]:
        low, high = super().bounds(name)
        return low, ((self.steps + 1) * self.settings["dt"] if name == "delay" else high)

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        dt, steps, (a, _) = self.settings["dt"], self.steps, self._inputs(x)
        begin = self.initial(a.sum(0)) if state is None else {k: state[k] for k in self.states}
        held, *others = self.values(a)
        whole = (held.detach() / dt).floor().clamp(max=steps)
        past = {}
        if steps:  # the layer applies the whole steps, the rule applies the rest
            old = a.new_zeros(steps, *a.shape[1:]) if state is None else state["past"].to(a.dtype).movedim(1, 0)
            seen = torch.cat([old, a])
            now = torch.arange(len(a), device=a.device).reshape(-1, *[1] * (a.dim() - 1))
            a = seen.gather(0, (now + steps - whole.long()).expand(a.shape))
            past = {"past": seen[len(a) :].movedim(0, 1)}
        params = [held - whole * dt, *others]
        values, after = choose.carry(self.bound(names), (a, a), list(self._state(a, begin).values()), params)
        traces = dict(zip(names, values[2:], strict=True))
        return tuple(values[:2]), {**dict(zip(self.states, after, strict=True)), **past}, traces


class TimedRecurrent(Temporal):
    """Recurrent timed neurons: each spike returns exactly dt seconds after it was fired, that is, one step later.

    (xi, xv)[t] = input[t] + feedback((a, b)[t - 1]), where `feedback` maps a and b with the same weights. Input (xi,
    xv), output (a, b), each [T, B, neurons]. `feedback`: the number of neurons (then it is a linear map without bias),
    or a module.

    >>> import torch, ranvier
    >>> layer = ranvier.TimedRecurrent(ranvier.TimedLIF(), 4)
    >>> a, b = layer((torch.rand(9, 2, 4), torch.rand(9, 2, 4)))
    >>> a.shape
    torch.Size([9, 2, 4])
    """

    def __init__(self, neuron: TimedLIF, feedback: int | nn.Module):
        super().__init__()
        if not isinstance(neuron, TimedLIF):
            raise TypeError(f"TimedRecurrent: the first argument must be a TimedLIF, got {neuron!r}")
        self.neuron, self.records = neuron, neuron.records
        self.feedback = nn.Linear(feedback, feedback, bias=False) if isinstance(feedback, int) else feedback

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        xi, xv = self.neuron._inputs(_pair("TimedRecurrent", x))
        back = (torch.zeros_like(xi[:1].sum(0)),) * 2 if state is None else (state["a"].to(xi), state["b"].to(xi))
        inner = None if state is None else {k: state[k] for k in self.neuron.states}
        steps, traces = [], []
        for now in zip(xi.unbind(0), xv.unbind(0), strict=True):
            driven = tuple((x_t + self.feedback(z)).unsqueeze(0) for x_t, z in zip(now, back, strict=True))
            y, inner, traced = self.neuron.run(driven, inner, names)
            back = y[0][0], y[1][0]
            steps.append(y)
            traces.append(traced)
        if not steps:
            return (
                (xi, xv),
                {"a": back[0], "b": back[1], **(inner or self.neuron.initial(back[0]))},
                dict.fromkeys(names, xi),
            )
        y = tuple(torch.cat([step[k] for step in steps]) for k in (0, 1))
        return y, {"a": back[0], "b": back[1], **inner}, {n: torch.cat([t[n] for t in traces]) for n in names}  # type: ignore
