"""Traces on the CPU: rows printed from the influence of one step, and loops over tiles of channels.

The traces of a neuron stay in the L1 cache for all steps of a segment, so the time of a segment is arithmetic, not
memory traffic. A single step reads and writes each trace once. The channels are divided among threads; each channel
sums the gradients of its own weights.
"""

from collections.abc import Sequence
from types import ModuleType

import torch

from ranvier.backends import numba_backend
from ranvier.backends.autograd import array
from ranvier.backends.buffers import scratch
from ranvier.backends.threads import spread
from ranvier.backends.traces import Call, Learned, Traces
from ranvier.derive.influence import Influence
from ranvier.derive.source import operand
from ranvier.derive.trace import Operand

TILE = 64  # neurons whose factors are computed together
SEGMENT = 32  # steps of a segment: their factors are kept
TOGETHER = 4  # steps that update a trace in one pass
WORTH = 200_000  # below this number of products one thread is faster than two


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
    """Print the update of the traces of the own arguments for neurons lo..hi, vectorised over
    neurons.
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


def _weight_row(learned: Influence, steps: int) -> str:
    """Print the update of the traces of the weights into one neuron, vectorised over weights. The neuron is number n in
    its tile and number m of all. Several steps are done together, so that a trace is read and written once for all of
    them.
    """
    states, took = range(len(learned.states)), range(steps)
    traces = [_Trace(learned, learned.rule.arguments[0], f"x{u}", f"s{u}_") for u in took]
    lines = [f"s{u}_f{j} = found[t + {u}, {j}, n]" for u in took for j in range(len(learned.found))]
    lines += [f"came{u} = row(came, at + {u} * stride, 0, w)" for u in took]
    lines += [f"t{s} = row(weight, {s} * neurons + m, 0, w)" for s in states]
    head = [f"e{s} = t{s}[k]" for s in states]
    carry, sums = list(head), [*head, "sum = into[k]"]
    for u, trace in zip(took, traces, strict=True):
        carry += [f"x{u} = came{u}[k]"]
        after = [f"new{s} = {text}" for s, text in enumerate(trace.after)] + [f"e{s} = new{s}" for s in states]
        sums += [f"x{u} = came{u}[k]", f"sum += {trace.each}", *after]
        carry += after
    store = [f"t{s}[k] = e{s}" for s in states]
    quiet = [f"{trace.named(v)} == const(0.0)" for trace in traces for v in dict.fromkeys(trace.signals)]
    lines += [f"if {' and '.join(quiet) or 'True'}:", "    for k in range(w):"]
    lines += [f"        {line}" for line in (*carry, *store)]
    lines += ["else:", "    for k in range(w):", *(f"        {line}" for line in (*sums, *store, "into[k] = sum"))]
    return _function(f"weight_row_{steps}(n, m, neurons, w, t, found, at, stride, came, weight, into)", lines)


def _signal_row(learned: Influence, signals: Sequence[str]) -> str:
    """Print the function that computes the gradients of some arguments at step t."""
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
    """Return the compiled code for calls like this one."""
    learned, wide, dtype = call.learned, numba_backend.per_neuron(call.params), call.initial.dtype
    at = (learned.rule.key, learned.own, tuple(learned.partial), tuple(learned.signal), call.signals, wide, dtype)
    if at not in _modules:
        rows = (
            _influence_row(learned, wide),
            _own_row(learned),
            *(_weight_row(learned, steps) for steps in (TOGETHER, 1)),
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
    signals = [like.new_empty(steps, neurons) for _ in call.signals]
    if not call.inputs[0].numel():
        return Learned(weight, own, signals)
    states = len(learned.states)
    code, segment = compiled(call), min(SEGMENT, steps)
    tile = max(1, TILE // layout.places)
    arrays = (
        _arrays(call.inputs), like.numpy(), tuple(map(array, call.params)), _arrays(call.grads),
        call.came.view(steps * layout.batch * layout.places, width).numpy(),
        traces.weight.view(states * neurons, width).numpy(),
        traces.own.view(len(learned.own) * states, neurons).numpy(), weight.numpy(), own.numpy(), _arrays(signals),
    )  # fmt: skip

    def work(lo: int, hi: int) -> None:
        before = scratch("traced", (2, like.shape[0], tile * layout.places), like.dtype).numpy()
        found = scratch("found", (segment, len(learned.found), tile * layout.places), like.dtype).numpy()
        numba_backend.timed(learned.rule.name, code.traces, lo, hi, tile, steps, *layout, *arrays, before, found)

    spread(work, layout.channels, tile, steps * neurons * (1 + width) >= WORTH)
    return Learned(weight, own, signals)


def _arrays(tensors: Sequence[torch.Tensor]) -> tuple:
    return tuple(t.numpy() for t in tensors)
