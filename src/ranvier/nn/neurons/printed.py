"""The equations of a rule as readable lines. The rule is run on values that record, as text, the operations applied to
them.
"""

from collections.abc import Callable, Iterable
from typing import Any

_INFIX = {"add": ("+", 1), "sub": ("-", 1), "mul": ("*", 2), "div": ("/", 2)}
_COMPARED = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


class Printed:
    """A value of a rule as text; `rank` is the precedence of its last operation, which decides where brackets are
    needed.
    """

    def __init__(self, text: str, rank: int, lines: list[str]):
        self.text, self.rank, self.lines = text, rank, lines

    def __op__(self, word: str, *arguments: Any) -> "Printed":
        parts = [a if isinstance(a, Printed) else Printed(f"{a:g}", 3 if a >= 0 else 2, self.lines) for a in arguments]
        if word in _INFIX:
            sign, rank = _INFIX[word]
            left, right = (p.inside(rank + side * (word in ("sub", "div"))) for side, p in enumerate(parts))
            if word == "add" and right.startswith("-"):
                sign, right = "-", right[1:]
            return Printed(f"{left} {sign} {right}", rank, self.lines)
        if word in _COMPARED:
            return Printed(f"{parts[0].text} {_COMPARED[word]} {parts[1].text}", 0, self.lines)
        if word == "neg":
            return Printed(f"-{parts[0].inside(3)}", 2, self.lines)
        name = {"spike_strict": "spike"}.get(word, word)
        return Printed(f"{name}({', '.join(p.text for p in parts)})", 3, self.lines)

    def inside(self, rank: int) -> str:
        return self.text if self.rank >= rank else f"({self.text})"

    def __line__(self, name: str) -> "Printed":
        """Record the line `name = value`, and return the value as this name."""
        self.lines.append(f"{name} = {self.text}")
        return Printed(name, 3, self.lines)

    __add__ = lambda a, b: a.__op__("add", a, b)  # noqa: E731
    __radd__ = lambda a, b: a.__op__("add", b, a)  # noqa: E731
    __sub__ = lambda a, b: a.__op__("sub", a, b)  # noqa: E731
    __rsub__ = lambda a, b: a.__op__("sub", b, a)  # noqa: E731
    __mul__ = lambda a, b: a.__op__("mul", a, b)  # noqa: E731
    __rmul__ = lambda a, b: a.__op__("mul", b, a)  # noqa: E731
    __truediv__ = lambda a, b: a.__op__("div", a, b)  # noqa: E731
    __rtruediv__ = lambda a, b: a.__op__("div", b, a)  # noqa: E731
    __neg__ = lambda a: a.__op__("neg", a)  # noqa: E731
    __gt__ = lambda a, b: a.__op__("gt", a, b)  # noqa: E731
    __ge__ = lambda a, b: a.__op__("ge", a, b)  # noqa: E731
    __lt__ = lambda a, b: a.__op__("lt", a, b)  # noqa: E731
    __le__ = lambda a, b: a.__op__("le", a, b)  # noqa: E731


def equations(rule: Callable, names: Iterable[str], form: Any) -> str:
    """Return the equations of `rule`, one per line; `names` are the names of its arguments."""
    lines: list[str] = []
    values = {n: Printed(n, 3, lines) for n in names}
    rule(**values)
    return "\n".join(lines)
