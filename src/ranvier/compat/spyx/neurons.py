"""Spyx's neurons, called `(x [B, *shape], V) -> (spikes, V)`. Each is described by class attributes.

In their equations, S is the step function, S(u) = 1 where u > 0, V' is V after the step, and w is `recurrent_w`. A
state with several parts (ALIF, CuBaLIF, RCuBaLIF) is one tensor, with its parts joined on the last axis, as in Spyx;
`hidden_shape` may have any rank. A decay that is given as a number is learned too. Recurrent weights are drawn from a
normal distribution with standard deviation 1 / sqrt(neurons), cut off at two deviations (in Spyx the deviation is 0.01;
before version 1.0 it is 1). Decays are limited to [0, 1]; training can move a decay away from these limits again.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch import nn as torch_nn

from ranvier.compat.rows import Described, bound, lend
from ranvier.compat.spyx.axn import superspike
from ranvier.compat.spyx.keys import Key, generator
from ranvier.nn.bounds import bounded
from ranvier.nn.neurons.associative import AssociativeLIF as _AssociativeLIF
from ranvier.nn.neurons.fire_first import (
    ClampedLI,
    FireFirstALIF,
    FireFirstCubaLIF,
    FireFirstIF,
    FireFirstLIF,
    FireFirstRecurrent,
)
from ranvier.ops import EAGER


def _shape(hidden_shape: Sequence[int] | int) -> tuple[int, ...]:
    return (hidden_shape,) if isinstance(hidden_shape, int) else tuple(hidden_shape)


def _decay(value: Any, shape: tuple[int, ...], key: Key) -> torch_nn.Parameter:
    """Return a decay as a parameter: `value` clamped to [0, 1], or, for None, numbers in [0, 1] that are drawn around
    0.5 for every neuron.
    """
    if value is not None:
        return torch_nn.Parameter(torch.as_tensor(value, dtype=torch.get_default_dtype()).clamp(0.0, 1.0))
    drawn = torch_nn.init.trunc_normal_(torch.empty(shape), 0.5, 0.25, 0.0, 1.0, generator=generator(key))
    return torch_nn.Parameter(drawn)


def _feedback(shape: tuple[int, ...], key: Key) -> torch_nn.Parameter:
    """Return new recurrent weights [from, to]."""
    if len(shape) != 1:
        raise ValueError(f"recurrent neurons take a hidden_shape of one axis, got {shape}; flatten before them")
    weight, deviation = torch.empty(shape * 2), shape[0] ** -0.5
    torch_nn.init.trunc_normal_(weight, 0.0, deviation, -2 * deviation, 2 * deviation, generator=generator(key))
    return torch_nn.Parameter(weight)


class StatefulLayer(Described, torch_nn.Module):
    """A layer whose state is an argument and is returned: `initial_state(batch)`, `(x, V) -> (y, V)`.

    kind: the neuron class that kernels run. takes: the published arguments and defaults, in order, the shape first.
    parts: the names of the parts of the state. looped: whether its spikes return through `recurrent_w`. All attributes
    may be changed at any time.
    """

    kind: ClassVar[Any]
    named: ClassVar[dict[str, Any]] = {"rngs": None}
    parts: ClassVar[tuple[str, ...]] = ("v",)
    looped: ClassVar[bool] = False
    threshold: Any = None
    spike: Any = None
    recurrent_w: torch_nn.Parameter
    _made: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()
        given = bound(type(self), args, kwargs)
        key, shape = generator(given["rngs"]), _shape(given[next(iter(self.takes))])
        self.hidden_shape, self.name = shape, given["name"]
        if "threshold" in given:
            self.threshold, self.spike = given["threshold"], given["activation"] or superspike()
        self._draw(given, key)
        if self.looped:
            self.recurrent_w = _feedback(shape, key)
        self.__dict__["_made"] = {}
        self._core(torch.zeros(()))  # raises errors for values out of range

    def _draw(self, given: dict[str, Any], key: Key) -> None:
        for name in ("alpha", "beta", "gamma"):
            if name in given:
                setattr(self, name, _decay(given[name], self.hidden_shape, key))

    @property
    def w(self) -> Tensor:
        """The name of `recurrent_w` before Spyx 1.0."""
        return self.recurrent_w

    def initial_state(self, batch_size: int) -> Tensor:
        """Zeros for a batch, on the device of the layer."""
        *others, last = self.hidden_shape
        where = next((p.device for p in self.parameters()), None)
        return torch.zeros(batch_size, *others, last * len(self.parts), device=where)

    def forward(self, x: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
        return self._step(x, V)

    def _step(self, x: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
        y, V = self.scan(x.unsqueeze(0), V)
        return y[0], V

    def scan(self, x: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
        """Run x [T, B, *shape] from the state V -> the outputs, and the state after the last step."""
        state = dict(zip(self.parts, V.chunk(len(self.parts), -1), strict=True))
        with lend(self._core(x), self._numbers(x)) as core:
            if self.spike is None or self._slope() is not None:
                y, state = core.scan(x, state)
            else:
                y, state = _by_hand(core, self.spike, x, state)
        return y, torch.cat([state[p] for p in self.parts], -1)

    def _slope(self) -> Any:
        return getattr(self.spike, "surrogate", None)

    def _core(self, x: Tensor) -> Any:
        """Return the layer that the kernels run; it is created again if the surrogate or the device has changed."""
        slope = self._slope()
        key = (x.device, None if slope is None else (slope.name, slope.numbers))
        if self._made.get("key") != key:
            how = {} if slope is None else {"surrogate": slope}
            core = self.kind(emit="after", **how) if self.looped else self.kind(**how)
            core = FireFirstRecurrent(core, self.hidden_shape[0]) if self.looped else core
            self._made.update(key=key, core=core.to(x.device))
        return self._made["core"]

    def _numbers(self, x: Tensor) -> dict[str, Tensor]:
        """Return the tensors that the core uses: threshold, decays, weights."""
        found = {n: bounded(p, 0.0, 1.0) for n, p in self._parameters.items() if p is not None and n != "recurrent_w"}
        if self.threshold is not None:
            found["threshold"] = torch.as_tensor(self.threshold)
        dtype = torch.promote_types(x.dtype, torch.float32)
        found = {n: v.to(x.device, dtype).reshape(v.shape or (1,)) for n, v in found.items()}
        if self.looped:
            found = {f"loop.neuron.{n}": v for n, v in found.items()}
            found["loop.feedback.weight"] = self.recurrent_w.T
        return found


def _by_hand(core: Any, activation: Any, x: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Run the core's rule step by step, with an activation that is any torch function."""
    looped = isinstance(core, FireFirstRecurrent)
    neuron: Any = core.neuron if looped else core

    def say(self: Tensor, word: str, *arguments: Any) -> Tensor:
        plain = [a.as_subclass(Tensor) if isinstance(a, Tensor) else a for a in arguments]
        return (activation(plain[0]) if word.startswith("spike") else EAGER[word](*plain)).as_subclass(Felt)

    Felt = type("Felt", (Tensor,), {"__op__": say})
    params = {k: neuron.value(k).as_subclass(Felt) for k in neuron.params}
    options = neuron._made(type(neuron).rule)
    steps = []
    for x_t in x.unbind(0):
        if looped:
            z = activation(state["v"] - neuron.threshold)
            x_t = x_t + core.feedback(z)
        felt = {k: v.as_subclass(Felt) for k, v in state.items()}
        y, after = type(neuron).rule(**{neuron.inputs[0]: x_t.as_subclass(Felt)}, **felt, **params, **options)
        after = after if isinstance(after, tuple) else (after,)
        state = {k: v.as_subclass(Tensor) for k, v in zip(state, after, strict=True)}
        steps.append(z if looped else y.as_subclass(Tensor))
    return torch.stack(steps), state


SPIKING: dict[str, Any] = {"activation": None, "name": None}


class IF(StatefulLayer):
    """s = S(V - threshold); V' = V + x - s threshold."""

    kind, takes = FireFirstIF, {"hidden_shape": ..., "threshold": 1, **SPIKING}


class LIF(StatefulLayer):
    """s = S(V - threshold); V' = clip(beta) V + x - s threshold."""

    kind, takes = FireFirstLIF, {"hidden_shape": ..., "beta": None, "threshold": 1.0, **SPIKING}


class LI(StatefulLayer):
    """A readout: V' = clip(beta) V + x is also the output. beta is 0.8 by default."""

    kind, takes = ClampedLI, {"layer_shape": ..., "beta": None, "name": None}

    def _draw(self, given: dict[str, Any], key: Key) -> None:
        self.layer_shape = self.hidden_shape
        self.beta = _decay(torch.full(self.layer_shape, 0.8) if given["beta"] is None else given["beta"], (), key)

    def forward(self, x: Tensor, Vin: Tensor) -> tuple[Tensor, Tensor]:
        return self._step(x, Vin)


class ALIF(StatefulLayer):
    """th = threshold + A; s = S(V - th); V' = clip(beta) V + x - s th; A' = clip(gamma) A + (1 - clip(gamma)) s."""

    kind, takes = FireFirstALIF, {"hidden_shape": ..., "beta": None, "gamma": None, "threshold": 1, **SPIKING}
    parts = ("v", "a")

    def forward(self, x: Tensor, VT: Tensor) -> tuple[Tensor, Tensor]:
        return self._step(x, VT)


class CuBaLIF(StatefulLayer):
    """s = S(V - threshold); I' = clip(alpha) I + x; V' = clip(beta) (V - s threshold) + I'."""

    kind, takes = FireFirstCubaLIF, {"hidden_shape": ..., "alpha": None, "beta": None, "threshold": 1, **SPIKING}
    parts = ("v", "i")

    def forward(self, x: Tensor, VI: Tensor) -> tuple[Tensor, Tensor]:
        return self._step(x, VI)


class RIF(IF):
    """s = S(V - threshold); V' = V + x + s @ w - s threshold."""

    looped = True


class RLIF(LIF):
    """s = S(V - threshold); V' = clip(beta) V + x + s @ w - s threshold."""

    takes, looped = {"hidden_shape": ..., "beta": None, "threshold": 1, **SPIKING}, True


class RCuBaLIF(CuBaLIF):
    """s = S(V - threshold); I' = clip(alpha) I + x + s @ w; V' = clip(beta) (V - s threshold) + I'."""

    looped = True


class PSU_LIF(LIF):
    """V' = clip(beta) V + x; s = S(V' - threshold), without reset."""

    kind = _AssociativeLIF

    def parallel(self, x: Tensor) -> Tensor:
        """Return the spikes for a sequence x [T, B, *shape], with neurons at rest before the first step."""
        return self.scan(x, self.initial_state(x.shape[1]).to(x))[0]


class AssociativeLIF(PSU_LIF):
    """`PSU_LIF` with functions that convert its decay from and to that of snnTorch's parallel neuron."""

    @staticmethod
    def beta_from_snntorch(beta: float) -> float:
        """Convert snnTorch's beta to the decay of this neuron: exp(-(1 - beta))."""
        return float(torch.exp(torch.tensor(beta, dtype=torch.float64) - 1))

    @staticmethod
    def snntorch_beta_from_beta(beta: float) -> float:
        """Convert the decay of this neuron to snnTorch's beta: 1 + ln(beta)."""
        return float(1 + torch.log(torch.tensor(beta, dtype=torch.float64)))
