"""Traces of the inputs, shared by all neurons of a layer. They are sufficient if the states of the neurons are linear
functions of their inputs, and all neurons have the same decay.

Then the trace e[n, k, t] = A e[n, k, t-1] + b a[k, t] of input k is the same for every neuron n. So a layer stores K
numbers per state instead of N K. The gradient of the weight is one matrix product.
"""

from typing import Any

import torch
from torch import Tensor

from ranvier.backends import choose, op
from ranvier.derive.hoist import evaluate, value
from ranvier.derive.rule import Rule
from ranvier.ops import spike_derivative


class Inputs:
    """The traces of the inputs for one call of a layer: for each of its weights a tensor [S, *a_t], where *a_t is the
    shape of the weight's input at one step.
    """

    def __init__(self, rule: Rule, factors: list[Tensor], work: Any):
        self.rule, self.factors = rule, factors
        self.wires, self.learned, self.shape = work.wires, work.learned, work.shape

    @classmethod
    def of(cls, work: Any) -> "Inputs":
        learned, layer = work.learned, work.layer
        names = [learned.name(s) for s in learned.states]
        x = learned.rule.arguments[0]
        places = [(s, a) for s in learned.states for a in (*names, x)]
        given = {n: torch.zeros((), dtype=torch.float64, device="cpu") for n in learned.graph.inputs}
        params = zip(learned.rule.arguments[-len(work.given.params) :], work.given.params, strict=True)
        given |= {n: p.double() for n, p in params}
        with torch.no_grad(), spike_derivative(lambda u: u, torch.float64):
            known = evaluate(learned.graph.ops, given)
        values = [torch.as_tensor(value(learned.partial.get(at, 0.0), known), device="cpu") for at in places]
        if any(v.numel() > 1 for v in values):
            raise ValueError(
                f"layer {layer.path!r}: traces of inputs are shared by all neurons, so all must have the same decay, "
                f'but here each has a decay of its own; use gradient="eprop", which stores a trace for every weight, '
                f"or one decay for the layer"
            )
        factors = [v.reshape(1).to(work.like) for v in values]
        return cls(_linear(len(names)), factors, work)

    def fresh(self) -> dict[str, Tensor]:
        like = self.factors[0] if self.factors else self.wires[0][1]
        return {
            f"input{k}": like.new_zeros(len(self.learned.states), *a.shape[1:]) for k, (_, a) in enumerate(self.wires)
        }

    def _carry(self, a: Tensor, before: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        if not len(before):
            return [], []
        return choose.carry(self.rule, [a.to(before)], list(before), self.factors)

    def after(self, before: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the traces after the call."""
        found = {}
        for k, (_, a) in enumerate(self.wires):
            _, after = self._carry(a, before[f"input{k}"])
            found[f"input{k}"] = torch.stack(after) if after else before[f"input{k}"]
        return found

    def gradients(self, before: dict[str, Tensor], found: Any) -> list[Tensor]:
        """Return the gradient of each weight. It is computed from the traces before each step and the gradients at that
        step.
        """
        out = []
        for k, (wire, a) in enumerate(self.wires):
            shown, _ = self._carry(a, before[f"input{k}"])
            of_x, *_ = found.signals
            of_states = found.signals[len(self.learned.rule.inputs) :]
            g = wire.product(of_x.view(self.shape), a.to(of_x))
            for signal, trace in zip(of_states, shown, strict=True):
                g += wire.product(signal.view(self.shape), trace)
            out.append(g.to(wire.module.weight))
        return out


_RULES: dict[int, Rule] = {}


def _linear(states: int) -> Rule:
    """Return the rule s = A s + b x, whose outputs are the states before the step. Its parameters are A and b, row by
    row.
    """
    if states not in _RULES:

        def function(x: Any, *values: Any) -> tuple[tuple, tuple]:
            before, factors = values[:states], iter(values[states:])
            after = []
            for _ in range(states):
                terms = [next(factors) * s for s in (*before, x)]
                after.append(sum(terms[1:], terms[0]))
            return before, tuple(after)

        params = tuple(f"p{k}" for k in range(states * (states + 1)))
        rule = Rule(f"traces_{states}", function, lambda u: u, ("x",), tuple(f"s{k}" for k in range(states)), params)
        op.register(rule)
        _RULES[states] = rule
    return _RULES[states]
