"""Eligibility traces on the GPU: each program runs a block of neurons, and a block of the weights into each of them,
with the traces in registers.
"""

from collections.abc import Sequence
from types import ModuleType

from ranvier.backends import numba_backend
from ranvier.backends.traces import Call, Learned, Traces
from ranvier.backends.triton_backend import launch, ops, spread_tuple
from ranvier.derive.influence import Influence
from ranvier.derive.source import lines, load, operand
from ranvier.derive.trace import Operand

NEURONS, WEIGHTS = 16, 64  # neurons and weights of one program
ALONE = 128  # neurons of a program that has no weights


def _observed(learned: Influence) -> str:
    """Return the text of one step: the states after it (unneeded states stay unchanged), and its factors."""
    rule = learned.rule
    i, s = len(rule.inputs), len(rule.states)
    names = rule.arguments
    given = {"inputs": names[:i], "state": names[i : i + s], "parameters": names[i + s :]}
    given["grads"] = tuple(f"g{k}" for k in range(len(rule.outputs)))
    reads = learned.graph.reads | set(names[i : i + s])
    body = [f"{n} = {whole}[{k}]" for whole, each in given.items() for k, n in enumerate(each) if n in reads]
    after = list(names[i : i + s])
    for j, k in enumerate(learned.seen):
        after[k] = learned.graph.outputs[j]  # type: ignore[call-overload]
    body += [*lines(learned.graph), f"return {spread_tuple(after)}, {spread_tuple(learned.found)}"]
    return _function("observed(inputs, state, parameters, grads)", body)


def _sum(learned: Influence, terms: Sequence[tuple[Operand | None, str]], like: str) -> str:
    def named(v: Operand) -> str:
        return f"f{learned.place(v)}" if isinstance(v, str) else operand(v)

    return " + ".join([f"{named(v)}{rest}" for v, rest in terms if v is not None] or [f"{like} * const(0.0)"])


def _trace(learned: Influence, source: str, trace: Sequence[str], times: str, like: str) -> tuple[str, list[str]]:
    """Return, as text, the term that a trace adds to the gradient at this step, and the trace after it."""
    names = [learned.name(s) for s in learned.states]
    through = [(learned.signal.get(n), f" * {e}") for n, e in zip(names, trace, strict=True)]
    each = _sum(learned, [*through, (learned.signal.get(source), times)], like)
    after = []
    for s in learned.states:
        terms = [(learned.partial.get((s, n)), f" * {e}") for n, e in zip(names, trace, strict=True)]
        after.append(_sum(learned, [*terms, (learned.partial.get((s, source)), times)], like))
    return each, after


def _weight_step(learned: Influence) -> str:
    states = range(len(learned.states))
    body = [f"f{j} = found[{j}][:, None]" for j in range(len(learned.found))]
    body += [f"e{s} = trace[{s}]" for s in states]
    each, after = _trace(learned, learned.rule.arguments[0], [f"e{s}" for s in states], " * came", "came")
    return _function("weight_step(found, came, trace)", [*body, f"return {each}, ({''.join(f'{a}, ' for a in after)})"])


def _own_step(learned: Influence) -> str:
    states, sums, traces = len(learned.states), "", ""
    body = [f"f{j} = found[{j}]" for j in range(len(learned.found))]
    body += [f"e{k} = trace[{k}]" for k in range(len(learned.own) * states)]
    for q, name in enumerate(learned.own):
        each, after = _trace(learned, name, [f"e{q * states + s}" for s in range(states)], "", "like")
        sums += f"spread({each}, like), "
        traces += "".join(f"spread({a}, like), " for a in after)
    return _function("own_step(found, trace, like)", [*body, f"return ({sums}), ({traces})"])


def _signal_step(learned: Influence, signals: Sequence[str]) -> str:
    values = [learned.signal.get(name, 0.0) for name in signals]
    row = "".join(
        f"found[{learned.place(v)}], " if isinstance(v, str) else f"spread({operand(v)}, like), " for v in values
    )
    return _function("signal_step(found, like)", [f"return ({row})"])


def _function(signature: str, body: Sequence[str]) -> str:
    return "\n".join(["@triton.jit", f"def {signature}:", *(f"    {line}" for line in body)]) + "\n"


_modules: dict[tuple, ModuleType] = {}


def _module(call: Call) -> ModuleType:
    learned, dtype = call.learned, call.initial.dtype
    at = (learned.rule.key, learned.own, tuple(learned.partial), tuple(learned.signal), call.signals, dtype)
    if at not in _modules:
        rows = numba_backend.loops("ranvier.backends", "triton_kernels.py")
        steps = _observed(learned), _weight_step(learned), _own_step(learned), _signal_step(learned, call.signals)
        loops = numba_backend.loops("ranvier.backends", "triton_traces_kernels.py")
        _modules[at] = load(f"{learned.rule.name}_traces_gpu", "\n\n".join((ops(dtype), rows, *steps, loops)))
    return _modules[at]


def carry_traces(call: Call, traces: Traces) -> Learned:
    """Update the traces in place through all steps of a call, and return the gradients."""
    learned, layout, like = call.learned, call.layout, call.initial
    (steps, neurons), width = call.inputs[0].shape, call.came.shape[2]
    into, sums = like.new_zeros(neurons, width), like.new_zeros(len(learned.own), neurons)
    signals = [like.new_empty(steps, neurons) for _ in call.signals]
    if not call.inputs[0].numel():
        return Learned(like.new_zeros(layout.channels, width), sums, signals)
    code, states = _module(call), len(learned.states)
    still = tuple(0 if len(g) == 1 else g.stride(0) for g in call.grads)
    given = tuple(call.inputs), like, tuple(call.params), tuple(call.grads), still
    wide = tuple(map(int, numba_backend.per_neuron(call.params)))
    constants = {"wide": wide, "S": like.shape[0]}
    if learned.own or signals:
        own = traces.own.view(-1, neurons)
        launch(
            code.carry_own, -(-neurons // ALONE), like, *given, own, sums, tuple(signals), steps, neurons,
            **constants, QS=len(learned.own) * states, Q=len(learned.own), BLOCK=ALONE, num_warps=4,
        )  # fmt: skip
    if width:
        blocks = -(-width // WEIGHTS)
        launch(
            code.carry_weights, -(-neurons // NEURONS) * blocks, like, *given, call.came, traces.weight, into, steps,
            neurons, width, layout.channels * layout.places, layout.places, call.came.shape[1], blocks,
            **constants, TRACED=states, BLOCK=NEURONS, WIDTH=WEIGHTS, num_warps=4,
        )  # fmt: skip
    return Learned(into.view(*layout, width).sum((0, 2)), sums, signals)
