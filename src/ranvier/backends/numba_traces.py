"""Eligibility traces on the CPU: rows printed from the influence of one step, and loops over tiles of channels.

A call of few steps updates each trace of a weight at every step. A call of many steps is divided into segments, and
updates each trace once per segment. This is possible because traces after a segment are linear functions of the inputs
a[t] in it and of the traces e before it:

    gradient  +=  sum_t error_t a[t] + sum_s start_s e_s
    e_s after  =  sum_t source_st a[t] + sum_r passed_sr e_r

The factors are numbers per neuron; compiled code computes them by going forward through the segment once, and back
once. The sums are matrix products. The results equal those of single steps except for rounding, since the sums have
another order.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ranvier.backends import numba_backend
from ranvier.backends.autograd import array
from ranvier.backends.buffers import scratch
from ranvier.backends.threads import spread
from ranvier.backends.traces import Call, Layout, Learned, Traces
from ranvier.derive.influence import Influence
from ranvier.derive.source import operand
from ranvier.derive.trace import Operand

TILE = 64  # neurons whose factors are computed together
WIDE = 256  # as TILE, when segments are used
SEGMENT = 128  # most steps of a segment; the factors of all its steps are in memory
FEW = 3  # up to this number of steps the traces are updated at every step
WORTH = 200_000  # number of multiplications below which one thread is faster than two


def _influence_row(learned: Influence, wide: Sequence[bool]) -> str:
    """Print the function that computes the states after a step and the factors of that step."""
    arguments = "inputs, before, params, grads, after, found"
    row = numba_backend.printed_row(learned.rule, "influence_row", arguments, learned.graph, wide)
    for k in range(len(learned.rule.outputs)):
        row.array(f"g{k}", f"row(grads[{k}], min(t, len(grads[{k}]) - 1), lo, hi)")
    for j, k in enumerate(learned.seen):
        row.write(j, f"row(after, {k}, 0, w)")
    for j in range(len(learned.found)):
        row.write(len(learned.seen) + j, f"row(found, {j}, 0, w)")
    return row.text()


class _Trace:
    """The source lines for one trace with the values `e0`, `e1`, ...: its update, its share of the gradient, and its
    factors.
    """

    def __init__(self, learned: Influence, source: str, times: str = "", prefix: str = ""):
        self.learned, self.prefix, times = learned, prefix, f" * {times}" if times else ""
        names = [learned.name(s) for s in learned.states]
        own = learned.signal.get(source)
        through = [(learned.signal.get(name), f" * e{j}") for j, name in enumerate(names)]
        self.each = self._sum([*through, (own, times)])
        self.after = []
        for s in learned.states:
            terms = [(learned.partial.get((s, name)), f" * e{j}") for j, name in enumerate(names)]
            self.after.append(self._sum([*terms, (learned.partial.get((s, source)), times)]))
        self.signals = [v for v in (*(v for v, _ in through), own) if v is not None]

    def _sum(self, terms: Sequence[tuple[Operand | None, str]]) -> str:
        return " + ".join(f"{self.named(v)}{rest}" for v, rest in terms if v is not None) or "const(0.0)"

    def named(self, v: Operand) -> str:
        return f"{self.prefix}f{self.learned.place(v)}" if isinstance(v, str) else operand(v)


def _own_row(learned: Influence) -> str:
    """Print the update of the traces of the own arguments (such as learned parameters) for neurons lo..hi, vectorised
    over neurons.
    """
    head, body, states = ["w = hi - lo"], [], len(learned.states)
    head += [f"row{j} = row(found, {j}, 0, w)" for j in range(len(learned.found))]
    body += [f"f{j} = row{j}[n]" for j in range(len(learned.found))]
    for q, name in enumerate(learned.own):
        trace = _Trace(learned, name)
        head += [f"own{q}_{s} = row(own, {q * states + s}, lo, hi)" for s in range(states)]
        head += [f"sum{q} = row(sums, {q}, lo, hi)"]
        body += [f"e{s} = own{q}_{s}[n]" for s in range(states)]
        body += [f"sum{q}[n] += {trace.each}", *(f"own{q}_{s}[n] = {text}" for s, text in enumerate(trace.after))]
    lines = [*head, "for n in range(w):", *(f"    {line}" for line in body)] if learned.own else ["pass"]
    return _function("own_row(lo, hi, found, own, sums)", lines)


def _weight_row(learned: Influence) -> str:
    """Print the update of the traces of the weights into one neuron, vectorised over weights. The neuron is number n in
    its tile and number m of all neurons.
    """
    states = range(len(learned.states))
    trace = _Trace(learned, learned.rule.arguments[0], "x")
    lines = [f"f{j} = found[{j}, n]" for j in range(len(learned.found))]
    lines += ["came_row = row(came, at, 0, w)", *(f"t{s} = row(weight, {s} * neurons + m, 0, w)" for s in states)]
    head = ["x = came_row[k]", *(f"e{s} = t{s}[k]" for s in states)]
    store = [f"t{s}[k] = {text}" for s, text in enumerate(trace.after)]
    quiet = [f"{trace.named(v)} == const(0.0)" for v in dict.fromkeys(trace.signals)]
    lines += [f"if {' and '.join(quiet) or 'True'}:", "    for k in range(w):"]
    lines += [f"        {line}" for line in (*head, *store)]
    lines += ["else:", "    for k in range(w):"]
    lines += [f"        {line}" for line in (*head, f"into[k] += {trace.each}", *store)]
    return _function("weight_row(n, m, neurons, w, found, at, came, weight, into)", lines)


def _back_row(learned: Influence, name: str, told: bool) -> str:
    """Print the function that goes one step back in time, vectorised over neurons; told: whether the loss of that step
    is included.
    """
    states, x = [learned.name(s) for s in learned.states], learned.rule.arguments[0]

    def back(source: str) -> str:
        own = [learned.signal.get(source)] if told else []
        later = [(learned.partial.get((s, source)), f" * e{j}") for j, s in enumerate(learned.states)]
        terms = [(v, "") for v in own] + later
        return " + ".join(f"{named(v)}{rest}" for v, rest in terms if v is not None) or "const(0.0)"

    def named(v: Operand) -> str:
        return f"f{learned.place(v)}" if isinstance(v, str) else operand(v)

    body = [f"f{j} = row{j}[n]" for j in range(len(learned.found))]
    body += [f"e{j} = reach{j}[n]" for j in range(len(states))]
    body += [f"out[n] = {back(x)}", *(f"reach{j}[n] = {back(s)}" for j, s in enumerate(states))]
    lines = ["w = hi - lo", "out = row(into, t, lo, hi)"]
    lines += [f"row{j} = row(found, {j}, 0, w)" for j in range(len(learned.found))]
    lines += [f"reach{j} = row(reach, {j}, 0, w)" for j in range(len(states))]
    lines += ["for n in range(w):", *(f"    {line}" for line in body)]
    return _function(f"{name}(t, lo, hi, found, reach, into)", lines)


def _signal_row(learned: Influence, signals: Sequence[str]) -> str:
    """Print the function that computes the gradients with respect to the arguments in `signals` at step t."""
    lines = ["w = hi - lo"]
    for j, name in enumerate(signals):
        value = learned.signal.get(name, 0.0)
        lines += [f"into{j} = row(signals[{j}], t, lo, hi)"]
        if isinstance(value, str):
            lines += [f"from{j} = row(found, {learned.place(value)}, 0, w)"]
        lines += [
            "for n in range(w):",
            f"    into{j}[n] = {f'from{j}[n]' if isinstance(value, str) else operand(value)}",
        ]
    return _function("signal_row(t, lo, hi, found, signals)", lines)


def _function(signature: str, lines: Sequence[str]) -> str:
    return "\n".join(["@compiled", f"def {signature}:", *(f"    {line}" for line in lines)]) + "\n"


_modules: dict[tuple, ModuleType] = {}


def compiled(call: Call) -> ModuleType:
    """Return the compiled code for calls with this rule, dtype and choice of gradients."""
    learned, wide, dtype = call.learned, numba_backend.per_neuron(call.params), call.initial.dtype
    at = (learned.rule.key, learned.own, tuple(learned.partial), tuple(learned.signal), call.signals, wide, dtype)
    if at not in _modules:
        rows = (
            _influence_row(learned, wide),
            _own_row(learned),
            _weight_row(learned),
            _back_row(learned, "error_row", True),
            _back_row(learned, "source_row", False),
            _signal_row(learned, call.signals),
        )
        loops = numba_backend.loops("ranvier.backends", "numba_traces_kernels.py")
        text = f"# {'-' * 64} the traces of {learned.rule.name}\n" + "\n\n".join(rows)
        _modules[at] = numba_backend.composed(f"{learned.rule.name}_traces", dtype, text, loops)
    return _modules[at]


def carry_traces(call: Call, traces: Traces) -> Learned:
    """Update the traces in place through all steps of a call, and return the gradients."""
    learned, layout, like = call.learned, call.layout, call.initial
    (steps, neurons), width = call.inputs[0].shape, call.came.shape[2]
    weight, own = like.new_zeros(layout.channels, width), like.new_zeros(len(learned.own), neurons)
    found = Learned(weight, own, [like.new_empty(steps, neurons) for _ in call.signals])
    if call.inputs[0].numel():
        carry = _by_segments if width and (steps > FEW or not traces.kept(width)) else _by_steps
        carry(call, traces, found)
    return found


def _by_steps(call: Call, traces: Traces, into: Learned) -> None:
    learned, layout, like = call.learned, call.layout, call.initial
    (steps, neurons), width = call.inputs[0].shape, call.came.shape[2]
    states, code, tile = len(learned.states), compiled(call), _tile(layout)
    arrays = (
        _arrays(call.inputs), like.numpy(), tuple(map(array, call.params)), _arrays(call.grads),
        call.came.view(steps * layout.batch * layout.places, width).numpy(),
        traces.weight.view(states * neurons, width).numpy(), _own(call, traces), into.weight.numpy(),
        into.own.numpy(), _arrays(into.signals),
    )  # fmt: skip

    def work(lo: int, hi: int) -> None:
        before = scratch("traced", (2, like.shape[0], tile * layout.places), like.dtype).numpy()
        found = scratch("found", (1, len(learned.found), tile * layout.places), like.dtype).numpy()
        numba_backend.timed(learned.rule.name, code.traces, lo, hi, tile, steps, *layout, *arrays, before, found)

    spread(work, layout.channels, tile, steps * neurons * (1 + width) >= WORTH)


def _by_segments(call: Call, traces: Traces, into: Learned) -> None:
    learned, layout, like = call.learned, call.layout, call.initial
    (steps, neurons), width, code = call.inputs[0].shape, call.came.shape[2], compiled(call)
    states, length = len(learned.states), min(SEGMENT, steps)
    state, asked, kept = like.clone(), call.learns, traces.kept(width)
    errors, starts = scratch("errors", (length, neurons), like.dtype), like.new_empty(states, neurons)
    e: Tensor | None = traces.weight if kept else None
    given = _arrays(call.inputs), state.numpy(), tuple(map(array, call.params)), _arrays(call.grads)
    given += _own(call, traces), into.own.numpy(), _arrays(into.signals)
    some = states if kept or steps > length else 0
    sources, passed = (like.new_empty(some, n, neurons) for n in (length, states))
    for begin in range(0, steps, length):
        end = min(begin + length, steps)
        carries = kept or end < steps
        found = errors.numpy(), starts.numpy(), sources.numpy(), passed.numpy(), asked, carries

        def work(lo: int, hi: int, begin: int = begin, end: int = end, found: tuple = found) -> None:
            before = scratch("traced", (2, like.shape[0], WIDE), like.dtype).numpy()
            factors = scratch("found", (length, len(learned.found), WIDE), like.dtype).numpy()
            reach = scratch("reach", (states, WIDE), like.dtype).numpy()
            arguments = lo, hi, WIDE, begin, end, *given, *found, before, factors, reach
            numba_backend.timed(learned.rule.name, code.segment, *arguments)

        spread(work, neurons, WIDE, (end - begin) * neurons * 16 >= WORTH)
        came = call.came[begin:end]
        if asked:
            _add_gradient(into.weight, errors[: end - begin], starts, came, e, call)
        if carries:
            e = _carried(sources[:, : end - begin], passed, came, e, layout)
    if kept and e is not None:
        traces.weight.copy_(e.view_as(traces.weight))


def _add_gradient(into: Tensor, errors: Tensor, starts: Tensor, came: Tensor, e: Tensor | None, call: Call) -> None:
    """Add to `into` [C, K] the sum over steps, samples and places of errors times inputs `came`, and the sum of
    `starts` times the traces e before the segment.
    """
    b, c, p = call.layout
    rows = errors.view(-1, b, c, p).transpose(2, 3).reshape(-1, c)
    into += call.product(rows, came.flatten(0, 1))
    if e is not None and len(starts):
        into += torch.einsum("sbcp,sbcpk->ck", starts.view(-1, b, c, p), e.view(-1, b, c, p, into.shape[1]))


def _carried(sources: Tensor, passed: Tensor, came: Tensor, e: Tensor | None, layout: Layout) -> Tensor:
    """Return the traces after a segment, [S, B, C, P, K], for P places."""
    (states, steps, _), (b, c, p), width = sources.shape, layout, came.shape[2]
    rows = came.view(steps, b * p, width).transpose(0, 1)
    columns = sources.view(states, steps, b, c, p).permute(0, 2, 4, 3, 1).reshape(states, b * p, c, steps)
    after = [torch.bmm(part, rows).view(b, p, c, width).transpose(1, 2) for part in columns]
    old_ones = () if e is None else e.view(states, b, c, p, width)
    for s, part in enumerate(after):
        for r, old in enumerate(old_ones):
            part.addcmul_(passed[s, r].view(b, c, p, 1), old)
    return torch.stack(after) if after else sources.new_empty(0, b, c, p, width)


def _tile(layout: Layout) -> int:
    return max(1, TILE // layout.places)


def _own(call: Call, traces: Traces) -> Any:
    return traces.own.view(-1, call.inputs[0].shape[1]).numpy()


def _arrays(tensors: Sequence[Tensor]) -> tuple:
    return tuple(t.numpy() for t in tensors)
