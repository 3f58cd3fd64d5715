"""Neurons on integers, without and with recurrent weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ranvier.export.integers import C, Language, Numpy, Value, Width, word
from ranvier.export.lowered import Lowered
from ranvier.export.parts import Array, Constant, Field, Part, Wire, storage
from ranvier.export.steps import Step, unused
from ranvier.export.weights import Dense


class Neurons(Part):
    """n neurons with one rule, on integers. begins: the integers before the first step, for each state [n] or one."""

    def __init__(self, tag: str, path: str, rule: Step, begins: Sequence[Array], before: Wire):
        self.tag, self.path, self.rule, self.before = tag, path, rule, before
        self.begins = [np.broadcast_to(b.reshape(-1), (before.size,)) for b in begins]
        self.after = Wire(before.shape, rule.output.frac, rule.output.bound)

    def name(self, state: str) -> str:
        return f"{self.tag}_{state.removesuffix('_')}"

    def constants(self) -> list[Constant]:
        arrays = [(name, a) for name, a in self.rule.arrays.items()]
        arrays += [
            (f"{self.name(s)}_begin", b) for s, b in zip(self.rule.states, self.begins, strict=True) if _varies(b)
        ]
        found = [Constant(n, a.tolist(), storage(int(np.abs(a).max(initial=0)))) for n, a in arrays]
        return found + [Constant(t.name, t.entries, "int32_t") for t in self.rule.tables.values()]

    def fields(self) -> list[Field]:
        kind = storage(self.rule.width.high)
        return [
            Field(self.name(s), self.before.size, kind, f"{self.name(s)}_begin" if _varies(b) else int(b[0]))
            for s, b in zip(self.rule.states, self.begins, strict=True)
        ]

    def drive(self, language: Language, x: Any) -> Value:
        """Return the input of the rule."""
        return Value(x, self.before.frac, self.before.bound)

    def body(self) -> list[str]:
        lines: list[tuple[str, str]] = []
        arrays = self.rule.arrays

        def code(name: str) -> str:
            return f"{name}[n]" if name in arrays else name

        def keep(name: str, value: Value) -> Value:
            if isinstance(value.code, int):
                return value
            lines.append((name, f"const {word(value.bound)} {name} = {value.code};"))
            return value._replace(code=name)

        output, after = self.rule.walk(C(), code, keep)
        kind = storage(self.rule.width.high)
        writes = [f"s->{self.name(s)}[n] = ({kind}){v.code};" for s, v in zip(self.rule.states, after, strict=True)]
        writes.append(f"y[n] = ({self.after.type}){output.code};")
        reads = [(self.rule.input, f"const int32_t {self.rule.input} = {self.drive(C(), 'x[n]').code};")]
        reads += [(s, f"const int32_t {s} = s->{self.name(s)}[n];") for s in self.rule.states]
        kept = unused([*reads, *lines], " ".join(writes))
        return [
            f"for (int n = 0; n < {self.before.size}; n++) {{",
            *(f"    {line}" for _, line in kept),
            *(f"    {line}" for line in writes),
            "}",
        ]

    def initial(self, batch: int) -> dict[str, Array]:
        shape = (batch, self.before.size)
        return {s: np.broadcast_to(b, shape).copy() for s, b in zip(self.rule.states, self.begins, strict=True)}

    def step(self, x: Array, state: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        return self._run(self.drive(Numpy(), x.reshape(len(x), -1)).code, state)

    def _run(self, drive: Array, state: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        """Run one step: input of the rule and states, [B, n] each -> output [B, *shape], and the states after it."""
        given = {**self.rule.arrays, self.rule.input: drive, **state}
        output, after = self.rule.walk(Numpy(), given.__getitem__, lambda name, value: value)
        z = np.broadcast_to(output.code, drive.shape).reshape(len(drive), *self.before.shape)
        return z, {s: np.broadcast_to(v.code, drive.shape) for s, v in zip(self.rule.states, after, strict=True)}

    def updates(self) -> int:
        return self.before.size * len(self.rule.states)

    def operations(self) -> dict[str, int]:
        return {kind: count * self.before.size for kind, count in self.rule.operations().items()}


def _varies(begin: Array) -> bool:
    return bool((begin != begin[0]).any())


class Returning(Neurons):
    """Recurrent neurons: their output passes through the weights `back`, and is added to the input of the next step."""

    def __init__(
        self, tag: str, path: str, rule: Step, begins: Sequence[Array], before: Wire, back: Dense, width: Width
    ):
        super().__init__(tag, path, rule, begins, before)
        self.back, self.width = back, width

    def drive(self, language: Language, x: Any, back: Any = "back[n]") -> Value:
        given, returned = self.before, self.back.after
        words = Lowered(language, self.width)
        frac = self.rule.x.frac
        both = words.sum("+", frac, Value(x, given.frac, given.bound), Value(back, returned.frac, returned.bound))
        return words.to(both, frac)

    def constants(self) -> list[Constant]:
        return [*super().constants(), *self.back.constants()]

    def fields(self) -> list[Field]:
        return [*super().fields(), Field(f"{self.tag}_z", self.before.size, self.after.type)]

    def body(self) -> list[str]:
        returned = self.back.body(f"s->{self.tag}_z", "back")
        again = f"for (int n = 0; n < {self.before.size}; n++) s->{self.tag}_z[n] = y[n];"
        return [f"{self.back.after.type} back[{self.before.size}];", *returned, *super().body(), again]

    def initial(self, batch: int) -> dict[str, Array]:
        return {**super().initial(batch), "z": np.zeros((batch, self.before.size), np.int64)}

    def step(self, x: Array, state: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        inner = {k: v for k, v in state.items() if k != "z"}
        back, _ = self.back.step(state["z"], {})
        z, after = self._run(self.drive(Numpy(), x.reshape(len(x), -1), back).code, inner)
        return z, {**after, "z": z.reshape(len(z), -1)}

    def products(self) -> int:
        return self.back.products()

    def met(self, x: Array, state: dict[str, Array]) -> int:
        return self.back.met(state["z"], {})
