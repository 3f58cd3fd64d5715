"""What a neuron is declared with: parameters, states, options, and other ways to say a decay."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, dataclass_transform, overload

import torch
from torch import Tensor

__all__ = ["Option", "Param", "State", "Time"]

V = TypeVar("V")
W = TypeVar("W")


# To type checkers a declaration is Any where it stands, so that it may be the default of an argument whose type is what
# the attribute can be set to; its annotation says what the attribute is.


class Param:
    """A parameter of a neuron: its default value, what it is, and the bounds between which it is held while learning.

    `low` may name an option, such as dt. With `learnable=False` it has no gradient, since it is only counted or
    compared, and `learn` refuses it. Annotate it (`beta: Param = Param(0.9)`) and editors and type checkers know it as
    an argument of the neuron. On a neuron the name is the tensor: an `nn.Parameter` if it is learned, else a buffer.
    """

    def __init__(
        self, default: float, doc: str = "", *, low: float | str = -math.inf, high: float = math.inf,
        learnable: bool = True,
    ):  # fmt: skip
        self.default, self.doc, self.low, self.high, self.learnable = default, doc, low, high, learnable

    @property
    def range(self) -> str:
        """The bounds in words; empty where there are none."""
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
    """A state variable of a neuron, by its value before the first step: a number, or the name of a parameter.

    A state is no attribute of the neuron: read it with `ranvier.record`, or take it from `ranvier.scan`.
    """

    def __init__(self, initial: float | str = 0.0, doc: str = ""):
        self.initial, self.doc = initial, doc

    if TYPE_CHECKING:

        def __get__(self, neuron: None, kind: Any) -> "State": ...


class Option(Generic[V]):
    """A choice of a neuron, by its default. It may be set later too; the rule is then made anew.

    The rule takes it by its name, as an ordinary Python value about which it may say `if`; or, with `make`, takes
    `make(**options)`, a value or function made of the options that `make` names. With `number=True` it is a number that
    users vary, such as dt: a run-time value, for which nothing is compiled anew. `choices` are all it may be;
    `check(name, value)` gives the value back, or raises.
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
        """The value, or an error that says what may be given."""
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


# How a time constant makes a parameter, the parameter a time constant, and what tau / dt must exceed.
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
    """A time constant, in the unit of dt, as another way to say the parameter `of`.

    That is, by `form`: "decay", what is left after a step, exp(-dt / tau); "part", what is lost in a step, dt / tau; or
    the logit of either, which learning may lead anywhere. On a neuron the name is the time constant as it is now, and
    `learn` may name it.
    """

    def __init__(self, of: str, doc: str = "", *, form: str = "decay"):
        self.of, self.doc, self.form = of, doc, form

    def parameter(self, tau: Tensor, dt: float) -> Tensor:
        """Computed in double precision."""
        return FORMS[self.form][0](tau.double(), dt).to(tau.dtype)

    def time(self, parameter: Tensor, dt: float) -> Tensor:
        return FORMS[self.form][1](parameter, dt)

    def possible(self, tau: Tensor, dt: float) -> bool:
        """Whether every tau can be said at this dt."""
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
    """The option `dt`: how long a step is. Without it a time constant is said in steps."""
    return Option(default, "length of a step, in the unit of the time constants", number=True)


class Setting(Generic[V, W]):
    """For type checkers: an attribute that is read as V and set as W."""

    if TYPE_CHECKING:

        def __get__(self, neuron: object, kind: Any) -> V: ...
        def __set__(self, neuron: object, value: W) -> None: ...
        def __new__(cls) -> Any: ...


@dataclass_transform(eq_default=False, kw_only_default=True)
class Declares:
    """Tells type checkers that what a class declares with an annotation is an argument of its constructor."""
