"""A network on integers: its C file, a Python program with exactly the same results, and its cost."""

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ranvier.export.chain import Builder
from ranvier.export.integers import HELPERS, Saturations, Width, about, saturations, see
from ranvier.export.parts import Array, Constant, Field, Part, Wire
from ranvier.nn.temporal import check_sequence

SATURATED = (
    "{name}: numbers saturate, which changes the output ({seen}). Number formats are chosen from the values on "
    "`sample`: pass export.c a sample with values as large as these, or state_bits=32. (A network from `quantised` "
    "keeps the formats of the sample of that call; make it again.)"
)


def c(net: nn.Module, sample: Tensor, bits: int = 8, state_bits: int = 16, name: str = "net") -> "Program":
    """Convert a network to one C99 file that uses only integers, without dependencies or allocation, and to the same
    program in Python.

    net: a `Sequential` (also nested) of linear layers, convolutions, pools, batch normalisation behind weights, neurons
    and `Recurrent`. sample [T, B, *features]: typical input; the fixed-point format of each number is chosen from its
    values on this input. bits: bits per weight, 8, 4, or 2 (ternary: -1, 0, 1 times a scale for each output).
    state_bits: 16 or 32, for states and for values between layers. name: prefix of every name in the file.

    Rounding is to the nearest number, halves up. Too large values saturate: the Python program counts them and warns
    (`c` itself warns if this happens on the sample), and `saturated(x)` returns the counts. If the C file is compiled
    with -DNET_COUNT, it counts them too: `net_saturated(k)` returns the count of layer k (here `name` is net).
    Functions such as exp are computed by tables. A layer that has no integer form raises a ValueError with its path.

    >>> import torch, ranvier as rv
    >>> net = rv.Sequential(torch.nn.Linear(4, 8), rv.LIF(), torch.nn.Linear(8, 2), rv.LI())
    >>> program = rv.export.c(net, torch.rand(10, 5, 4))
    >>> program(torch.rand(10, 3, 4)).shape
    torch.Size([10, 3, 2])
    >>> "void net_step(net *s, const int16_t *x, int16_t *y)" in program.source
    True
    """
    check_sequence(net, sample)
    if state_bits not in (16, 32):
        raise ValueError(f"export.c: state_bits must be 16 or 32, got {state_bits!r}")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"export.c: name must be a name in C, got {name!r}")
    if not sample.numel():
        raise ValueError(f"export.c: sample {tuple(sample.shape)} is empty; pass typical input, to choose formats from")
    if not bool(sample.isfinite().all()):
        raise ValueError("export.c: sample contains NaN or infinite numbers")
    training = net.training
    try:
        with torch.no_grad():
            built = Builder(net.eval(), sample.float(), bits, Width(state_bits))
    finally:
        net.train(training)
    if not built.parts:
        raise ValueError("export.c: the network has no layers")
    program = Program(name, tuple(built.parts), built.first, built.wire, bits, state_bits)
    if (seen := program.saturated(sample)).count:
        warnings.warn(SATURATED.format(name=name, seen=seen), stacklevel=2)
    return program


@dataclass(frozen=True)
class Program:
    """The result of `c`. Call it on x [T, B, *features] to run the integer reference; its output is converted to real
    numbers.
    """

    name: str
    parts: tuple[Part, ...]
    before: Wire
    after: Wire
    bits: int
    state_bits: int

    def encode(self, x: Tensor) -> Array:
        """Convert real input to the integers that are the input of `step`; too large values saturate."""
        if x.dim() < 3 or tuple(x.shape[2:]) != self.before.shape:
            raise ValueError(f"{self.name} takes [T, B, *{self.before.shape}], got {tuple(x.shape)}")
        if not bool(x.isfinite().all()):
            raise ValueError(f"{self.name}: the input contains NaN or infinite numbers")
        if self.before.bound == 1 and not bool(((x == 0) | (x == 1)).all()):
            raise ValueError(
                f"{self.name} was made for spikes: its sample contained only 0 and 1, but this input has other values"
            )
        whole = np.rint(x.detach().cpu().double().numpy() * 2.0**self.before.frac)
        see(whole, -self.before.bound, self.before.bound)
        return np.clip(whole, -self.before.bound, self.before.bound).astype(np.int64)

    def decode(self, y: Array) -> Tensor:
        """Convert integers of the output to real numbers."""
        return torch.from_numpy(y / 2.0**self.after.frac).float()

    def initial(self, batch: int) -> list[dict[str, Array]]:
        """Return the state before the first step, layer by layer."""
        return [part.initial(batch) for part in self.parts]

    def step(self, x: Array, state: list[dict[str, Array]]) -> tuple[Array, list[dict[str, Array]]]:
        """Run one step on integers: x [B, *features] and the state before it -> output and the state after it."""
        after = []
        for part, before in zip(self.parts, state, strict=True):
            about(part.path)
            x, kept = part.step(x.reshape(len(x), *part.before.shape), before)
            after.append(kept)
        return x, after

    def run(self, x: Array) -> Array:
        """Run a sequence of integers [T, B, *features] -> [T, B, *outputs]."""
        state, found = self.initial(x.shape[1]), []
        for x_t in x:
            y, state = self.step(x_t, state)
            found.append(y)
        return np.stack(found)

    def saturated(self, x: Tensor) -> Saturations:
        """Return how many values saturate on x [T, B, *features]."""
        with saturations() as seen:
            self.run(self.encode(x))
        return seen

    def __call__(self, x: Tensor) -> Tensor:
        with saturations() as seen:
            y = self.run(self.encode(x))
        if seen.count:
            warnings.warn(SATURATED.format(name=self.name, seen=seen), stacklevel=2)
        return self.decode(y)

    @property
    def constants(self) -> list[Constant]:
        """Return the constants, which are in flash."""
        return [one for part in self.parts for one in part.constants()]

    @property
    def fields(self) -> list[Field]:
        """Return the arrays in RAM: states, and values between layers."""
        between = [Field(f"y{k}", part.after.size, part.after.type) for k, part in enumerate(self.parts[:-1])]
        return [*(f for part in self.parts for f in part.fields()), *between]

    @property
    def counting(self) -> str:
        """Return the compiler's flag with which the C file counts the numbers that saturate."""
        return f"-D{self.name.upper()}_COUNT"

    @property
    def source(self) -> str:
        """Return the text of the C file."""
        return _print(self)

    def save(self, path: str | Path) -> Path:
        """Write the C file and return its path."""
        path = Path(path)
        path.write_text(self.source, encoding="utf-8")
        return path

    def report(self, x: Tensor | None = None) -> Any:
        """Report the cost; x [T, B, *features], if given, is the input on which operations are counted. See
        `ranvier.export.report`.
        """
        from ranvier.export.report import report

        return report(self, x)


def _print(p: Program) -> str:
    bodies = [
        f"static void {part.tag}({p.name} *s, const {part.before.type} *x, {part.after.type} *y) {{\n"
        + ("" if part.fields() else "    (void)s;\n")
        + "\n".join(f"    {line}" for line in part.body())
        + f"\n}} /* {part.path or 'the network'}: {part.before.size} -> {part.after.size} */"
        for part in p.parts
    ]
    text = "\n".join(bodies)
    upper = p.name.upper()
    helpers = [
        line.replace("SEE(", f"{upper}_SEE(") for name, line in HELPERS.items() if re.search(rf"\b{name}\(", text)
    ]
    kept, begins = text, [f.begins for f in p.fields if isinstance(f.begins, str)]
    arrays = [str(a) for a in p.constants if re.search(rf"\b{a.name}\b", kept) or a.name in begins]
    reset = []
    for f in p.fields:
        begin = f"{f.begins}[n]" if isinstance(f.begins, str) else str(f.begins)
        reset.append(f"    for (int n = 0; n < {f.count}; n++) s->{f.name}[n] = {begin};")
    ends = ["x", *(f"s->y{k}" for k in range(len(p.parts) - 1)), "y"]
    calls = [
        f"    {upper}_LAYER({k}); {part.tag}(s, {a}, {b});"
        for k, (part, a, b) in enumerate(zip(p.parts, ends, ends[1:], strict=False))
    ]
    fields = [f"    {f.type} {f.name}[{f.count}];" for f in p.fields] or ["    char none;"]
    head = f"""/* {p.name}: a spiking network on integers, printed by Ranvier.
 *
 * {p.name} s; {p.name}_reset(&s); then for every step {p.name}_step(&s, x, y).
 * x: {p.before.size} integers with {upper}_INPUT_FRACTION binary places.
 * y: {p.after.size} integers with {upper}_OUTPUT_FRACTION binary places.
 * Too large numbers saturate. With -D{upper}_COUNT, {p.name}_saturated(k) returns how many did so in layer k.
 * Weights have {p.bits} bits, states {p.state_bits}. Needs C99, and a >> that keeps the sign of negative numbers.
 */
#include <stdint.h>

#define {upper}_INPUTS {p.before.size}
#define {upper}_INPUT_FRACTION {p.before.frac}
#define {upper}_OUTPUTS {p.after.size}
#define {upper}_OUTPUT_FRACTION {p.after.frac}
#define {upper}_LAYERS {len(p.parts)}

typedef char {p.name}_shifts_keep_the_sign[(-1 >> 1) == -1 ? 1 : -1];

#ifdef {upper}_COUNT /* count the numbers that saturate in each layer, over all steps and threads */
static uint32_t {p.name}_counts[{upper}_LAYERS];
static int {p.name}_layer;
#define {upper}_LAYER(k) ({p.name}_layer = (k))
#define {upper}_SEE(wrong) ({p.name}_counts[{p.name}_layer] += (wrong))
uint32_t {p.name}_saturated(int layer) {{ return {p.name}_counts[layer]; }}
#else
#define {upper}_LAYER(k) ((void)0)
#define {upper}_SEE(wrong) ((void)0)
#endif
"""
    return "\n".join(
        [
            head,
            f"typedef struct {{\n{chr(10).join(fields)}\n}} {p.name};\n",
            *helpers,
            "",
            *arrays,
            "",
            text,
            "",
            f"void {p.name}_reset({p.name} *s) {{",
            *(reset or ["    s->none = 0;"]),
            "}",
            "",
            f"void {p.name}_step({p.name} *s, const {p.before.type} *x, {p.after.type} *y) {{",
            *calls,
            "}",
            "",
        ]
    )
