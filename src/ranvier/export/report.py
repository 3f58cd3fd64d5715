"""The cost of a network on integers: memory, operations, an estimate of its energy, and cycles if gcc is installed."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ranvier.derive.operations import OPERATIONS
from ranvier.export.compiled import compile_and_run, compiler
from ranvier.export.integers import Saturations, about, saturations
from ranvier.export.parts import Array
from ranvier.export.program import Program
from ranvier.export.weights import Weighted
from ranvier.train.energy import access, addition, product


@dataclass(frozen=True)
class Report:
    """The cost of a program: memory, and work per step. None means unknown.

    flash: bytes of constants. code: bytes of constants and code (if gcc and `size` are installed). ram: bytes of the
    state. products: number of weights that are read if no input is zero. met: number of weights that were read on x,
    averaged over samples and steps. updates: number of states that are written. operations: number of operations on
    states, by kind. nanojoule: energy, with the 45 nm figures of `ranvier.train.energy`. cycles: processor cycles on
    this machine. saturated: the values that saturated on x.
    """

    name: str
    flash: int
    code: int | None
    ram: int
    products: int
    met: float | None
    updates: int
    operations: dict[str, int]
    nanojoule: float | None
    cycles: float | None
    saturated: Saturations | None = None

    def __str__(self) -> str:
        told = ", ".join(f"{n:,} {kind}" for kind, n in sorted(self.operations.items()))
        lines = [
            f"{self.name}: flash {self.flash:,} bytes of constants"
            + ("" if self.code is None else f" ({self.code:,} with the code, gcc -Os)")
            + f", RAM {self.ram:,} bytes",
            f"per step: {self.products:,} weights"
            + ("" if self.met is None else f", {self.met:,.0f} of them with a nonzero input")
            + f"; {self.updates:,} states updated ({told or 'no operations'})",
        ]
        if self.nanojoule is not None:
            lines.append(f"about {self.nanojoule:,.3f} nJ per step (45 nm, Horowitz 2014)")
        if self.cycles is not None:
            lines.append(f"{self.cycles:,.0f} cycles per step on this machine's processor")
        if self.saturated is not None and self.saturated.count:
            lines.append(f"saturates: {self.saturated}")
        return "\n".join(lines)


def report(program: Program, x: Tensor | None = None) -> Report:
    """Count the cost of a program. With x [T, B, *features], also count the cost that depends on the activity.

    >>> import torch, ranvier as rv
    >>> net = rv.Sequential(torch.nn.Linear(4, 8), rv.LIF(), torch.nn.Linear(8, 2), rv.LI())
    >>> found = rv.export.c(net, torch.rand(10, 5, 4)).report()
    >>> found.products, found.updates
    (48, 10)
    """
    operations: dict[str, int] = {}
    for part in program.parts:
        for kind, count in part.operations().items():
            operations[kind] = operations.get(kind, 0) + count
    met = energy = code = cycles = seen = None
    if x is not None:
        with saturations() as seen:
            given = program.encode(x)
            met, energy = _counted(program, given)
        if compiler():
            measured = compile_and_run(program, given)
            code, cycles = measured.flash, measured.cycles
    return Report(
        program.name, sum(a.bytes for a in program.constants), code, sum(f.bytes for f in program.fields),
        sum(part.products() for part in program.parts), met, sum(part.updates() for part in program.parts),
        operations, energy, cycles, seen,
    )  # fmt: skip


def _counted(program: Program, x: Array) -> tuple[float, float]:
    """Return the number of weights that were multiplied by a nonzero input, and the energy in nanojoule, both as
    means over samples and steps.
    """
    state, met, picojoule = program.initial(x.shape[1]), 0, 0.0
    for x_t in x:
        for k, part in enumerate(program.parts):
            x_t = x_t.reshape(len(x_t), *part.before.shape)
            count = part.met(x_t, state[k])
            met += count
            picojoule += count * _meeting(program, part)
            about(part.path)
            x_t, state[k] = part.step(x_t, state[k])
    seen = x.shape[0] * x.shape[1]
    fixed = sum(_updating(program, part) for part in program.parts)
    return met / seen, (picojoule / seen + fixed) / 1000


def _meeting(program: Program, part: Any) -> float:
    """Return the energy in pJ for a weight that meets a nonzero input: it is read, then added, or multiplied if the
    input is not a spike.
    """
    weights: Any = part if isinstance(part, Weighted) else getattr(part, "back", None)
    if weights is None:
        return 0.0
    bits, width = program.bits, program.state_bits
    arithmetic = addition(width) + (product(bits, width) if weights.before.bound > 1 else 0.0)
    return arithmetic + bits * access(weights.q.size * bits)


def _updating(program: Program, part: Any) -> float:
    """Return the energy in pJ for the states of a layer in a step: reads, operations and writes."""
    width = program.state_bits
    pj = part.updates() * 2 * width * access(part.updates() * width)
    for kind, count in part.operations().items():
        each = {"mul": 1, "div": OPERATIONS["div"].cost, "tables": 16}.get(kind, 0)
        pj += count * (each * product(width, width) if each else addition(width))
    return pj
