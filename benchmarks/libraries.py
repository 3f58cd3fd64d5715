"""The layers of a case in the words of each library on PyTorch, each in the fastest way it documents.

Slope 1 / (1 + (pi u)^2) and no gradient through the reset where a library lets one choose.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Library:
    """How a library says lif(beta, features), readout(beta, features) and recurrent(beta, weights): a list of modules
    from sequence to sequence. time: the axis of time in its sequences. folds: its container folds time itself."""

    lif: Callable[[float, tuple[int, ...]], nn.Module]
    readout: Callable[[float, tuple[int, ...]], nn.Module]
    recurrent: Callable[[float, Tensor, Tensor], list[nn.Module]]
    time: int = 0
    folds: bool = False
    container: Callable[..., nn.Module] = nn.Sequential
    linear: type[nn.Linear] = nn.Linear
    conv: type[nn.Conv2d] = nn.Conv2d


class Steps(nn.Module):
    """A cell (x_t, state) -> (y_t, state) through time. By unbind: with x[t] backward is quadratic in time."""

    def __init__(self, cell: Callable, start: Callable[[Tensor], Any] = torch.zeros_like, *parts: nn.Module):
        super().__init__()
        self.cell, self.start, self.parts = cell, start, nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        state, out = self.start(x[0]), []
        for x_t in x.unbind(0):
            y, state = self.cell(x_t, state)
            out.append(y)
        return torch.stack(out)


class Whole(nn.Module):
    """A module for whole sequences: `of` takes what is wanted of its answer, `reset` names how it forgets before."""

    def __init__(self, node: Any, of: Callable[[Any], Tensor] = lambda y: y, reset: str | None = None):
        super().__init__()
        self.node, self.of, self.reset = node, of, reset

    def forward(self, x: Tensor) -> Tensor:
        if self.reset:
            getattr(self.node, self.reset)()
        return self.of(self.node(x))


def product(weight: Any, bias: Any = None, linear: type[nn.Linear] = nn.Linear) -> nn.Linear:
    made = linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    for parameter, value in zip(made.parameters(), (weight, bias), strict=False):
        parameter.data = torch.as_tensor(value).clone()
    return made


def slope(v: Tensor, threshold: Any) -> Tensor:
    return 1 / (1 + (pi * (v - threshold)).square())


def membrane(beta: float, features: Any) -> nn.Module:
    """A readout for those whose own is slower: v = beta v + x."""

    def cell(x_t: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        v = torch.add(x_t, v, alpha=beta)
        return v, v

    return Steps(cell)


def ranvier() -> Library:
    import ranvier as rv

    def lif(beta: float, features: Any = ()) -> Any:
        return rv.LIF(beta=beta, detach_reset=True, surrogate=rv.surrogate.atan(2.0))

    def recurrent(beta: float, weight: Tensor, back: Tensor) -> list[nn.Module]:
        return [product(weight, linear=rv.Linear), rv.Recurrent(lif(beta), product(back))]

    def readout(beta: float, features: Any) -> nn.Module:
        return rv.LI(beta=beta)

    return Library(
        lif, readout, recurrent, folds=True, container=rv.Sequential, linear=rv.Linear, conv=rv.Conv2d
    )  # fmt: skip


def spikingjelly() -> Library:
    from spikingjelly.activation_based import neuron, surrogate

    def node(beta: float, mode: str) -> Any:
        return neuron.LIFNode(1 / (1 - beta), False, 1.0, None, surrogate.ATan(), True, step_mode=mode)

    def recurrent(beta: float, weight: Tensor, back: Tensor) -> list[nn.Module]:
        lif, feedback = node(beta, "s"), product(back)  # faster than its container, which multiplies by twice as much

        def start(x_t: Tensor) -> Tensor:
            lif.reset()
            return torch.zeros_like(x_t)

        def cell(x_t: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
            z = lif(x_t + feedback(z))
            return z, z

        return [product(weight), Steps(cell, start, lif, feedback)]

    # its own readout indexes x[t]
    return Library(lambda beta, features: Whole(node(beta, "m"), reset="reset"), membrane, recurrent)


def snntorch() -> Library:
    import snntorch as snn

    def lif(beta: float, features: Any = ()) -> nn.Module:
        return Steps(snn.Leaky(beta=beta, spike_grad=snn.surrogate.atan(alpha=2.0)))

    def readout(beta: float, features: Any) -> nn.Module:
        leaky = snn.Leaky(beta=beta, reset_mechanism="none")

        def cell(x_t: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
            _, v = leaky(x_t, v)
            return v, v

        return Steps(cell, torch.zeros_like, leaky)

    def recurrent(beta: float, weight: Tensor, back: Tensor) -> list[nn.Module]:
        node = snn.RLeaky(beta=beta, linear_features=len(back), spike_grad=snn.surrogate.atan(alpha=2.0))
        node.recurrent = product(back)

        def cell(x_t: Tensor, state: tuple) -> tuple[Tensor, tuple]:
            z, v = node(x_t, *state)
            return z, (z, v)

        return [product(weight), Steps(cell, lambda x_t: (torch.zeros_like(x_t), torch.zeros_like(x_t)), node)]

    return Library(lif, readout, recurrent)


def norse() -> Library:
    """Its membranes move by (1 - beta) (x - v), so the threshold is 1 - beta."""
    import norse.torch as nt
    from norse.torch.functional.reset import reset_subtract

    def settings(kind: Any, beta: float, **more: Any) -> Any:
        leak = torch.tensor(1000.0 * (1 - beta))  # per second, and a step is a millisecond
        return kind(tau_mem_inv=leak, alpha=torch.tensor(10.0), v_th=torch.tensor(1 - beta), **more)

    def lif(beta: float, features: Any = ()) -> nn.Module:
        cell = nt.LIFBoxCell(settings(nt.LIFBoxParameters, beta, reset_method=reset_subtract))
        return Steps(cell, lambda x_t: None)

    def readout(beta: float, features: Any) -> nn.Module:
        cell = nt.LIBoxCell(nt.LIBoxParameters(tau_mem_inv=torch.tensor(1000.0 * (1 - beta))))
        return Whole(Steps(cell, lambda x_t: None), lambda y: y / (1 - beta))

    def recurrent(beta: float, weight: Tensor, back: Tensor) -> list[nn.Module]:
        p = settings(nt.LIFParameters, beta, tau_syn_inv=torch.tensor(1000.0))  # a current that is gone after its step
        w, r = nn.Parameter(weight.clone()), nn.Parameter(back.clone())
        layer = nt.LIFRecurrent(*weight.t().shape, p, input_weights=w, recurrent_weights=r, autapses=True)
        return [Whole(layer, lambda y: y[0])]

    return Library(lif, readout, recurrent)


def sinabs() -> Library:
    """Its layers remember from call to call: given step by step, backward is not quadratic in time."""
    import sinabs.activation as activation
    import sinabs.layers as layers

    def tau(beta: float) -> float:
        return -1 / float(np.log(beta))

    def node(beta: float) -> Any:
        made = layers.LIF(tau(beta), spike_fn=activation.SingleSpike, surrogate_grad_fn=slope, norm_input=False)
        made.tau_mem.requires_grad_(False)
        return made

    def by_steps(layer: Any, cell: Callable, *parts: nn.Module) -> nn.Module:
        def start(x_t: Tensor) -> Tensor:
            layer.reset_states()
            return torch.zeros_like(x_t)

        return Steps(cell, start, layer, *parts)

    def alone(layer: Any) -> nn.Module:
        return by_steps(layer, lambda x_t, z: (layer(x_t.unsqueeze(1)).squeeze(1), z))

    def readout(beta: float, features: Any) -> nn.Module:
        leak = layers.ExpLeak(tau(beta))
        leak.tau_mem.requires_grad_(False)
        return alone(leak)

    def recurrent(beta: float, weight: Tensor, back: Tensor) -> list[nn.Module]:
        lif, feedback = node(beta), product(back)

        def cell(x_t: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
            z = lif((x_t + feedback(z)).unsqueeze(1)).squeeze(1)
            return z, z

        return [product(weight), by_steps(lif, cell, feedback)]

    return Library(lambda beta, features: alone(node(beta)), readout, recurrent)


def rockpool() -> Library:
    """Its LIF has a current before the membrane; it halves at a step, so that it adds up to the input."""
    from rockpool.nn.modules import ExpSynTorch, LIFTorch
    from rockpool.parameters import Constant

    def node(beta: float, count: int, **more: Any) -> nn.Module:
        keep, half, one = Constant(beta), Constant(0.5), torch.tensor(1.0)
        layer = LIFTorch(
            (count,), "decays", alpha=keep, beta=half, bias=Constant(0.0), threshold=Constant(1.0), dt=1e-3,
            max_spikes_per_dt=one, **more,
        )  # fmt: skip
        if "w_rec" not in more:
            del layer.w_rec  # it would multiply by this matrix of zeros at every step, and backwards
        return Whole(layer, lambda y: y[0], "reset_state")

    def lif(beta: float, features: tuple[int, ...]) -> nn.Module:
        layer = node(beta, features[0])
        return layer if len(features) == 1 else Pixels(layer)

    def readout(beta: float, features: tuple[int, ...]) -> nn.Module:
        tau = Constant(-1e-3 / float(np.log(beta)))
        return Whole(ExpSynTorch(features, tau=tau, dt=1e-3), lambda y: y[0] / beta, "reset_state")

    def recurrent(beta: float, weight: Tensor, back: Tensor) -> list[nn.Module]:
        return [product(weight), node(beta, len(back), has_rec=True, w_rec=back.t().clone())]

    return Library(lif, readout, recurrent, time=1)


class Pixels(nn.Module):
    """A layer for [B, T, C] on [B, T, C, H, W]: the pixels join the batch."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        y = x.permute(0, 3, 4, 1, 2)
        return self.layer(y.flatten(0, 2)).view(y.shape).permute(0, 3, 4, 1, 2)


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return (u >= 0).to(u)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (u,) = ctx.saved_tensors
        return g / (1 + (pi * u) ** 2)


def loop() -> Library:
    """The least a library on plain PyTorch can do; the judge of the others."""

    def fire(v: Tensor) -> tuple[Tensor, Tensor]:
        z = Spike.apply(v - 1.0)
        return z, v - z.detach()

    def recurrent(beta: float, weight: Tensor, back: Tensor) -> list[nn.Module]:
        feedback = product(back)

        def cell(x_t: Tensor, state: tuple) -> tuple[Tensor, tuple]:
            z, v = fire(torch.add(x_t + feedback(state[0]), state[1], alpha=beta))
            return z, (z, v)

        return [product(weight), Steps(cell, lambda x_t: (torch.zeros_like(x_t), torch.zeros_like(x_t)), feedback)]

    def lif(beta: float, features: Any) -> nn.Module:
        return Steps(lambda x_t, v: fire(torch.add(x_t, v, alpha=beta)))

    return Library(lif, membrane, recurrent)


LIBRARIES = {f.__name__: f for f in (ranvier, loop, spikingjelly, snntorch, norse, sinabs, rockpool)}
