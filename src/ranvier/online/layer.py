"""One layer that learns forward in time: its weights, the neurons that they drive, and the rule whose influence is
traced.
"""

import copy
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.derive.influence import Influence, check_constant, check_reaches, constant, followed, influence
from ranvier.derive.rule import Rule
from ranvier.nn.fold import fold
from ranvier.nn.neuron import Neuron
from ranvier.nn.recurrent import Recurrent
from ranvier.nn.verbs import Book, opened
from ranvier.online.methods import Method
from ranvier.online.wire import Wire
from ranvier.online.work import Eligible, Work

Carried = dict[str, Any]  # "state", and the traces by name


def _detached(neuron: Neuron) -> Neuron:
    """Return a copy of the neuron without a gradient through its reset, or the neuron itself if it has no such
    option.
    """
    if "detach_reset" not in neuron.options or neuron.settings["detach_reset"]:
        return neuron
    twin = copy.copy(neuron)
    twin.__dict__ |= {"settings": {**neuron.settings, "detach_reset": True}, "_rules": {}}
    return twin


class _Within(Book):
    """A hook for one run: `layer` is run by the function `run_layer`, and all layers inside it run as usual."""

    def __init__(self, layer: nn.Module, run_layer: Callable[[Any], tuple[Any, Carried]]):
        super().__init__({}, {})
        self.layer, self.run_layer, self.found = layer, run_layer, Carried()

    @property
    def singly(self) -> bool:
        return True

    def run(self, layer: Any, x: Any, runs: Any) -> Any:
        if layer is not self.layer:
            return runs.run(x)[0]
        y, self.found = self.run_layer(x)
        return y


class Layer:
    """Neurons and the weights that drive them, if there are any; recurrent neurons have further weights."""

    def __init__(self, path: str, module: nn.Module, before: nn.Module | None = None):
        self.path, self.module = path, module
        self.recurrent = module if isinstance(module, Recurrent) else None
        self.neuron: Neuron = module.neuron if isinstance(module, Recurrent) else module  # type: ignore[assignment]
        self.wire = Wire(before) if before is not None else None
        self.back = Wire(module.feedback) if isinstance(module, Recurrent) else None
        self.layers = [m for m in (before, module) if m is not None]
        self.readout: Layer | None = None  # the layer above, if it is a linear readout and the only layer above
        self.reads = False  # whether this layer is such a readout of another layer
        self.says = ""
        self._rules: dict[Method, tuple[tuple, Rule]] = {}
        self._learned: dict[tuple, Influence] = {}

    @classmethod
    def is_one(cls, module: nn.Module) -> bool:
        """Whether the module is a neuron defined by one rule, or a recurrent layer of such neurons with linear
        feedback.
        """
        if isinstance(module, Recurrent):
            return type(module.feedback) is nn.Linear
        return isinstance(module, Neuron)

    @cached_property
    def linear(self) -> bool:
        """Whether this layer is a linear readout: it does not spike, its state is a linear function of its past inputs,
        and this function is the same for all its neurons.
        """
        rule = self.neuron.bound(())
        plain = self.recurrent is None and not rule.spiking and len(rule.inputs) == len(rule.outputs) == 1
        one = all(getattr(self.neuron, k).numel() == 1 for k in self.neuron.params)
        return plain and one and constant(influence(rule, ()))

    def rule(self, method: Method) -> Rule:
        """Return the rule whose influence is traced. Depending on the method, its reset is detached, and the readout
        above is part of it.
        """
        reads = self.readout.neuron.bound(()) if method.reads and self.readout else None
        made_of = self.neuron.bound(()), reads
        if self._rules.get(method, (None, None))[0] != made_of:
            rule = _detached(self.neuron).bound(()) if method.detached else made_of[0]
            self._rules[method] = made_of, followed(rule, reads) if reads else rule
        return self._rules[method][1]

    def learned(self, method: Method, own: Sequence[str], weights: bool) -> Influence:
        """Return the influence of the layer's own parameters, and of its weights if any are learned."""
        rule, at = self.rule(method), (method, tuple(own), weights)
        if at not in self._learned or self._learned[at].rule is not rule:
            what = f"layer {self.path!r} ({type(self.module).__name__})"
            if weights:
                check_reaches(rule, what)
            if weights and method.traces == "inputs":
                check_constant(influence(rule, ()), what)
            self._learned[at] = influence(rule, own, weights, method.traces != "none")
        return self._learned[at]

    def run(self, a: Any, carried: Carried | None, method: Method, keep: bool = False, reuse: bool = False) -> tuple:
        """Run the layer: a [T, B, *features] -> y [T, B, *features'], and a dictionary for the next call with the state
        and, if `keep`, the traces.

        In backward, the gradient of the weights is computed from the gradient of y and the traces. The gradient of a at
        a step depends only on the gradient of y at the same step. reuse: the traces in `carried` are updated in place,
        either in backward or by `advance`.
        """
        first: Tensor = a[0] if isinstance(a, tuple) else a
        if not first.numel():
            return self.through_time(a, carried)  # there are no steps to learn from
        x: Any = a if self.wire is None else self.wire(a)  # type: ignore[arg-type]
        return self._called(x, lambda x: self._learning(a, x, carried or {}, method, keep, reuse))

    def _learning(self, a: Any, x: Any, carried: Carried, method: Method, keep: bool, reuse: bool) -> tuple:
        with torch.no_grad():
            y, state, _ = self.module.run(x, carried.get("state"))  # type: ignore[operator]
        work = Work(self, method, a, x, y, carried)
        if not work.learns:
            return work.passed(), {"state": state}
        if reuse:
            work.before = work.before if work.before is not None else work.fresh()
            self.pending, after = work, work.before
        elif keep:
            after = work.carried_on()
        ys = Eligible.apply(work, *work.tensors)
        y = ys[0] if len(ys) == 1 else ys
        return y, {"state": state, "traces": after} if keep or reuse else {"state": state}

    def through_time(self, a: Any, carried: Carried | None) -> tuple[Any, Carried]:
        """Run the layer like `run`, but with backpropagation through all steps of this call instead of traces."""
        x = a if self.wire is None else fold(self.wire.module, a)
        return self._called(x, lambda x: self._going_back(x, carried or {}))

    def _going_back(self, x: Any, carried: Carried) -> tuple[Any, Carried]:
        y, state, _ = self.module.run(x, carried.get("state"))  # type: ignore[operator]
        return y, {**carried, "state": state}

    def _called(self, x: Any, run: Callable[[Any], tuple[Any, Carried]]) -> tuple[Any, Carried]:
        """Call the module on x, but let `run` compute the result. The module is called so that its hooks run too."""
        book = _Within(self.module, run)
        with opened(book):
            return self.module(x), book.found

    def plain(self, a: Any) -> Any:
        return self.through_time(a, None)[0]

    pending: "Work | None" = None
    carries = True

    def advance(self) -> None:
        """Update the traces for the last steps if there was no backward pass."""
        if self.pending is not None:
            with torch.no_grad():
                self.pending.learn(None)
            self.pending = None
