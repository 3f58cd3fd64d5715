"""Eligibility traces, updated by a plain loop in which torch differentiates each step. The kernels are compared with
this loop.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ranvier.backends.traces import Call, Learned, Traces
from ranvier.ops import spike_derivative


def carry_traces(call: Call, traces: Traces) -> Learned:
    learned, layout, state = call.learned, call.layout, list(call.initial)
    rule, own = learned.rule, learned.own
    weight = call.came.new_zeros(layout.channels, call.came.shape[2])
    sums, signals = call.came.new_zeros(len(own), layout.neurons), [[] for _ in call.signals]
    for t in range(len(call.inputs[0])):
        derivatives = _Step(call, state, t)
        by_state = [derivatives.signal(learned.name(s)) for s in learned.states]
        came = _neurons(call.came[t], call)  # [N, K]
        by_x = derivatives.signal(rule.arguments[0])
        each = sum((g[:, None] * e for g, e in zip(by_state, traces.weight, strict=True)), by_x[:, None] * came)
        weight += each.view(*layout, -1).sum((0, 2))
        for q, name in enumerate(own):
            sums[q] += sum((g * e for g, e in zip(by_state, traces.own[q], strict=True)), derivatives.signal(name))
        for row, name in zip(signals, call.signals, strict=True):
            row.append(derivatives.signal(name))
        _advance(call, derivatives, came, traces)
        state = derivatives.after
    return Learned(weight, sums, [torch.stack(row) for row in signals])


def _neurons(came: Tensor, call: Call) -> Tensor:
    """Expand the inputs [R, K] to one row per neuron: [N, K]."""
    batch, channels, places = call.layout
    rows = came.view(batch, 1, places, -1).expand(batch, channels, places, came.shape[1])
    return rows.reshape(call.layout.neurons, came.shape[1])


def _advance(call: Call, derivatives: "_Step", came: Tensor, traces: Traces) -> None:
    learned, x = call.learned, call.learned.rule.arguments[0]
    names = [learned.name(s) for s in learned.states]
    partial = {(s, a): derivatives.partial(s, a) for s in learned.states for a in (*names, x, *learned.own)}
    before = traces.clone()
    for k, s in enumerate(learned.states):
        traces.weight[k] = partial[s, x][:, None] * came
        traces.own[:, k] = torch.stack([partial[s, a] for a in learned.own]) if learned.own else traces.own[:, k]
        for j, name in enumerate(names):
            traces.weight[k] += partial[s, name][:, None] * before.weight[j]
            traces.own[:, k] += partial[s, name] * before.own[:, j]


class _Step:
    """One step of the rule, with its derivatives."""

    def __init__(self, call: Call, state: Sequence[Tensor], t: int):
        rule, neurons, known = call.learned.rule, call.layout.neurons, call.learned.partial
        given = [*(x[t] for x in call.inputs), *state, *(p.expand(neurons) for p in call.params)]
        self.given = dict(zip(rule.arguments, (v.detach().clone().requires_grad_() for v in given), strict=True))
        self.known, self.like = known, given[0]
        seeds = [g[min(t, len(g) - 1)] for g in call.grads]
        with torch.enable_grad(), spike_derivative(rule.surrogate_at(call.params), self.like.dtype):
            outputs, after = rule.function(*self.given.values())
            total = sum((y * g).sum() for y, g in zip(outputs, seeds, strict=True) if isinstance(y, Tensor))
            self.of_outputs = self._gradient(total)
            self.of_states = [self._gradient(s.sum() if isinstance(s, Tensor) else s) for s in after]
        self.after = [self._whole(s) for s in after]

    def _whole(self, value: Any) -> Tensor:
        like = self.like
        return value.detach().expand_as(like) if isinstance(value, Tensor) else torch.full_like(like, value)

    def _gradient(self, total: Any) -> dict[str, Tensor]:
        zeros = {name: torch.zeros_like(self.like) for name in self.given}
        if not isinstance(total, Tensor) or not total.requires_grad:
            return zeros
        found = torch.autograd.grad(total, list(self.given.values()), allow_unused=True, retain_graph=True)
        return {name: zeros[name] if g is None else g for name, g in zip(self.given, found, strict=True)}

    def signal(self, name: str) -> Tensor:
        return self.of_outputs[name]

    def partial(self, state: int, name: str) -> Tensor:
        """Return the derivative of a state after the step with respect to an argument. It is zero if the state does not
        depend on the argument, or if the influence ignores the dependence.
        """
        return self.of_states[state][name] if (state, name) in self.known else torch.zeros_like(self.like)
