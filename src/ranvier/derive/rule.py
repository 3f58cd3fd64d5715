"""A traced rule: its operations as a list, from which every backend generates its code."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ranvier.derive.adjoint import adjoint
from ranvier.derive.hoist import Hoisted, evaluate, hoist, value
from ranvier.derive.source import lines, operand
from ranvier.derive.trace import SPIKES, Graph, Operand, trace


@dataclass(frozen=True, eq=False)
class Rule:
    """One step of a neuron.

    `function(*inputs, *states, *params)` returns `(outputs, states)`, two tuples. It is called with tensors (the
    reference) and with symbols (to list its operations). `surrogate(u, *numbers)` is the derivative of a spike at
    distance u to threshold; `numbers` names the parameters of the surrogate, which only backward reads. Two rules with
    equal names and operations have equal keys and share their compiled code.
    """

    name: str
    function: Callable[..., tuple[tuple, tuple]]
    surrogate: Callable[..., Any]
    inputs: tuple[str, ...]
    states: tuple[str, ...]
    params: tuple[str, ...]
    numbers: tuple[str, ...] = ()
    _traced: tuple[tuple[Operand, ...], tuple[Operand, ...], Graph] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_traced", trace(self.function, self.arguments))
        if len(self.after) != len(self.states):
            raise TypeError(
                f"{self.name}: the rule gives {len(self.after)} states, wanted {len(self.states)}: {self.states}"
            )

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of inputs, states and parameters in the graphs. They end with an underscore, so that no other name
        in a kernel is equal to one of them.
        """
        return tuple(f"{n}_" for n in self.inputs + self.states + self.params)

    @property
    def outputs(self) -> tuple[Operand, ...]:
        return self._traced[0]

    @property
    def after(self) -> tuple[Operand, ...]:
        """The states after the step."""
        return self._traced[1]

    @property
    def step(self) -> Graph:
        """The graph of one step: arguments -> outputs and states."""
        return self._traced[2]

    @property
    def spiking(self) -> bool:
        """Whether the rule contains a spike."""
        return any(op.name in SPIKES for op in self.step.ops)

    @property
    def binary(self) -> bool:
        """Whether the first output is a spike, 0 or 1."""
        return any(op.out == self.outputs[0] and op.name in SPIKES for op in self.step.ops)

    @cached_property
    def scaled(self) -> "Rule":
        """The same rule with a norm before it: its first input is (x - centre) scale + shift, where centre, scale and
        shift are three more parameters."""

        def function(x: Any, *values: Any) -> tuple[tuple, tuple]:
            *others, centre, scale, shift = values
            return self.function((x - centre) * scale + shift, *others)

        function.__wrapped__ = self.function
        params = (*self.params, "centre", "scale", "shift")
        return Rule(f"{self.name}_scaled", function, self.surrogate, self.inputs, self.states, params, self.numbers)

    @cached_property
    def advance(self) -> Graph:
        """The graph of one step without outputs: arguments -> states. Backward runs it to recompute the states."""
        return self.step.keeping(self.after)

    @cached_property
    def hoisted(self) -> "tuple[Hoisted, Rule] | None":
        """The costly operations on parameters alone, and the rule without them; None if there are no such operations.
        See `hoist`.
        """
        places = len(self.inputs) + len(self.states)
        kept = tuple(f"{n}_" for n in self.numbers)
        found = hoist(self.step, self.arguments[places:], kept)
        if found is None:
            return None
        hoisted, ops = found
        names = (*self.arguments[:places], *hoisted.given)

        def rest(*values: Any) -> tuple[tuple, tuple]:
            known = evaluate(ops, dict(zip(names, values, strict=True)))
            return tuple(value(a, known) for a in self.outputs), tuple(value(a, known) for a in self.after)

        return hoisted, Rule(self.name, rest, self.surrogate, self.inputs, self.states, hoisted.given, kept)

    def adjoint(self, wanted: tuple[str, ...]) -> Graph:
        """Return the graph of the vector-Jacobian product: arguments, and gradients of the outputs and of the states
        after the step -> gradients of the arguments in `wanted`.
        """
        varying = self.arguments[: len(self.inputs) + len(self.states)]
        return adjoint(self.step, wanted, self.surrogate, varying, tuple(f"{n}_" for n in self.numbers))

    def surrogate_at(self, params: Sequence[Any]) -> Callable[[Any], Any]:
        """Return the derivative of a spike as a function of u alone, for these values of the parameters."""
        numbers = [params[self.params.index(n)] for n in self.numbers]
        return lambda u: self.surrogate(u, *numbers)

    def backward(self, wanted: Sequence[bool]) -> Graph:
        """The graph that backward runs at each step. Its outputs are the gradients of all states before the step, then
        those of the inputs and parameters in `wanted`.
        """
        names, first, last = self.arguments, len(self.inputs), len(self.inputs) + len(self.states)
        asked = [n for n, want in zip((*names[:first], *names[last:]), wanted, strict=True) if want]
        return self.adjoint((*names[first:last], *asked))

    def retraced(self, adjoint: Graph) -> list[int]:
        """The indices of the states that backward must recompute: those that the adjoint reads, and the states on which
        those depend. A linear rule, such as a filter, has none.
        """
        names = self.arguments[len(self.inputs) : len(self.inputs) + len(self.states)]
        seen, reads = [], adjoint.reads
        while more := [k for k, name in enumerate(names) if name in reads and k not in seen]:
            seen = sorted(seen + more)
            reads = self.step.keeping([self.after[k] for k in seen]).reads
        return seen

    @cached_property
    def key(self) -> str:
        whole = self.adjoint(self.arguments)
        text = [self.name, *self.arguments, str(len(self.inputs)), str(len(self.states))]
        for graph in (self.step, whole):
            text += lines(graph) + [operand(o) for o in graph.outputs]
        return f"{self.name}_{hashlib.sha256(chr(10).join(text).encode()).hexdigest()[:16]}"
