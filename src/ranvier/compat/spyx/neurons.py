"""Spyx's neurons, called `(x [B, *shape], V) -> (spikes, V)`.

States of several parts (ALIF, CuBaLIF, RCuBaLIF) stand side by side on the last axis, as in Spyx, and so work for
`hidden_shape` of any rank. A number given as a decay is still learned. Recurrent weights begin normal with deviation
1 / sqrt(neurons), cut off at two deviations (Spyx: 0.01; before 1.0: 1).
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch import nn as torch_nn

from ranvier.compat.spyx.axn import superspike
from ranvier.compat.spyx.keys import Key, generator
from ranvier.nn.neuron import Neuron
from ranvier.nn.neurons.associative import AssociativeLIF as _AssociativeLIF
from ranvier.nn.neurons.fire_first import (
    ClampedLI,
    FireFirstALIF,
    FireFirstCubaLIF,
    FireFirstIF,
    FireFirstLIF,
    FireFirstRecurrent,
)
from ranvier.nn.temporal import Temporal
from ranvier.ops import EAGER

Decay = float | Tensor | None


def _shape(hidden_shape: Any) -> tuple[int, ...]:
    return (hidden_shape,) if isinstance(hidden_shape, int) else tuple(hidden_shape)


def _decay(value: Decay, shape: tuple[int, ...], key: Key) -> Tensor:
    """None: drawn for every neuron around 0.5, within [0, 1]; a number: that, held in [0, 1]."""
    if value is not None:
        return torch.as_tensor(value, dtype=torch.get_default_dtype()).clamp(0.0, 1.0)
    drawn = torch.empty(shape)
    return torch_nn.init.trunc_normal_(drawn, 0.5, 0.25, 0.0, 1.0, generator=generator(key))


class StatefulLayer(torch_nn.Module):
    """A layer whose state is passed in and out: `initial_state(batch)`, `(x, V) -> (y, V)`."""

    parts: ClassVar[tuple[str, ...]] = ("v",)
    learned: ClassVar[dict[str, str]] = {}  # Spyx's names of parameters -> where they are in `core`

    def __init__(self, hidden_shape: Sequence[int] | int, core: Temporal, activation: Any = None):
        super().__init__()
        self.hidden_shape = (hidden_shape,) if isinstance(hidden_shape, int) else tuple(hidden_shape)
        self.core, self.activation = core, activation

    def initial_state(self, batch_size: int) -> Tensor:
        """Zeros for a batch, on the device of the layer."""
        *others, last = self.hidden_shape
        where = next((p.device for p in (*self.parameters(), *self.buffers())), None)
        return torch.zeros(batch_size, *others, last * len(self.parts), device=where)

    def forward(self, x: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
        y, V = self.scan(x.unsqueeze(0), V)
        return y[0], V

    def scan(self, x: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
        """x [T, B, *shape] and the state before it -> outputs and the state after it."""
        state = dict(zip(self.parts, V.chunk(len(self.parts), -1), strict=True))
        if self.activation is None or getattr(self.activation, "surrogate", None) is not None:
            y, state = self.core.scan(x, state)
        else:
            y, state = _by_hand(self.core, self.activation, x, state)
        return y, torch.cat([state[p] for p in self.parts], -1)

    def _place(self, name: str) -> tuple[torch_nn.Module, str]:
        path, _, leaf = self.learned[name].rpartition(".")
        return self.core.get_submodule(path), leaf

    def __getattr__(self, name: str) -> Any:
        if name in type(self).learned and "core" in self._modules:
            owner, leaf = self._place(name)
            return getattr(owner, leaf)
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in type(self).learned and "core" in self._modules:
            owner, leaf = self._place(name)
            setattr(owner, leaf, value)
        else:
            super().__setattr__(name, value)


def _by_hand(core: Any, activation: Any, x: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """The core's rule with any torch function in the place of its spike, step by step."""
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


def _settings(activation: Any, threshold: Any, **decays: Tensor) -> dict[str, Any]:
    """Arguments of a core neuron."""
    return {
        "threshold": threshold,
        "surrogate": getattr(activation, "surrogate", None),
        "learn": tuple(decays),
        **decays,
    }


class _Feedback(torch_nn.Module):
    """z -> z @ weight, with weight [from, to]."""

    def __init__(self, neurons: int, key: Key):
        super().__init__()
        weight, deviation = torch.empty(neurons, neurons), neurons**-0.5
        torch_nn.init.trunc_normal_(weight, 0.0, deviation, -2 * deviation, 2 * deviation, generator=generator(key))
        self.weight = torch_nn.Parameter(weight)

    def forward(self, z: Tensor) -> Tensor:
        return z @ self.weight


def _recurrent(kind: type[Neuron], shape: Any, activation: Any, threshold: Any, key: Key, **decays: Tensor) -> Temporal:
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if len(shape) != 1:
        raise ValueError(f"recurrent neurons take a hidden_shape of one axis, got {shape}; flatten before them")
    neuron = kind(emit="after", **_settings(activation, threshold, **decays))
    return FireFirstRecurrent(neuron, _Feedback(shape[0], key))


_LOOP = {"recurrent_w": "loop.feedback.weight", "w": "loop.feedback.weight"}


class IF(StatefulLayer):
    """s = S(V - threshold); V' = V + x - s threshold."""

    def __init__(
        self,
        hidden_shape: Any,
        threshold: Any = 1,
        activation: Any = None,
        *,
        rngs: Key = None,
        name: str | None = None,
    ):
        activation = activation or superspike()
        super().__init__(hidden_shape, FireFirstIF(**_settings(activation, threshold)), activation)


class LIF(StatefulLayer):
    """s = S(V - threshold); V' = clip(beta) V + x - s threshold."""

    learned: ClassVar = {"beta": "beta"}

    def __init__(
        self, hidden_shape: Any, beta: Decay = None, threshold: Any = 1.0, activation: Any = None, *, rngs: Key = None,
        name: str | None = None,
    ):  # fmt: skip
        activation = activation or superspike()
        core = FireFirstLIF(**_settings(activation, threshold, beta=_decay(beta, _shape(hidden_shape), rngs)))
        super().__init__(hidden_shape, core, activation)


class LI(StatefulLayer):
    """V' = clip(beta) V + x, given out as well: a readout. beta is 0.8 for every unit unless given."""

    learned: ClassVar = {"beta": "beta"}

    def __init__(self, layer_shape: Any, beta: Decay = None, *, rngs: Key = None, name: str | None = None):
        start = torch.full(_shape(layer_shape), 0.8) if beta is None else _decay(beta, (), rngs)
        super().__init__(layer_shape, ClampedLI(beta=start, learn=("beta",)))
        self.layer_shape = self.hidden_shape


class ALIF(StatefulLayer):
    """th = threshold + A; s = S(V - th); V' = clip(beta) V + x - s th; A' = clip(gamma) A + (1 - clip(gamma)) s."""

    parts: ClassVar = ("v", "a")
    learned: ClassVar = {"beta": "beta", "gamma": "gamma"}

    def __init__(
        self, hidden_shape: Any, beta: Decay = None, gamma: Decay = None, threshold: Any = 1, activation: Any = None, *,
        rngs: Key = None, name: str | None = None,
    ):  # fmt: skip
        activation, shape, key = activation or superspike(), _shape(hidden_shape), generator(rngs)
        decays = {"beta": _decay(beta, shape, key), "gamma": _decay(gamma, shape, key)}
        super().__init__(hidden_shape, FireFirstALIF(**_settings(activation, threshold, **decays)), activation)


class CuBaLIF(StatefulLayer):
    """s = S(V - threshold); I' = clip(alpha) I + x; V' = clip(beta) (V - s threshold) + I'."""

    parts: ClassVar = ("v", "i")
    learned: ClassVar = {"alpha": "alpha", "beta": "beta"}

    def __init__(
        self, hidden_shape: Any, alpha: Decay = None, beta: Decay = None, threshold: Any = 1, activation: Any = None, *,
        rngs: Key = None, name: str | None = None,
    ):  # fmt: skip
        activation, shape, key = activation or superspike(), _shape(hidden_shape), generator(rngs)
        decays = {"alpha": _decay(alpha, shape, key), "beta": _decay(beta, shape, key)}
        super().__init__(hidden_shape, FireFirstCubaLIF(**_settings(activation, threshold, **decays)), activation)


class RIF(StatefulLayer):
    """s = S(V - threshold); V' = V + x + s @ w - s threshold."""

    learned: ClassVar = _LOOP

    def __init__(
        self,
        hidden_shape: Any,
        threshold: Any = 1,
        activation: Any = None,
        *,
        rngs: Key = None,
        name: str | None = None,
    ):
        activation = activation or superspike()
        super().__init__(hidden_shape, _recurrent(FireFirstIF, hidden_shape, activation, threshold, rngs), activation)


class RLIF(StatefulLayer):
    """s = S(V - threshold); V' = clip(beta) V + x + s @ w - s threshold."""

    learned: ClassVar = {"beta": "loop.neuron.beta", **_LOOP}

    def __init__(
        self, hidden_shape: Any, beta: Decay = None, threshold: Any = 1, activation: Any = None, *, rngs: Key = None,
        name: str | None = None,
    ):  # fmt: skip
        activation, key = activation or superspike(), generator(rngs)
        beta = _decay(beta, _shape(hidden_shape), key)
        core = _recurrent(FireFirstLIF, hidden_shape, activation, threshold, key, beta=beta)
        super().__init__(hidden_shape, core, activation)


class RCuBaLIF(StatefulLayer):
    """s = S(V - threshold); I' = clip(alpha) I + x + s @ w; V' = clip(beta) (V - s threshold) + I'."""

    parts: ClassVar = ("v", "i")
    learned: ClassVar = {"alpha": "loop.neuron.alpha", "beta": "loop.neuron.beta", **_LOOP}

    def __init__(
        self, hidden_shape: Any, alpha: Decay = None, beta: Decay = None, threshold: Any = 1, activation: Any = None, *,
        rngs: Key = None, name: str | None = None,
    ):  # fmt: skip
        activation, shape, key = activation or superspike(), _shape(hidden_shape), generator(rngs)
        decays = {"alpha": _decay(alpha, shape, key), "beta": _decay(beta, shape, key)}
        core = _recurrent(FireFirstCubaLIF, hidden_shape, activation, threshold, key, **decays)
        super().__init__(hidden_shape, core, activation)


class PSU_LIF(StatefulLayer):
    """V' = clip(beta) V + x; s = S(V' - threshold), without reset."""

    learned: ClassVar = {"beta": "beta"}

    def __init__(
        self, hidden_shape: Any, beta: Decay = None, threshold: Any = 1.0, activation: Any = None, *, rngs: Key = None,
        name: str | None = None,
    ):  # fmt: skip
        activation = activation or superspike()
        core = _AssociativeLIF(**_settings(activation, threshold, beta=_decay(beta, _shape(hidden_shape), rngs)))
        super().__init__(hidden_shape, core, activation)

    def parallel(self, x: Tensor) -> Tensor:
        """Spikes of a whole sequence x [T, B, *shape] from rest."""
        return self.scan(x, self.initial_state(x.shape[1]).to(x))[0]


class AssociativeLIF(PSU_LIF):
    """PSU_LIF, with the decay of another library's parallel neuron there and back."""

    @staticmethod
    def beta_from_snntorch(beta: float) -> float:
        """exp(-(1 - beta))."""
        return float(torch.exp(torch.tensor(beta, dtype=torch.float64) - 1))

    @staticmethod
    def snntorch_beta_from_beta(beta: float) -> float:
        """1 + ln(beta)."""
        return float(1 + torch.log(torch.tensor(beta, dtype=torch.float64)))
