"""How one step changes the derivatives of a neuron's states with respect to its parameters, as a flat list of
operations. Learning forward in time needs this.

The influence of a parameter p on the states s of its neuron, e = ds / dp, is updated from step to step,

    e[t] = (ds[t] / ds[t-1]) e[t-1] + ds[t] / dp,

and the gradient of a loss at step t is the gradient of the outputs, g[t], times (dy[t] / ds[t-1]) e[t-1] + dy[t] / dp.
All factors are derivatives of one step of one neuron, so they are numbers per neuron. A weight acts through the input
x: ds / dw = ds / dx times the number that the weight multiplies. Williams & Zipser, A learning algorithm for
continually running fully recurrent neural networks, 1989.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ranvier.derive.adjoint import pulled
from ranvier.derive.operations import OPERATIONS
from ranvier.derive.rule import Rule
from ranvier.derive.trace import Graph, Operand, RuleError, Symbol, Tracer


@dataclass(frozen=True)
class Influence:
    """The nonzero derivatives of one step of a rule.

    `states` are the states that have traces: a learned parameter or weight influences them, and they influence an
    output. `own` are the arguments (names as in `Rule.arguments`) that have traces of their own, one number per state.
    The inputs of the graph are the arguments and the gradients g0, g1, ... of the outputs; its outputs are some states
    after the step (`seen` lists which), then the derivatives `found`. `signal`: for each argument, the gradient of this
    step's outputs with respect to it. `partial`: for a state and an argument, the derivative of the state after the
    step with respect to the argument. Each value in `signal` and `partial` is one of `found`, or a plain number.
    """

    rule: Rule
    own: tuple[str, ...]
    states: tuple[int, ...]
    seen: tuple[int, ...]
    graph: Graph
    signal: dict[str, Operand]
    partial: dict[tuple[int, str], Operand]

    @property
    def found(self) -> tuple[Operand, ...]:
        return self.graph.outputs[len(self.seen) :]

    def name(self, state: int) -> str:
        """Return the name of a state among the arguments."""
        return self.rule.arguments[len(self.rule.inputs) + state]

    def place(self, value: Operand) -> int:
        """Return the index of a value in `found`."""
        return self.found.index(value)


def influence(rule: Rule, own: Sequence[str], inputs: bool = True, carried: bool = True) -> Influence:
    """Derive the influence of the arguments in `own` and, if `inputs`, of a weight that the first input is multiplied
    by.

    carried: whether the influence on the states continues to the next step; if not, only the current step counts.
    """
    graph = rule.step.keeping(rule.step.outputs).numbered()
    outputs, places = graph.outputs[: len(rule.outputs)], len(rule.inputs)
    after, names = graph.outputs[len(rule.outputs) :], rule.arguments[places : places + len(rule.states)]
    tracer = Tracer(ops=graph.ops)
    rest = surrogate, varying, numbers = rule.surrogate, rule.arguments[: places + len(names)], _numbers(rule)
    seeds = [(y, Symbol(f"g{k}", tracer)) for k, y in enumerate(outputs)]
    signal = _named(pulled(graph, tracer, seeds, surrogate, varying, numbers))
    partial: dict[tuple[int, str], Operand] = {}
    if carried:
        for k, value in enumerate(after):
            found = _named(pulled(graph, tracer, [(value, 1.0)], *rest))
            partial |= {(k, a): v for a, v in found.items() if v != 0.0}
    sources = {*own, *rule.arguments[: int(inputs)]}
    states = _between(partial, signal, names, sources)
    wanted = [*rule.arguments[:places], *own, *(names[k] for k in states)]
    signal = {a: signal[a] for a in wanted if a in signal}
    partial = {(k, a): v for (k, a), v in partial.items() if k in states and a in wanted}
    given = graph.inputs + tuple(f"g{k}" for k in range(len(outputs)))
    whole = Graph(given, tuple(tracer.ops), (*signal.values(), *partial.values()))
    whole, renamed = _simplified(whole)
    signal = {a: renamed(v) for a, v in signal.items()}
    partial = {at: renamed(v) for at, v in partial.items()}
    found = tuple(dict.fromkeys(v for v in (*signal.values(), *partial.values()) if isinstance(v, str)))
    seen = tuple(rule.retraced(Graph(given, whole.ops, found).keeping(found)))
    kept = tuple(renamed(after[k]) for k in seen) + found
    return Influence(rule, tuple(own), states, seen, replace(whole, outputs=kept).keeping(kept), signal, partial)


def _numbers(rule: Rule) -> tuple[str, ...]:
    return tuple(f"{n}_" for n in rule.numbers)


def _named(gradient: dict[str, Any]) -> dict[str, Operand]:
    return {a: v.name if isinstance(v, Symbol) else float(v) for a, v in gradient.items()}


def _between(partial: dict, signal: dict, names: Sequence[str], sources: set[str]) -> tuple[int, ...]:
    """Return the states that the sources influence and that influence an output."""

    def grown(first: set[int], more: Callable[[int, int], bool]) -> set[int]:
        new = first
        while new:
            new = {k for k in range(len(names)) if k not in first and any(more(k, other) for other in first)}
            first = first | new
        return first

    reached = grown({k for k, a in partial if a in sources}, lambda k, other: (k, names[other]) in partial)
    read = grown({k for k, a in enumerate(names) if a in signal}, lambda k, other: (other, names[k]) in partial)
    return tuple(sorted(reached & read))


def _simplified(graph: Graph) -> tuple[Graph, Callable[[Operand], Operand]]:
    """Return the graph without multiplications by 1 and additions of 0, and a map from old to new values."""
    same: dict[str, Operand] = {}

    def renamed(a: Operand) -> Operand:
        return same.get(a, a) if isinstance(a, str) else a

    kept = []
    for op in graph.ops:
        args = tuple(map(renamed, op.args))
        unit = {"mul": 1.0, "add": 0.0}.get(op.name)
        if unit is not None and unit in args:
            same[op.out] = args[1 - args.index(unit)]
        elif op.name in ("sub", "div") and args[1] == (0.0 if op.name == "sub" else 1.0):
            same[op.out] = args[0]
        elif op.name == "where" and args[1] == args[2]:
            same[op.out] = args[1]
        else:
            kept.append(replace(op, args=args))
    return Graph(graph.inputs, tuple(kept), tuple(map(renamed, graph.outputs))), renamed


def followed(rule: Rule, readout: Rule) -> Rule:
    """Return one rule for a neuron and its readout: the output of `rule` is the input of `readout`, and the result has
    the output of `readout` only.

    If the readout is linear, the weight between the two may be applied before or after the readout. So the influence on
    the readout can be computed separately for each neuron.
    """

    def function(*values: Any) -> tuple[tuple, tuple]:
        first, params = len(rule.inputs) + len(rule.states), len(rule.params)
        second = first + len(readout.states)
        outputs, after = rule.function(*values[:first], *values[second : second + params])
        read, then = readout.function(outputs[0], *values[first:second], *values[second + params :])
        return read, (*after, *then)

    function.__wrapped__ = rule.function
    states = (*rule.states, *(f"read_{n}" for n in readout.states))
    params = (*rule.params, *(f"read_{n}" for n in readout.params))
    name = f"{rule.name}_{readout.name}"
    return Rule(name, function, rule.surrogate, rule.inputs, states, params, rule.numbers)


# ---------------------------------------------------------------- rules that cannot be learned forward in time
FLAT = {"sign", "floor", "round", "stop"}  # operations without a derivative


def check_reaches(rule: Rule, what: str) -> None:
    """Raise an error if no gradient passes from the output of a rule to its input; the error names the line that stops
    it.
    """
    learned = influence(rule, ())
    x = rule.arguments[0]
    if x in learned.signal or any(a == x for _, a in learned.partial):
        return
    line = next((line for name, _, line in _lines(rule, rule.outputs + rule.after) if name in FLAT), "")
    raise RuleError(
        f"{what}: no gradient passes from the output of {rule.name} to its input\n{line}"
        f"Say spike(...) instead, which has a surrogate derivative, or leave the weights out of training."
    )


def constant(learned: Influence) -> bool:
    """Whether the states influence each other by the same factors at every step."""
    rule = learned.rule
    varying = rule.arguments[: len(rule.inputs) + len(rule.states)]
    changing = _depends(learned.graph, (*varying, *(f"g{k}" for k in range(len(rule.outputs)))))
    return not any(v in changing for v in learned.partial.values())


def check_constant(learned: Influence, what: str) -> None:
    """Raise an error if the factors by which the states influence each other change from step to step. Then the traces
    would differ between neurons, and traces of the inputs, which all neurons share, are not enough.
    """
    if constant(learned):
        return
    rule = learned.rule
    line = next((line for _, product, line in _lines(rule, rule.after) if product), "")
    raise RuleError(
        f"{what}: the state of {rule.name} is not a linear function of the state before\n{line}"
        f'Use gradient="eprop" or "drtrl", which store a trace for every weight; '
        f"or make the line linear in the states."
    )


def _depends(graph: Graph, names: Iterable[str]) -> set[Operand]:
    """Return all values of the graph that depend on these names."""
    vary: set[Operand] = set(names)
    for op in graph.ops:
        if not vary.isdisjoint(op.args):
            vary.add(op.out)
    return vary


class _Lined(Tracer):
    """A tracer that records the line of each operation."""

    def emit(self, name: str, *args: Any) -> Symbol:
        found = super().emit(name, *args)
        self.lines = {**getattr(self, "lines", {}), found.name: self._line()}
        return found


def _lines(rule: Rule, wanted: Sequence[Operand]) -> Iterable[tuple[str, bool, str]]:
    """Yield for each operation of a rule: its name, whether it is nonlinear in inputs and states and passes a gradient,
    and its line in the source.
    """
    import inspect

    tracer = _Lined(getattr(inspect.unwrap(rule.function), "__code__", None))
    outputs, after = rule.function(*(Symbol(n, tracer) for n in rule.arguments))
    ends = [v.name for v in (after if tuple(wanted) == rule.after else (*outputs, *after)) if isinstance(v, Symbol)]
    graph = Graph(rule.arguments, tuple(tracer.ops), tuple(ends))
    vary = _depends(graph, rule.arguments[: len(rule.inputs) + len(rule.states)])
    passes = Graph(graph.inputs, tuple(op for op in graph.ops if op.name != "stop"), graph.outputs)
    needed = {op.out for op in passes.keeping(ends).ops}
    for op in graph.ops:
        many = sum(a in vary for a in op.args)
        nonlinear = OPERATIONS[op.name].scales and (many > 1 if op.name == "mul" else many > 0 and op.name != "div")
        yield op.name, nonlinear and op.out in needed, tracer.lines[op.out]
