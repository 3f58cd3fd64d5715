"""Spiking forms of ordinary activations: the mean of the spikes over time approaches the output of the activation."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ranvier.backends import choose, op
from ranvier.backends.autograd import whole
from ranvier.backends.buffers import empty_like
from ranvier.derive.rule import Rule
from ranvier.nn.temporal import Temporal, check_sequence, promoted
from ranvier.ops import floor, inject, where
from ranvier.surrogate import atan


def _rule(rectify: bool, traced: bool) -> Rule:
    """Return the rule of one step. Its input is a rate; with `rectify`, it is the input of a relu, which is then part
    of the rule. traced: also return the voltages.
    """

    def step(x: Any, v: Any, dt: Any) -> tuple[tuple, tuple]:
        rate = where(x <= 0.0, 0.0, x) if rectify else x  # unlike maximum(x, 0), this returns NaN for NaN, as torch
        v = v + rate * dt
        n = floor(v)
        v = v - n
        return ((n / dt, v) if traced else (n / dt,)), (v,)

    rule = Rule("SpikingActivation", step, atan(), ("x",), ("v",), ("dt",))
    op.register(rule)
    return rule


_RULES = {(rectify, traced): _rule(rectify, traced) for rectify in (False, True) for traced in (False, True)}


class _Rectified(torch.autograd.Function):
    """The spikes of relu(x), with the derivative of relu."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, spikes: Tensor) -> Tensor:
        return whole(spikes, spikes.shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.save_for_forward(inputs[0])

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        (x,) = ctx.saved_tensors
        return tangents[0] * (x > 0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        relu = torch.ops.aten.threshold_backward
        if torch.is_grad_enabled():  # a second derivative is wanted
            return relu(grads[0], x, 0.0), None
        return relu.grad_input(grads[0], x, 0.0, grad_input=empty_like(x)), None


def _is_relu(activation: Any) -> bool:
    """Whether the rule can compute the activation: it is relu, and no hook needs its output."""
    if type(activation) is nn.ReLU:
        return not (activation._forward_hooks or activation._forward_pre_hooks)
    return any(activation is f for f in (torch.relu, F.relu))


class SpikingActivation(Temporal):
    """An activation whose output is interpreted as a firing rate in Hz and returned as spikes.

    v = v + f(x) dt;  n = floor(v);  v = v - n;  returns n / dt.

    A spike has the height 1 / dt. A neuron has several spikes in a step if its rate is above 1 / dt, and negative
    spikes for negative rates. For every neuron and input, the number of spikes differs by less than one from the sum of
    the rates times dt. So the longer the sequence, the better the mean of the spikes agrees with the mean of the rates.

    The derivative is that of f, as if the output were the rates (spiking-aware training): x and the parameters of f get
    gradients, also higher ones. No gradient goes through v.

    activation: any callable or module that returns a tensor in the shape of its input. dt: seconds of a step, above 0;
    it may be changed at any time. start: the voltage v before the first step, a number or a tensor broadcastable to [B,
    *features] with values in [0, 1); None draws it uniformly for every sequence, so the expected output of every step
    is the rate. aware=False trains on rates: in training mode the output is f(x), in evaluation mode it is spikes.
    generator: the torch generator that draws `start`, for repeatable results.

    x [T, B, *features] -> [T, B, *features], in the dtype of x. Hunsberger & Eliasmith, Training spiking deep
    networks for neuromorphic hardware, 2016; voltages and spikes as published for pytorch-spiking.

    >>> import torch, ranvier
    >>> layer = ranvier.SpikingActivation(torch.relu, dt=0.5, start=0.0)
    >>> layer(torch.tensor([1.0, 1.0, 5.0, -3.0]).reshape(4, 1, 1)).flatten()
    tensor([0., 2., 4., 0.])
    """

    records = ("v", "z")
    start: Tensor | None

    def __init__(
        self,
        activation: Callable[[Tensor], Tensor],
        dt: float = 1e-3,
        *,
        start: Tensor | float | None = None,
        aware: bool = True,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if not callable(activation):
            raise TypeError(f"SpikingActivation: activation must be callable, such as torch.relu, got {activation!r}")
        self.activation, self.dt, self.aware, self.generator = activation, dt, aware, generator
        self.register_buffer("start", None if start is None else voltage(start))

    @property
    def dt(self) -> float:
        """Length of a step in seconds."""
        return self._dt

    @dt.setter
    def dt(self, dt: float) -> None:
        if isinstance(dt, bool) or not isinstance(dt, (int, float)) or not (math.isfinite(dt) and dt > 0):
            raise ValueError(f"SpikingActivation: dt must be a positive number of seconds, got {dt!r}")
        self._dt = float(dt)

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        check_sequence(self, x)
        v = self._begin(x) if state is None else self._state(x, state)
        if self.training and not self.aware:
            rates = self._rates(x)
            return rates, {"v": v}, {n: rates if n == "z" else v.expand(x.shape) for n in names}
        rectify = _is_relu(self.activation)
        rates = x if rectify else self._rates(x)
        dt = torch.tensor(self.dt, dtype=torch.float64, device=x.device)
        with torch.no_grad():
            (spikes, *traced), (v,) = choose.carry(_RULES[rectify, "v" in names], [rates], [v], [dt])
        y = _Rectified.apply(x, spikes) if rectify else inject(rates, spikes)
        return y, {"v": v}, {n: y if n == "z" else traced[0] for n in names}

    def explain(self, x: Any) -> str:
        if self.training and not self.aware:
            return "torch: rates, no spikes, since aware=False and the module is in training"
        chosen = choose.choose(x)
        return f"{chosen.backend.name}: {chosen.reason}"

    def _rates(self, x: Tensor) -> Tensor:
        rates = self.activation(x)
        if not isinstance(rates, Tensor) or rates.shape != x.shape:
            got = tuple(rates.shape) if isinstance(rates, Tensor) else type(rates).__name__
            raise ValueError(
                f"SpikingActivation: the activation returned {got} for an input {tuple(x.shape)}; it must keep the "
                f"shape: put layers that change it before this one"
            )
        return rates

    def _begin(self, x: Tensor) -> Tensor:
        """Return the voltage before the first step, [B, *features]."""
        shape, dtype = x.shape[1:], promoted(x.dtype)
        if self.start is None:
            return torch.rand(shape, dtype=dtype, device=x.device, generator=self.generator)
        try:
            return self.start.to(x.device, dtype).expand(shape)
        except RuntimeError:
            raise ValueError(
                f"SpikingActivation: start is {tuple(self.start.shape)}, which does not broadcast to the neurons "
                f"{tuple(shape)} (x is {tuple(x.shape)} = [T, B, *features])"
            ) from None

    def _state(self, x: Tensor, state: Any) -> Tensor:
        if not isinstance(state, dict) or set(state) != {"v"} or state["v"].shape != x.shape[1:]:
            raise ValueError(
                f"SpikingActivation: state must be {{'v': tensor of shape {tuple(x.shape[1:])}}}; "
                f"pass state=None to begin a new batch"
            )
        return state["v"].to(promoted(x.dtype))

    def extra_repr(self) -> str:
        shown = "" if isinstance(self.activation, nn.Module) else f"{getattr(self.activation, '__name__', '?')}, "
        return f"{shown}dt={self.dt:g}, aware={self.aware}"


def voltage(given: Tensor | float) -> Tensor:
    """Check the voltages before the first step, and return them as a new tensor."""
    start = torch.as_tensor(given)
    if not start.is_floating_point():
        start = start.to(torch.get_default_dtype())
    if not (start.is_meta or bool(((start >= 0) & (start < 1)).all())):
        raise ValueError(f"SpikingActivation: start must lie in [0, 1), got {given!r}")
    return start.detach().clone()


class MeanOverTime(nn.Module):
    """The mean over time: x [T, B, *features] -> [B, *features]. After a `SpikingActivation`, these are rates in Hz.

    >>> import torch, ranvier
    >>> ranvier.convert.MeanOverTime()(torch.tensor([0.0, 2.0, 4.0, 0.0]).reshape(4, 1, 1))
    tensor([[1.5000]])
    """

    def forward(self, x: Tensor) -> Tensor:
        check_sequence(self, x)
        return x.mean(0)


def rate_penalty(z: Tensor, target: float) -> Tensor:
    """A penalty on firing rates that differ from a target: (rate - target)^2, summed over neurons, and averaged over
    the batch.

    z [T, B, *features]: output of a `SpikingActivation`. target: in Hz. Multiply the penalty by a small weight, and add
    it to the loss.

    >>> import torch, ranvier
    >>> ranvier.convert.rate_penalty(torch.tensor([0.0, 20.0]).reshape(2, 1, 1), target=12.0)
    tensor(4.)
    """
    if z.dim() < 3:
        raise ValueError(f"rate_penalty: z must be [T, B, *features], got shape {tuple(z.shape)}")
    return (z.mean(0) - target).square().flatten(1).sum(1).mean()


@contextmanager
def steps_of(net: nn.Module, dt: float) -> Iterator[nn.Module]:
    """Within this block, every `SpikingActivation` of the network has a step of dt seconds.

    >>> import torch, ranvier
    >>> layer = ranvier.SpikingActivation(torch.relu, dt=0.001)
    >>> with ranvier.convert.steps_of(layer, 0.1):
    ...     print(layer.dt)
    0.1
    """
    layers = [m for m in net.modules() if isinstance(m, SpikingActivation)]
    if not layers:
        raise ValueError("steps_of: this network has no SpikingActivation, so it has no dt to change")
    before = [layer.dt for layer in layers]
    try:
        for layer in layers:
            layer.dt = dt
        yield net
    finally:
        for layer, dt_before in zip(layers, before, strict=True):
            layer.dt = dt_before


def sweep(net: nn.Module, dts: Sequence[float], score: Callable[[nn.Module], Any]) -> dict[float, Any]:
    """Compute score(net) for each dt (in seconds), and return {dt: score}. The network is not changed.

    >>> import torch, ranvier
    >>> layer, x = ranvier.SpikingActivation(torch.relu, start=0.5), torch.full((10, 1, 1), 3.7)
    >>> ranvier.convert.sweep(layer, (1.0, 0.1), lambda net: round(net(x).mean().item(), 1))
    {1.0: 3.7, 0.1: 4.0}
    """
    found = {}
    for dt in dts:
        with steps_of(net, dt):
            found[dt] = score(net)
    return found
