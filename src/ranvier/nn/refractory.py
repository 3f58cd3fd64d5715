"""A refractory period for any spiking neuron."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ranvier.backends import choose, op
from ranvier.derive.rule import Rule
from ranvier.nn import arguments
from ranvier.nn.neuron import Neuron
from ranvier.nn.temporal import Temporal, promoted
from ranvier.ops import abs, gated, maximum, where


class Refractory(Temporal):
    """A spiking neuron that does not spike for the time `period` after each of its spikes.

    After a spike, for n = ceil(period / dt) steps, the neuron does not spike, so there is no reset and no adaptation by
    spikes. Its membrane stays at the value after the reset; other states are updated as usual. Rounding errors in
    period / dt are ignored: 0.3 / 0.1 counts as 3. The state "left" is the number of these steps that are left.

    neuron: any `Neuron` whose rule contains `spike`. period: a number, or one per neuron, in the unit of dt (in steps
    if dt is 1). held: the names of the states that do not change during the period; by default "v", or the first state
    if there is no "v". x [T, B, *features] -> z of the same shape.

    >>> import torch, ranvier
    >>> ranvier.Refractory(ranvier.LIF(), period=2)(torch.full((7, 1, 1), 1.5)).flatten()
    tensor([1., 0., 0., 1., 0., 0., 1.])
    """

    silence: Tensor

    def __init__(
        self, neuron: Neuron, period: float | Tensor = 1.0, dt: float = 1.0, held: Sequence[str] | None = None
    ):
        super().__init__()
        if not isinstance(neuron, Neuron) or not neuron.spiking:
            raise TypeError(f"Refractory: the first argument must be a neuron whose rule calls spike, got {neuron!r}")
        wait = arguments.value("Refractory: period", period, None, 0.0, math.inf).double()
        quotient = wait / arguments.positive("Refractory: dt", dt)
        if held is None:
            held = ("v",) if "v" in neuron.states else tuple(neuron.states)[:1]
        if unknown := set(held) - set(neuron.states):
            raise ValueError(f"Refractory: held names {sorted(unknown)}, but the states are {list(neuron.states)}")
        self.neuron, self.held, self.records = neuron, tuple(held), (*neuron.states, "left", "z")
        self.register_buffer("silence", torch.ceil(quotient * (1.0 - 1e-6)).to(torch.get_default_dtype()))
        self._rules: dict[tuple[str, ...], tuple[Rule, Rule]] = {}  # (rule of the neuron, rule of this layer)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_rules": {}}  # the copy builds them again when needed

    def bound(self, names: tuple[str, ...]) -> Rule:
        inner, held = self.neuron.bound(()), self.held
        if names not in self._rules or self._rules[names][0] is not inner:  # the neuron was changed
            n, s = len(inner.inputs), len(inner.states)

            def function(*values: Any) -> tuple[tuple, tuple]:
                left, silence = values[n + s], values[-1]
                silent = left > 0.0
                with gated(lambda z: where(silent, 0.0, z)):
                    outputs, after = inner.function(*values[: n + s], *values[n + s + 1 : -1])
                before = zip(inner.states, values[n : n + s], after, strict=True)
                kept = [where(silent, old, new) if name in held else new for name, old, new in before]
                left = where(abs(outputs[0]) > 0.0, silence, maximum(left - 1.0, 0.0))
                named = {**dict(zip(inner.states, kept, strict=True)), "left": left, "z": outputs[0]}
                return (*outputs, *(named[k] for k in names)), (*kept, left)

            states, params = (*inner.states, "left"), (*inner.params, "silence")
            name = f"Refractory_{inner.name}"
            rule = Rule(name, function, inner.surrogate, inner.inputs, states, params, inner.numbers)
            op.register(rule)
            self._rules[names] = inner, rule
        return self._rules[names][1]

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        xs = self.neuron._inputs(x)
        dtype = promoted(xs[0].dtype)
        if state is None:
            begin = xs[0].sum(0)
            state = {**self.neuron.initial(begin), "left": torch.zeros_like(begin, dtype=dtype)}
        inner = self.neuron._state(xs[0], {k: v for k, v in state.items() if k != "left"})
        before = [*inner.values(), state["left"].to(dtype)]
        params = [*self.neuron.values(xs[0]), self.silence]
        values, after = choose.carry(self.bound(names), xs, before, params)
        outputs, traced = values[: len(values) - len(names)], values[len(values) - len(names) :]
        y = outputs[0] if len(outputs) == 1 else tuple(outputs)
        return y, dict(zip((*inner, "left"), after, strict=True)), dict(zip(names, traced, strict=True))

    def explain(self, x: Any) -> str:
        return self.neuron.explain(x)
