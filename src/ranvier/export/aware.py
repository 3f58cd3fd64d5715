"""Quantisation-aware training: weights and states are rounded as in the C file, gradients pass unchanged."""

import copy
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ranvier.derive.rule import Rule
from ranvier.export.lowered import fraction
from ranvier.export.weights import BITS, quantise
from ranvier.nn import verbs
from ranvier.nn.neuron import Neuron
from ranvier.ops import clamp, inject
from ranvier.ops import round as nearest

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d)


class FewBits(nn.Module):
    """A parametrisation of weights: integers of `bits` bits times a scale for each output; gradients pass unchanged.

    >>> import torch
    >>> from torch.nn.utils import parametrize
    >>> layer = torch.nn.Linear(4, 3)
    >>> _ = parametrize.register_parametrization(layer, "weight", FewBits(2))
    >>> len(layer.weight[0].abs().unique()) <= 2  # 0, and the scale
    True
    """

    def __init__(self, bits: int = 8):
        super().__init__()
        if bits not in BITS:
            raise ValueError(f"FewBits: weights have {sorted(BITS)} bits (2: ternary), got {bits!r}")
        self.bits = bits

    def forward(self, weight: Tensor) -> Tensor:
        q, scale = quantise(weight.detach().cpu().numpy(), self.bits)
        rounded = torch.from_numpy(q * scale.reshape(-1, *[1] * (weight.dim() - 1))).to(weight)
        return weight + (rounded - weight).detach()

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight

    def extra_repr(self) -> str:
        return f"bits={self.bits}"


def fixed_point(neuron: Neuron, fractions: dict[str, int], bits: int = 16) -> Neuron:
    """Return a copy of a neuron whose states are rounded and clamped to fixed-point numbers of `bits` bits after every
    step.

    Gradients are computed as if states were not rounded (straight-through). fractions: {state: number of binary
    places}.

    >>> import torch, ranvier as rv
    >>> fixed = fixed_point(rv.LI(beta=0.5), {"v": 1})  # halves
    >>> fixed(torch.full((2, 1, 1), 0.7)).flatten(), rv.record(fixed, torch.full((2, 1, 1), 0.7))[""].flatten()
    (tensor([0.7000, 0.9500]), tensor([0.7000, 0.9500]))
    >>> rv.scan(fixed, torch.full((2, 1, 1), 0.7))[1]
    {'': {'v': tensor([[1.]])}}
    """
    if unknown := fractions.keys() ^ neuron.states.keys():
        raise ValueError(f"fixed_point: fractions must name the states {list(neuron.states)}, not {sorted(unknown)}")
    made = copy.deepcopy(neuron)
    made.__class__ = _fixed(type(neuron))
    made.__dict__["fractions"], made.__dict__["state_bits"] = dict(fractions), bits
    made._rules.clear()
    return made


class _Fixed:
    """A base class that is put before the class of a neuron, and rounds its states."""

    fractions: dict[str, int]
    state_bits: int
    states: dict[str, Any]

    def __reduce_ex__(self, protocol: Any) -> tuple:
        kind = type(self).__bases__[1]  # `type(self)` is made at run time, so pickle stores the class of the neuron
        return _empty, (kind,), self.__getstate__()  # type: ignore[attr-defined]

    def get_extra_state(self) -> Tensor:
        """Return the bits of the states, then the fractional bits of each state; the trained weights depend on them."""
        return torch.tensor([self.state_bits, *(self.fractions[k] for k in self.states)])

    def set_extra_state(self, state: Tensor) -> None:
        bits, *places = (int(n) for n in state)
        self.__dict__["fractions"], self.__dict__["state_bits"] = dict(zip(self.states, places, strict=True)), bits
        self._rules.clear()  # type: ignore[attr-defined]

    def plain_rule(self) -> Rule:
        """Return the rule without rounding of its states: in integer arithmetic they are rounded already."""
        return super()._bind(())  # type: ignore[misc]

    def _bind(self, names: tuple[str, ...], *given: Any) -> Rule:
        rule: Rule = super()._bind(names, *given)  # type: ignore[misc]

        def function(*values: Any) -> tuple[tuple, tuple]:
            outputs, states = rule.function(*values)
            return outputs, tuple(map(self._rounded, self.states, states))

        function.__wrapped__ = rule.function.__wrapped__  # type: ignore[attr-defined]
        return replace(rule, name=f"{rule.name}_fixed", function=function)

    def _rounded(self, name: str, value: Any) -> Any:
        one, high = 2.0 ** self.fractions[name], 2.0 ** (self.state_bits - 1) - 1
        if isinstance(value, float):
            return max(-high, min(high, round(value * one))) / one
        return inject(value, clamp(nearest(value * one), -high, high) / one)


@cache
def _fixed(kind: type) -> type:
    return type(f"Fixed{kind.__name__}", (_Fixed, kind), {})


def _empty(kind: type) -> Any:
    return object.__new__(_fixed(kind))


def quantised(net: nn.Module, sample: Tensor, bits: int = 8, state_bits: int = 16) -> nn.Module:
    """Return a copy of a network that computes with the same numbers as its C file: train the copy, then export it.

    Weights get the parametrisation `FewBits`. States of neurons are rounded by `fixed_point`; their number of binary
    places is chosen from the range of the states on `sample` [T, B, *features].

    >>> import torch, ranvier as rv
    >>> net = rv.Sequential(torch.nn.Linear(4, 8), rv.LIF(), torch.nn.Linear(8, 2), rv.LI())
    >>> aware = quantised(net, torch.rand(10, 5, 4), bits=4)
    >>> aware(torch.rand(10, 5, 4)).sum().backward()
    >>> aware[0].parametrizations.weight.original.grad.shape
    torch.Size([8, 4])
    """
    made = copy.deepcopy(net)
    reached = _reached(made, sample)
    for path, layer in list(made.named_modules()):
        if isinstance(layer, WEIGHTED) and not parametrize.is_parametrized(layer, "weight"):
            parametrize.register_parametrization(layer, "weight", FewBits(bits))
        if isinstance(layer, Neuron) and path in reached:
            fractions = {k: fraction(most, state_bits) for k, most in reached[path].items()}
            parent, _, name = path.rpartition(".")
            if not path:
                return fixed_point(layer, fractions, state_bits)
            setattr(made.get_submodule(parent), name, fixed_point(layer, fractions, state_bits))
    return made


def _reached(net: nn.Module, sample: Tensor) -> dict[str, dict[str, float]]:
    """Return the largest absolute value of every state of every neuron, by the neuron's path."""
    found: dict[str, dict[str, float]] = {}
    names = {n for m in net.modules() if isinstance(m, Neuron) for n in m.states}
    with torch.no_grad():
        for name in names:
            for path, trace in verbs.record(net, sample, name).items():
                layer = net.get_submodule(path)
                where = path if isinstance(layer, Neuron) else f"{path}.neuron"
                if isinstance(net.get_submodule(where), Neuron):
                    most = float(np.abs(trace.numpy(force=True)).max(initial=0.0))
                    found.setdefault(where, {})[name] = most
    return found
