"""The CPU backend: a rule printed as Python functions for Numba, run on tiles of neurons by several threads.

Forward reads 4 bytes and writes 4 bytes per neuron and step. Backward does not save the states of every step; it reads
the input again and recomputes them (8 bytes read, 4 written). Both should be limited by the speed of memory alone; see
`benchmarks/run.py neuron`.
"""

import hashlib
import logging
import math
import time
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib import resources
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from ranvier.backends.autograd import array
from ranvier.backends.backend import Kernels
from ranvier.backends.buffers import empty, room
from ranvier.backends.caches import core_cache
from ranvier.backends.threads import spread, usable
from ranvier.derive.rule import Rule
from ranvier.derive.source import lines, load, operand, undefined
from ranvier.derive.trace import Graph

log = logging.getLogger("ranvier")

LEAST = 256  # fewest neurons per tile when several threads share the neurons: rows must not become too short
TILE = 2048  # most neurons per tile in backward
WORTH = 200_000  # product of neurons and steps below which one thread is faster than two (about 0.3 ms)


Arrays = tuple[np.ndarray, ...]


class Rows:
    """The text of a function that computes one step of a row of neurons: loads, then operations, then stores."""

    def __init__(self, name: str, arguments: str, graph: Graph):
        self.graph, self.head, self.load, self.store, self.rows = graph, [], [], [], {}
        self.signature = f"def {name}(t, lo, hi, {arguments}):"
        self.used = graph.reads

    def array(self, name: str, where: str) -> None:
        """Declare `name` as an array with one number per neuron, read from `where`."""
        if name in self.used:
            self.load.append(f"{name} = {self._at(where)}[n]")

    def number(self, name: str, where: str) -> None:
        """Declare `name` as one number for all neurons."""
        if name in self.used:
            self.head.append(f"{name} = {where}")

    def write(self, k: int, where: str, add: bool = False) -> None:
        """Store output k of the graph in `where`, or add it to the value there."""
        self.store.append(f"{self._at(where)}[n] {'+' if add else ''}= {operand(self.graph.outputs[k])}")

    def _at(self, where: str) -> str:
        """Return the name of the variable for the row at `where`. Each row has only one: with two, the compiler would
        have to assume that they overlap, and could not vectorise.
        """
        if where not in self.rows:
            self.rows[where] = f"row{len(self.rows)}"
            self.head.append(f"{self.rows[where]} = {where}")
        return self.rows[where]

    def _split(self) -> tuple[list[str], list[str]]:
        """Return two lists of lines: the operations with one result for all neurons, which run before the loop over
        neurons, and the operations inside this loop.
        """
        vary = {line.partition(" = ")[0] for line in self.load}
        before, each = [], []
        for op, line in zip(self.graph.ops, lines(self.graph), strict=True):
            if vary.isdisjoint(op.args):
                before.append(line)
            else:
                vary.add(op.out)
                each.append(line)
        return before, each

    def text(self) -> str:
        before, each = self._split()
        inner = self.load + each + self.store or ["pass"]  # a rule without states has nothing to recompute
        body = ["w = hi - lo", *self.head, *before, "for n in range(w):", *(f"    {line}" for line in inner)]
        return "\n".join(["@compiled", self.signature, *(f"    {line}" for line in body)]) + "\n"


def printed_row(rule: Rule, name: str, arguments: str, graph: Graph, wide: Sequence[bool]) -> Rows:
    row = Rows(name, arguments, graph)
    names = iter(rule.arguments)
    for k in range(len(rule.inputs)):
        row.array(next(names), f"row(inputs[{k}], t, lo, hi)")
    for k in range(len(rule.states)):
        row.array(next(names), f"row(before, {k}, 0, w)")
    for k, w in enumerate(wide):
        if w:
            row.array(next(names), f"params[{k}][lo:hi]")
        else:
            row.number(next(names), f"params[{k}][0]")
    return row


def forward_row(rule: Rule, wide: Sequence[bool], name: str = "forward_row") -> str:
    """Return the text of a function that computes one step without gradients."""
    row = printed_row(rule, name, "inputs, before, params, outputs, after", rule.step, wide)
    for k in range(len(rule.outputs)):
        row.write(k, f"row(outputs[{k}], t, lo, hi)")
    for k in range(len(rule.states)):
        row.write(len(rule.outputs) + k, f"row(after, {k}, 0, w)")
    return row.text()


def _advance_row(rule: Rule, wide: Sequence[bool], adjoint: Graph) -> str:
    seen = rule.retraced(adjoint)
    graph = rule.step.keeping([rule.after[k] for k in seen])
    row = printed_row(rule, "advance_row", "inputs, before, params, after", graph, wide)
    for j, k in enumerate(seen):
        row.write(j, f"row(after, {k}, 0, w)")
    return row.text()


def _adjoint_row(rule: Rule, wide: Sequence[bool], wanted: Sequence[bool], graph: Graph) -> str:
    inputs, outputs, states = len(rule.inputs), len(rule.outputs), len(rule.states)
    arguments = "inputs, before, params, g_outputs, carry, g_inputs, g_params"
    row = printed_row(rule, "adjoint_row", arguments, graph, wide)
    for k in range(outputs):
        row.array(f"g{k}", f"row(g_outputs[{k}], min(t, len(g_outputs[{k}]) - 1), lo, hi)")
    for k in range(states):
        row.array(f"g{outputs + k}", f"row(carry, {k}, 0, w)")
        row.write(k, f"row(carry, {k}, 0, w)")
    for j in range(sum(wanted[:inputs])):
        row.write(states + j, f"row(g_inputs[{j}], t, lo, hi)")
    for j in range(sum(wanted[inputs:])):
        row.write(states + sum(wanted[:inputs]) + j, f"row(g_params, {j}, lo, hi)", add=True)
    return row.text()


_modules: dict[tuple, ModuleType] = {}


def module(
    rule: Rule,
    dtype: torch.dtype,
    wide: tuple[bool, ...],
    wanted: tuple[bool, ...] | None = None,
    more: str = "",
) -> ModuleType:
    """Return the compiled code of a rule: its forward loop or, when `wanted` is given, its backward loop.

    wide: which parameters are per neuron; wanted: which inputs and parameters need a gradient; more: the text of
    further loops, which is put at the end.
    """
    at = (rule.key, dtype, wide, wanted, more)
    if at not in _modules:
        if wanted is None:
            rows = [forward_row(rule, wide)]
        else:
            adjoint = rule.backward(wanted)
            rows = [_advance_row(rule, wide, adjoint), _adjoint_row(rule, wide, wanted, adjoint)]
        _modules[at] = _module(rule.name, "\n\n".join(rows), dtype, more)
    return _modules[at]


@cache
def _module(name: str, rows: str, dtype: torch.dtype, more: str) -> ModuleType:
    return composed(name, dtype, f"# {'-' * 64} the rows of {name}\n{rows}", *([more] if more else []))


def composed(name: str, dtype: torch.dtype, *parts: str) -> ModuleType:
    """Load the text of the common kernels in one precision, followed by `parts`, as a module."""
    named = ops(dtype).__name__
    kernels = _text("numba_kernels.py").replace("ranvier.backends.numba_ops", named)
    return load(name, "\n\n".join((kernels, f"from {named} import *", *parts)))


def ops(dtype: torch.dtype) -> ModuleType:
    """Return the module with the ops of a rule, compiled for one precision.

    If `numba_ops.py` does not define an op, it is the function of that name in Python's math module.
    """
    text = _text("numba_ops.py")
    text += "".join(f"\n\n@op\ndef {name}(*a):\n    return real(math.{name}(*a))\n" for name in undefined(text))
    return load("words", text if dtype == torch.float32 else text.replace("real = np.float32", "real = np.float64"))


def _text(file: str) -> str:
    return (resources.files("ranvier.backends") / file).read_text()


@cache
def loops(room: str, file: str) -> str:
    """Return the text of a file with further loops, from its first comment line of dashes on. The imports above that
    line are left out.

    `room` is the package of the file. The text starts with a hash of all files of that package, so that cached code is
    compiled again when one of them changes.
    """
    line = f"# {'-' * 64}"
    texts = {f.name: f.read_text() for f in resources.files(room).iterdir() if f.name.endswith(".py")}
    edition = hashlib.sha256("".join(texts[name] for name in sorted(texts)).encode()).hexdigest()[:16]
    return f"# {room}, edition {edition}\n{line}{texts[file].partition(line)[2]}"


def per_neuron(params: Sequence[Tensor]) -> tuple[bool, ...]:
    """Return which parameters differ from neuron to neuron."""
    return tuple(p.numel() != 1 for p in params)


def timed(name: str, function, *arguments) -> None:
    """Run a kernel; if it had to be compiled first and that took long, log a message."""
    if function.overloads:
        return function(*arguments)
    start = time.perf_counter()
    function(*arguments)
    if (spent := time.perf_counter() - start) > 3:
        log.info("ranvier: first use of %s.%s took %.1f s (compiled; kept on disk)", name, function.__name__, spent)


def _parameters(params: Sequence[Tensor]) -> tuple:
    return tuple(map(array, params))


def _arrays(tensors: Sequence[Tensor], dtype: torch.dtype) -> tuple:
    """Return the tensors as arrays of the dtype that the kernel works in (half and bfloat16 are widened)."""
    return tuple(t.to(dtype).numpy() for t in tensors)


def forward(
    rule: Rule, inputs: Sequence[Tensor], initial: Tensor, params: Sequence[Tensor], into: Sequence[Tensor] = ()
) -> tuple[list[Tensor], Tensor]:
    """Run a rule: inputs [T, N] each, initial [S, N], params [1] or [N] each -> outputs [T, N] each, final [S, N].

    into: tensors for the outputs, if they exist already.
    """
    (steps, neurons), dtype = inputs[0].shape, initial.dtype
    code = module(rule, dtype, per_neuron(params))
    outputs = list(into) or [empty((steps, neurons), dtype) for _ in rule.outputs]
    final = torch.empty_like(initial)
    carry(
        rule.name, code, _arrays(inputs, dtype), initial.numpy(), _parameters(params), _arrays(outputs, dtype),
        final.numpy(),
    )  # fmt: skip
    return outputs, final


def carry(name: str, code: ModuleType, x: Arrays, s: np.ndarray, p: Arrays, y: Arrays, f: np.ndarray) -> None:
    """Run the compiled forward loop on arrays: inputs x, initial state s, parameters p, outputs y and final state f,
    with the shapes of `forward`.
    """
    steps, neurons = x[0].shape
    width = min(wide(len(s), s.itemsize), neurons if steps * neurons < WORTH else _share(neurons, steps))

    def work(lo: int, hi: int) -> None:
        timed(name, code.forward, lo, hi, width, steps, x, s, p, y, f, np.empty((2, len(s), width), s.dtype))

    if steps * neurons < WORTH:
        return work(0, neurons)
    spread(work, neurons, width, True)


def _share(neurons: int, steps: int) -> int:
    """Return the number of neurons for which every thread gets one tile, but at least LEAST."""
    threads = usable() if steps * neurons >= WORTH else 1
    return max(LEAST, -(-neurons // (64 * threads)) * 64)


def backward(
    rule: Rule,
    inputs: Sequence[Tensor],
    initial: Tensor,
    params: Sequence[Tensor],
    g_outputs: Sequence[Tensor],
    g_final: Tensor,
    wanted: tuple[bool, ...],
    into: Sequence[Tensor] = (),
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Return the gradients of the wanted inputs [T, N] each, of the initial state [S, N], and of the P wanted
    parameters [P, N].

    g_outputs [T, N] each, or [1, N] if the gradient is the same at every step. into: tensors for the gradients of the
    first inputs, if they exist already.
    """
    (steps, neurons), dtype = inputs[0].shape, initial.dtype
    code = module(rule, dtype, per_neuron(params), wanted)
    g_inputs = list(into) or [empty((steps, neurons), dtype) for want in wanted[: len(inputs)] if want]
    g_initial = torch.empty_like(initial)
    g_params = initial.new_zeros(sum(wanted[len(inputs) :]), neurons)
    carry_back(
        rule.name, code, _arrays(inputs, dtype), initial.numpy(), _parameters(params), _arrays(g_outputs, dtype),
        g_final.numpy(), _arrays(g_inputs, dtype), g_initial.numpy(), g_params.numpy(),
    )  # fmt: skip
    return g_inputs, g_initial, g_params


def carry_back(
    name: str, code: ModuleType, x: Arrays, s: np.ndarray, p: Arrays, gy: Arrays, gf: np.ndarray, gx: Arrays,
    gs: np.ndarray, gp: np.ndarray,
) -> None:  # fmt: skip
    """Run the compiled backward loop on the arrays of `carry` and the gradients gy of the outputs and gf of the final
    state. Write the gradients gx of the inputs and gs of the initial state, and add those of the parameters to gp.
    """
    (steps, neurons), states = x[0].shape, len(s)
    segment, width = plan(steps, states, s.itemsize)
    width = min(width, _share(neurons, steps))

    def work(lo: int, hi: int) -> None:
        marks = room("marks", (max(1, -(-steps // segment)), states, width), s.dtype)
        trail = room("trail", (max(2, segment), states, width), s.dtype)
        carry = np.empty((states, width), s.dtype)
        timed(name, code.backward, lo, hi, width, steps, segment, x, s, p, gy, gf, gx, gs, gp, marks, trail, carry)

    if steps * neurons < WORTH:
        return work(0, neurons)
    spread(work, neurons, width, True)


@cache
def wide(states: int, size: int) -> int:
    """Return the neurons per tile in forward: no states are saved, and long rows are prefetched better, so the states
    before and after a step fill half of the cache.
    """
    return max(TILE, core_cache() // (4 * max(1, states) * size) // 64 * 64)


@lru_cache(maxsize=256)
def plan(steps: int, states: int, size: int) -> tuple[int, int]:
    """Return the steps per segment and the neurons per tile for which the states of a segment stay in cache."""
    rows = max(1, core_cache() // (max(1, states) * size))  # neurons times steps that fit
    if steps * (TILE // 4) <= rows:
        return max(1, steps), min(TILE, max(TILE // 4, rows // max(1, steps) // 64 * 64))
    segment = math.isqrt(steps - 1) + 1
    return segment, max(64, min(TILE, rows // (2 * segment) // 64 * 64))


class Numba(Kernels):
    """The CPU backend: each thread runs tiles of neurons through all steps."""

    name, description, events, still = "numba", "Numba, tiles of neurons on CPU threads", True, True
    forward, backward = staticmethod(forward), staticmethod(backward)

    def lacks(self, device: str) -> str | None:
        return None if device == "cpu" else f"runs only cpu tensors, but this one is on {device}"
