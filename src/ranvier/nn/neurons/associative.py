"""Neurons whose membrane can be computed for all steps at once.

Without a reset the membrane is a linear recurrence, which can be computed in parallel. With a reset, the spikes are
found by a few iterations. `parallel=None` lets the backend choose between parallel and step by step (on a CPU the fused
step-by-step kernel is faster, see `backends/linear.py`); True and False force the choice.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ranvier.backends import choose, linear
from ranvier.nn import arguments
from ranvier.nn.declare import step_length
from ranvier.nn.length import count
from ranvier.nn.neuron import Learn, Neuron, Option, Param, State, Time
from ranvier.nn.temporal import Temporal, check_sequence, promoted
from ranvier.ops import inject, spike, spike_derivative
from ranvier.surrogate import Surrogate


def _of(layer: nn.Module, name: str, dtype: torch.dtype) -> Tensor:
    """Return a parameter of a neuron in this dtype."""
    return getattr(layer, name).to(dtype)


def _explain(layer: Any, x: Tensor, otherwise: str) -> str:
    if layer.parallel is None and not linear.worth(x):
        return otherwise
    asked = "asked for by parallel=True" if layer.parallel else "few neurons, many steps"
    return otherwise if layer.parallel is False else f"parallel over time: {asked}"


def _parallel() -> Any:
    return Option(None, "compute all steps at once; None lets the backend decide", choices=(None, True, False))


class AssociativeLIF(Neuron):
    """Leaky integrate-and-fire without reset, so that all steps can be computed in parallel.

    v = beta v + x;  z = 1 where v > threshold.

    x [T, B, *features] input current per step; returns spikes z of the same shape. beta is the decay per step, clamped
    to [0, 1]. Spyx calls this neuron PSU_LIF. Fang et al., Parallel spiking neurons, NeurIPS 2023.

    >>> import torch, ranvier
    >>> ranvier.AssociativeLIF(beta=0.5, parallel=True)(torch.full((4, 1, 1), 0.6)).flatten()
    tensor([0., 0., 1., 1.])
    """

    beta: Param = Param(0.9, "decay of the membrane per step", low=0.0, high=1.0)
    tau: Time = Time("beta", "time constant of the membrane")
    dt: Option[float] = step_length()
    threshold: Param = Param(1.0, "a membrane above it fires")
    v = State(0.0, "membrane")
    learn: Learn[Literal["beta", "tau", "threshold"]] = Learn()
    parallel: Option[bool | None] = _parallel()

    @staticmethod
    def rule(x, v, beta, threshold):
        v = beta * v + x
        return spike(v - threshold, strict=True), v

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        check_sequence(self, x)
        if not len(x) or not (linear.worth(x) if self.parallel is None else self.parallel):
            return super().run(x, state, names)
        (x,), before, _ = self.prepare(x, state)
        dtype = before["v"].dtype
        v = linear.scan(self.value("beta").to(dtype), x.to(dtype), before["v"])
        with spike_derivative(self.surrogate, dtype):
            z = spike(v - _of(self, "threshold", dtype), strict=True).to(x.dtype)
        traces = {"v": v.to(x.dtype), "z": z}
        return z, {"v": v[-1]}, {n: traces[n] for n in names}

    def explain(self, x: Any) -> str:
        return _explain(self, x, super().explain(x))


class ParallelLIF(Neuron):
    """The neuron of `FireFirstLIF`, with its reset, computed in parallel over time. The spikes of both are exactly
    equal.

    z = 1 where v > threshold;  v = beta v + x - z threshold.

    All membranes can be computed at once from known spikes, and all spikes from known membranes. The two computations
    alternate until nothing changes; the result then equals that of the step-by-step loop. Each round makes at least one
    more step correct. After `rounds` rounds, some neurons may not have converged, or their membrane may be so close to
    the threshold that rounding decides whether they spike. These neurons are computed step by step instead.

    x [T, B, *features]; returns z of the same shape. Gradients are those of the step-by-step loop, also computed in
    parallel.

    >>> import torch, ranvier
    >>> x = torch.rand(50, 2, 3)
    >>> steps, parallel = ranvier.FireFirstLIF(), ranvier.ParallelLIF(parallel=True)
    >>> torch.equal(steps(x), parallel(x))
    True
    """

    beta: Param = Param(0.9, "decay of the membrane per step", low=0.0, high=1.0)
    tau: Time = Time("beta", "time constant of the membrane")
    dt: Option[float] = step_length()
    threshold: Param = Param(1.0, "a membrane above it fires")
    v = State(0.0, "membrane")
    parallel: Option[bool | None] = _parallel()
    rounds: Option[int] = Option(8, "most iterations to find the spikes", check=count)
    learn: Learn[Literal["beta", "tau", "threshold"]] = Learn()

    @staticmethod
    def rule(x, v, beta, threshold):
        z = spike(v - threshold, strict=True)
        return z, beta * v + x - z * threshold

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        check_sequence(self, x)
        if not len(x) or not (linear.worth(x) if self.parallel is None else self.parallel):
            return super().run(x, state, names)
        (x,), states, _ = self.prepare(x, state)
        before = states["v"]
        now, dtype = x.to(before.dtype), before.dtype
        beta, theta = self.value("beta").to(dtype), _of(self, "threshold", dtype)
        z, settled = self._settle(now, before, beta, theta)
        v = self._membranes(now, before, beta, theta, z)
        last = torch.cat([before.unsqueeze(0), v[:-1]])
        with spike_derivative(self.surrogate, dtype):
            z = inject(spike(last - theta, strict=True), z)
        if not bool(settled.all()):
            z, v = self._by_steps(now, before, beta, theta, z, v, ~settled)
        traces = {"v": v.to(x.dtype), "z": z.to(x.dtype)}
        return traces["z"], {"v": v[-1]}, {n: traces[n] for n in names}

    @torch.no_grad()
    def _settle(self, x: Tensor, before: Tensor, beta: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the spikes [T, B, *F], and a mask [B, *F] of the neurons whose spikes are certain to be correct."""
        z = torch.zeros_like(x)
        settled = torch.zeros_like(before, dtype=torch.bool)
        for _ in range(self.rounds):
            v = linear.scan(beta, x - z * theta, before)
            u = torch.cat([before.unsqueeze(0), v[:-1]]) - theta
            fires = (u > 0).to(x.dtype)
            settled = (fires == z).all(0)
            z = fires
            if bool(settled.all()):
                break
        # The parallel scan adds terms in another order than the loop: a sum of T terms may differ by T rounding errors.
        size = linear.scan(beta, (x.abs() + z * theta.abs()), before.abs())
        doubt = 4 * math.log2(len(x) + 1) * torch.finfo(x.dtype).eps
        sure = u.abs()[1:] > doubt * (size[:-1] + theta.abs())
        return z, settled & sure.all(0)

    def _membranes(self, x: Tensor, before: Tensor, beta: Tensor, theta: Tensor, z: Tensor) -> Tensor:
        """Return the membranes for spikes z, with the derivative of the loop: dv[t] = (beta - theta g[t]) dv[t - 1]."""
        with torch.no_grad():
            v = linear.scan(beta, x - z * theta, before)
        if not torch.is_grad_enabled():
            return v
        last = torch.cat([before.unsqueeze(0), v[:-1]]).detach()
        g, held = self.surrogate(last - theta.detach()), theta.detach()
        through = beta - theta * g
        beside = x - theta * z + g * (theta * last + held * (theta - held))
        return inject(linear.scan(through.expand_as(x), beside, before), v)

    def _by_steps(
        self, x: Tensor, before: Tensor, beta: Tensor, theta: Tensor, z: Tensor, v: Tensor, left: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return spikes z and membranes, after computing the neurons in the mask `left` [B, *F] step by step."""
        pick = left.flatten().nonzero().squeeze(1)

        def picked(a: Tensor) -> Tensor:
            return a.expand(before.shape).flatten().index_select(0, pick)

        columns = x.flatten(1).index_select(1, pick).unsqueeze(1)
        (spikes, membranes), _ = choose.carry(
            self.bound(("v",)),
            [columns],
            [picked(before).unsqueeze(0)],
            [picked(beta), picked(theta), *self.values(x)[2:]],
        )
        where, shape = pick.expand(len(x), -1), x.shape
        return tuple(  # type: ignore[return-value]
            whole.flatten(1).scatter(1, where, part.squeeze(1)).view(shape)
            for whole, part in ((z, spikes), (v, membranes))
        )

    def explain(self, x: Any) -> str:
        return _explain(self, x, super().explain(x))


class _Pole(Neuron):
    """A complex membrane that rotates and decays. `AssociativeResonate` computes the complex factor of a step once per
    sequence.
    """

    pole_re: Param = Param(0.0)
    pole_im: Param = Param(0.0)
    threshold: Param = Param(1.0)
    re, im = State(0.0), State(0.0)

    @staticmethod
    def rule(x, re, im, pole_re, pole_im, threshold):
        after = pole_re * re - pole_im * im + x
        return spike(after - threshold, strict=True), (after, pole_im * re + pole_re * im)


class AssociativeResonate(Temporal):
    """Resonate-and-fire without reset: a complex membrane that rotates and decays; it can be computed in parallel over
    time.

    s = exp(dt (-softplus(raw) + i omega)) s + x;  z = 1 where the real part of s > threshold.

    damping > 0 (per unit of time) and omega (radians per unit of time) are numbers, or tensors broadcastable to the
    features. damping is stored as its inverse softplus `raw`, so that learning cannot make it negative. dt > 0 is the
    length of a step. `learn` lists the parameters that are trained. x [T, B, *features]; returns z of the same shape.
    States "re" and "im". Izhikevich, Resonate-and-fire neurons, Neural Networks 14, 2001; Spyx calls this neuron
    ResonateFire.

    >>> import torch, ranvier
    >>> x = torch.zeros(9, 1, 1); x[0] = 1.5
    >>> ranvier.AssociativeResonate(damping=0.01, omega=torch.pi / 4)(x).flatten()  # rings with a period of 8 steps
    tensor([1., 1., 0., 0., 0., 0., 0., 0., 1.])
    """

    records = ("re", "im", "z")
    raw: Tensor
    omega: Tensor

    def __init__(
        self,
        *,
        damping: float | Tensor = 0.1,
        omega: float | Tensor = 1.0,
        threshold: float | Tensor = 1.0,
        dt: float = 1.0,
        surrogate: Surrogate | None = None,
        learn: Sequence[str] = (),
        parallel: bool | None = None,
    ):
        super().__init__()
        name = "AssociativeResonate"
        learn = arguments.names(f"{name}: learn", learn, ("damping", "omega"))
        rate = arguments.value(f"{name}: damping", damping, None, 0.0, math.inf)
        if not rate.is_meta and bool((rate == 0).any()):
            raise ValueError(f"{name}: damping must be positive, got {damping!r}")
        speed = arguments.value(f"{name}: omega", omega, None, -math.inf, math.inf).to(rate.dtype)
        for kept, learned, value in (("raw", "damping", rate.expm1().log()), ("omega", "omega", speed)):
            if learned in learn:
                self.register_parameter(kept, nn.Parameter(value if value.dim() else value.reshape(1)))
            else:
                self.register_buffer(kept, value)
        self.dt, self.parallel = arguments.positive(f"{name}: dt", dt), parallel
        self.neuron = _Pole(threshold=threshold, surrogate=arguments.surrogate(name, surrogate))

    @property
    def pole(self) -> Tensor:
        """Return the complex factor by which one step multiplies the membrane."""
        raw, omega = (v.to(promoted(v.dtype)) for v in (self.raw, self.omega))
        size = torch.exp(-self.dt * nn.functional.softplus(raw))
        return torch.polar(size.expand_as(turn := self.dt * omega + 0 * size), turn)

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        check_sequence(self, x)
        zeros = torch.zeros_like(x.sum(0), dtype=promoted(x.dtype))
        before = {k: zeros if state is None else state[k] for k in ("re", "im")}
        pole, inner = self.pole, tuple(n for n in names if n != "z")
        if x.shape[0] and (linear.worth(x) if self.parallel is None else self.parallel):
            s = linear.scan(pole, torch.complex(x.to(zeros.dtype), zeros.expand_as(x)), torch.complex(*before.values()))
            with spike_derivative(self.neuron.surrogate, zeros.dtype):
                z = spike(s.real - _of(self.neuron, "threshold", zeros.dtype), strict=True).to(x.dtype)
            traces = {"re": s.real, "im": s.imag, "z": z}
            return z, {"re": s.real[-1], "im": s.imag[-1]}, {n: traces[n] for n in names}
        params = [pole.real, pole.imag, *self.neuron.values(zeros)[2:]]
        (z, *traced), after = choose.carry(self.neuron.bound(inner), [x], list(before.values()), params)
        return z, dict(zip(("re", "im"), after, strict=True)), {**dict(zip(inner, traced, strict=True)), "z": z}

    def explain(self, x: Any) -> str:
        return _explain(self, x, self.neuron.explain(x))
