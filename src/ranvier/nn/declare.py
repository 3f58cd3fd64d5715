"""The declarations of a neuron: parameters, states, options, and time constants that may be given instead of decays."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, dataclass_transform, overload

import torch
from torch import Tensor

__all__ = ["Learn", "Option", "Param", "State", "Time"]

V = TypeVar("V")
W = TypeVar("W")
N = TypeVar("N", bound=str)
Names: TypeAlias = Sequence[N] | N


# For type checkers, `__new__` returns Any, so that `beta: Param = Param(0.9)` is a valid default. They read the type of
# the attribute from `__get__`, and the type of the constructor's argument from `__set__`.


class Param:
    """A parameter of a neuron: its default value, a description, and its bounds, which also hold during learning.

    `low` may also be the name of an option, such as "dt". With `learnable=False` the parameter cannot be learned; this
    is for parameters without a gradient, which the rule only compares or uses to count steps. With an annotation
    (`beta: Param = Param(0.9)`) editors and type checkers recognise it as an argument of the constructor. The attribute
    of a neuron is a tensor: an `nn.Parameter` if it is learned, else a buffer.
    """

    def __init__(
        self, default: float, doc: str = "", *, low: float | str = -math.inf, high: float = math.inf,
        learnable: bool = True,
    ):  # fmt: skip
        self.default, self.doc, self.low, self.high, self.learnable = default, doc, low, high, learnable

    @property
    def range(self) -> str:
        """Return the bounds as text; empty if there are none."""
        low = self.low if isinstance(self.low, str) else f"{self.low:g}"
        if low == "-inf":
            return "" if math.isinf(self.high) else f"at most {self.high:g}"
        return f"at least {low}" if math.isinf(self.high) else f"between {low} and {self.high:g}"

    if TYPE_CHECKING:

        @overload
        def __get__(self, neuron: None, kind: Any) -> "Param": ...
        @overload
        def __get__(self, neuron: object, kind: Any) -> Tensor: ...
        def __get__(self, neuron: Any, kind: Any) -> Any: ...
        def __set__(self, neuron: object, value: float | Tensor) -> None: ...
        def __new__(
            cls, default: float, doc: str = "", *, low: float | str = 0.0, high: float = 0.0, learnable: bool = True
        ) -> Any: ...


class State:
    """A state of a neuron, and its value before the first step: a number, or the name of a parameter.

    A state is not an attribute of the neuron: read it with `ranvier.record`, or take it from `ranvier.scan`.
    """

    def __init__(self, initial: float | str = 0.0, doc: str = ""):
        self.initial, self.doc = initial, doc

    if TYPE_CHECKING:

        def __get__(self, neuron: None, kind: Any) -> "State": ...


class Option(Generic[V]):
    """An option of a neuron and its default, such as `reset="subtract"`. It may also be set later.

    The rule has an argument of the same name. Its value is an ordinary Python value, which `if` may test. With `make`,
    the rule gets the result of the function `make` instead, whose arguments are the options with the same names. With
    `number=True` the option is a number, such as dt, that may change without a new compilation. `choices`: the values
    allowed. `check(name, value)`: a function that returns the value, or raises an error.
    """

    def __init__(
        self,
        default: V,
        doc: str = "",
        *,
        make: Callable[..., Any] | None = None,
        number: bool = False,
        choices: Sequence[V] = (),
        check: Callable[[str, Any], Any] | None = None,
    ):
        self.default, self.doc, self.make, self.number = default, doc, make, number
        self.choices, self.check = tuple(choices), check

    def checked(self, name: str, value: Any) -> Any:
        """Return the value if it is allowed; otherwise raise an error that lists the allowed values."""
        if self.choices and value not in self.choices:
            raise ValueError(f"{name} must be one of {list(self.choices)}, got {value!r}")
        if isinstance(self.default, bool) and not isinstance(value, bool):
            raise TypeError(f"{name} must be True or False, got {value!r}")
        if self.number:
            plain = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (plain and math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a positive number, got {value!r}")
            return float(value)
        return self.check(name, value) if self.check else value

    if TYPE_CHECKING:

        def __get__(self, neuron: object, kind: Any) -> V: ...
        def __set__(self, neuron: object, value: V) -> None: ...
        def __new__(
            cls, default: V, doc: str = "", *, make: Any = None, number: bool = False, choices: Sequence[V] = (),
            check: Any = None,
        ) -> Any: ...  # fmt: skip


# For each form: the parameter as a function of (tau, dt), tau as a function of (parameter, dt), and the lower limit of
# tau / dt.
FORMS: dict[str, tuple[Callable[[Tensor, float], Tensor], Callable[[Tensor, float], Tensor], float]] = {
    "decay": (lambda tau, dt: torch.exp(-dt / tau), lambda p, dt: -dt / torch.log(p), 0.0),
    "part": (lambda tau, dt: dt / tau, lambda p, dt: dt / p, 1.0),
    "logit of decay": (
        lambda tau, dt: -dt / tau - torch.log(-torch.expm1(-dt / tau)),
        lambda p, dt: -dt / torch.nn.functional.logsigmoid(p),
        0.0,
    ),
    "logit of part": (lambda tau, dt: -torch.log(tau / dt - 1.0), lambda p, dt: dt * (1.0 + torch.exp(-p)), 1.0),
}


class Time:
    """A time constant that may be given instead of the parameter `of`, in the unit of dt.

    form: how the parameter is computed from the time constant. "decay": exp(-dt / tau), the part that is left after a
    step; "part": dt / tau, the part that is lost in a step; "logit of decay", "logit of part": the logits of these two,
    which may have any value during learning. The attribute of a neuron is its current time constant, and `learn` may
    contain its name.
    """

    def __init__(self, of: str, doc: str = "", *, form: str = "decay"):
        self.of, self.doc, self.form = of, doc, form

    def parameter(self, tau: Tensor, dt: float) -> Tensor:
        """Return the parameter for this time constant, computed in double precision."""
        return FORMS[self.form][0](tau.double(), dt).to(tau.dtype)

    def time(self, parameter: Tensor, dt: float) -> Tensor:
        return FORMS[self.form][1](parameter, dt)

    def possible(self, tau: Tensor, dt: float) -> bool:
        """Whether every tau is allowed at this dt."""
        low = FORMS[self.form][2] * dt
        return tau.is_meta or bool((((tau > low) | ((tau == low) & (self.form == "part"))) & torch.isfinite(tau)).all())

    if TYPE_CHECKING:

        @overload
        def __get__(self, neuron: None, kind: Any) -> "Time": ...
        @overload
        def __get__(self, neuron: object, kind: Any) -> Tensor: ...
        def __get__(self, neuron: Any, kind: Any) -> Any: ...
        def __set__(self, neuron: object, value: float | Tensor | None) -> None: ...
        def __new__(cls, of: str, doc: str = "", *, form: str = "decay") -> Any: ...


def step_length(default: float = 1.0) -> Any:
    """Return the option `dt`, the length of a step. With the default of 1, time constants are in steps."""
    return Option(default, "length of a step, in the unit of the time constants", number=True)


class Setting(Generic[V, W]):
    """For type checkers: an attribute that has the type V when it is read, and may be set to a value of type W."""

    if TYPE_CHECKING:

        def __get__(self, neuron: object, kind: Any) -> V: ...
        def __set__(self, neuron: object, value: W) -> None: ...
        def __new__(cls) -> Any: ...


class Learn(Generic[N]):
    """For type checkers: the names that `learn` may contain.

    With `learn: Learn[Literal["beta", "threshold"]] = Learn()` in the class of a neuron, editors and type checkers flag
    any other name. Without this line they accept any string; a wrong name then raises an error when the neuron is
    built. A subclass that adds parameters has a `learn` line of its own.
    """

    if TYPE_CHECKING:

        def __get__(self, neuron: object, kind: Any) -> tuple[str, ...]: ...
        def __set__(self, neuron: object, value: Names[N]) -> None: ...
        def __new__(cls) -> Any: ...


@dataclass_transform(eq_default=False, kw_only_default=True)
class Declares:
    """Base class that tells type checkers that annotated declarations are arguments of the constructor."""
