"""A neuron: parameters, states, and one rule."""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from ranvier.backends import choose, op
from ranvier.derive.rule import Rule
from ranvier.nn.temporal import Temporal, check_sequence, promoted
from ranvier.surrogate import Surrogate, atan, custom


class Param:
    """A parameter of a neuron, by its default value. `low` and `high` bound what may be given at construction."""

    def __init__(self, default: float, doc: str = "", *, low: float = -math.inf, high: float = math.inf):
        self.default, self.doc, self.low, self.high = default, doc, low, high

    if TYPE_CHECKING:  # on a neuron the name is the tensor: a parameter if it is learned, else a buffer

        def __get__(self, neuron: Any, kind: Any) -> Tensor: ...


class State:
    """A state variable of a neuron, by its value before the first step: a number, or the name of a parameter."""

    def __init__(self, initial: float | str = 0.0, doc: str = ""):
        self.initial, self.doc = initial, doc


class Option:
    """A choice made when the neuron is built. The rule gets `choose(**keywords)` as an ordinary Python value, so it
    may say `if` about it; the keywords become arguments of the neuron."""

    def __init__(self, choose: Callable[..., Any], **keywords: Any):
        self.choose, self.keywords = choose, keywords


class Neuron(Temporal):
    """Base of all neurons: declare parameters and states, write the rule of one step, and it runs on every backend.

    >>> import torch, ranvier
    >>> from ranvier import Neuron, Param, State
    >>> from ranvier.ops import spike
    >>> class Integrator(Neuron):
    ...     beta, threshold = Param(0.9), Param(1.0)
    ...     v = State(0.0)
    ...
    ...     @staticmethod
    ...     def rule(x, v, beta, threshold):
    ...         v = beta * v + x
    ...         z = spike(v - threshold)
    ...         return z, (v - z * threshold,)
    >>> Integrator(beta=0.5)(torch.ones(3, 1, 1)).flatten()
    tensor([1., 1., 1.])

    The arguments of `rule` are the inputs (any names), then states, parameters and options by the names declared
    above; it returns the output (or a tuple of outputs) and the tuple of new states.

    Arguments of the constructor: every parameter (a number, or a tensor broadcastable to the features), every option,
    `surrogate` (the derivative of the spike), `learn` (names of the parameters that are trained), `shape` (the
    features' shape, to give every neuron parameters of its own).
    """

    params: ClassVar[dict[str, Param]] = {}
    states: ClassVar[dict[str, State]] = {}
    options: ClassVar[dict[str, Option]] = {}
    inputs: ClassVar[tuple[str, ...]] = ()
    rule: Callable[..., tuple[Any, Any]]

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        for attribute, kind in (("params", Param), ("states", State), ("options", Option)):
            own = {k: v for k, v in vars(cls).items() if isinstance(v, kind)}
            for k in own:
                delattr(cls, k)
            setattr(cls, attribute, {**getattr(cls, attribute), **own})
        if "rule" in vars(cls):
            declared = {*cls.params, *cls.states, *cls.options}
            said = list(inspect.signature(cls.rule).parameters)
            if lacking := declared - set(said):
                raise TypeError(f"{cls.__name__}.rule must take what the class declares; it lacks {sorted(lacking)}")
            cls.inputs = tuple(n for n in said if n not in declared)
            if not cls.inputs:
                raise TypeError(f"{cls.__name__}.rule takes no input; write rule(x, {', '.join(said)})")
        cls.records = (*cls.states, "z")
        keywords = {k: p.default for k, p in cls.params.items()}
        keywords |= {k: v for o in cls.options.values() for k, v in o.keywords.items()}
        keywords |= {"surrogate": None, "learn": (), "shape": None}
        kind = inspect.Parameter.KEYWORD_ONLY
        signature = inspect.Signature([inspect.Parameter(k, kind, default=v) for k, v in keywords.items()])
        if "__init__" in vars(cls):  # a constructor of its own says what it takes
            own = inspect.signature(cls.__init__)
            signature = own.replace(parameters=list(own.parameters.values())[1:])
        cls.__signature__ = signature

    def __init__(
        self,
        *,
        surrogate: Surrogate | None = None,
        learn: Sequence[str] = (),
        shape: Sequence[int] | int | None = None,
        **given: Any,
    ):
        super().__init__()
        name = type(self).__name__
        keywords = {k: v for o in self.options.values() for k, v in o.keywords.items()}
        if unknown := given.keys() - self.params.keys() - keywords.keys():
            raise TypeError(
                f"{name} has no {sorted(unknown)}; it has {[*self.params, *keywords, 'surrogate', 'learn', 'shape']}"
            )
        learn = (learn,) if isinstance(learn, str) else tuple(learn)
        if unknown := set(learn) - self.params.keys():
            raise ValueError(f"{name}: learn names {sorted(unknown)}, but its parameters are {list(self.params)}")
        self.shape = (shape,) if isinstance(shape, int) else None if shape is None else tuple(shape)
        for k, p in self.params.items():
            value = self._value(k, p, given.get(k, p.default))
            if k in learn:
                self.register_parameter(k, nn.Parameter(value))
            else:
                self.register_buffer(k, value)
        self.settings = {k: given.get(k, v) for k, v in keywords.items()}
        if surrogate is not None and not callable(surrogate):
            raise TypeError(
                f"{name}: surrogate must be one of ranvier.surrogate, such as surrogate.atan(2.0), got {surrogate!r}"
            )
        self.surrogate = surrogate or atan(2.0)
        self._rules: dict[tuple[str, ...], Rule] = {}
        self.bound(())
        if surrogate is not None and not self.spiking:
            raise ValueError(f"{name} has no spikes, so it takes no surrogate")

    def _value(self, name: str, param: Param, given: Any) -> Tensor:
        """A parameter as a tensor of its own, checked."""
        where = f"{type(self).__name__}: {name}"
        try:
            value = (
                torch.as_tensor(given)
                .detach()
                .to(torch.get_default_dtype() if not isinstance(given, Tensor) else given.dtype)
            )
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(f"{where} must be a number or a tensor, got {given!r}") from None
        if not value.is_floating_point():
            value = value.to(torch.get_default_dtype())
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"{where} must be finite, got {given!r}")
        if bool((value < param.low).any()) or bool((value > param.high).any()):
            raise ValueError(f"{where} must lie between {param.low:g} and {param.high:g}, got {given!r}")
        if self.shape is None:
            return value.clone()
        try:
            return value.expand(self.shape).clone()
        except RuntimeError:
            raise ValueError(
                f"{where} has shape {tuple(value.shape)}, which does not broadcast to shape={self.shape}"
            ) from None

    def bound(self, names: tuple[str, ...]) -> Rule:
        """The rule of this neuron, its outputs followed by the named states."""
        if names not in self._rules:
            rule = self._bind(names)
            op.register(rule)
            self._rules[names] = rule
        return self._rules[names]

    def _bind(
        self, names: tuple[str, ...], said: Callable | None = None, inputs: tuple[str, ...] | None = None
    ) -> Rule:
        """The rule with its options resolved; a neuron that is put together when it is built gives `said` and
        `inputs`.
        """
        options = {k: o.choose(**{n: self.settings[n] for n in o.keywords}) for k, o in self.options.items()}
        inputs = self.inputs if inputs is None else inputs
        arguments = (*inputs, *self.states, *self.params)
        said = type(self).rule if said is None else said

        def function(*values: Any) -> tuple[tuple, tuple]:
            outputs, states = said(**dict(zip(arguments, values, strict=False)), **options)  # then surrogate numbers
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            states = states if isinstance(states, tuple) else (states,)
            named = {**dict(zip(self.states, states, strict=False)), "z": outputs[0]}
            return (*outputs, *(named[n] for n in names)), states

        function.__wrapped__ = said  # errors show the line of the user's rule
        name = "_".join((type(self).__name__, *names))
        surrogate = self.surrogate if isinstance(self.surrogate, Surrogate) else custom(self.surrogate)
        rule = Rule(name, function, surrogate.derivative, inputs, tuple(self.states), tuple(self.params))
        if not rule.spiking:
            return rule
        numbers = tuple(f"surrogate_{k}" for k in surrogate.varying)
        return replace(rule, params=(*rule.params, *numbers), numbers=numbers)

    def values(self, like: Tensor) -> list[Tensor]:
        """What the rule takes after inputs and states: the parameters, then the numbers of the surrogate, on the device
        of `like` and of the precision that its states have.
        """
        numbers = getattr(self.surrogate, "varying", {}).values() if self.spiking else ()
        dtype = promoted(like.dtype)
        return [
            *(getattr(self, k) for k in self.params),
            *(torch.full((), v, dtype=dtype, device=like.device) for v in numbers),
        ]

    @property
    def spiking(self) -> bool:
        """Whether the rule says `spike`."""
        return self.bound(()).spiking

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_rules": {}}  # rules are made of closures; they are made again where they arrive

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        self.bound(())

    def initial(self, x_t: Tensor) -> dict[str, Tensor]:
        """The state before the first step for inputs like x_t [B, *features]."""
        dtype = promoted(x_t.dtype)

        def begin(value: float | str) -> Tensor:
            if isinstance(value, str):
                return getattr(self, value).to(dtype).expand(x_t.shape)
            return torch.full(x_t.shape, float(value), dtype=dtype, device=x_t.device)

        return {k: begin(s.initial) for k, s in self.states.items()}

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        xs, state, params = self.prepare(x, state)
        values, after = choose.carry(self.bound(names), xs, list(state.values()), params)
        outputs, traced = values[: len(values) - len(names)], values[len(values) - len(names) :]
        y = outputs[0] if len(outputs) == 1 else tuple(outputs)
        return y, dict(zip(self.states, after, strict=True)), dict(zip(names, traced, strict=True))

    def prepare(self, x: Any, state: Any) -> tuple[tuple[Tensor, ...], dict[str, Tensor], list[Tensor]]:
        """Inputs, state before the first step and parameters, checked and ready for a backend."""
        xs = self._inputs(x)
        first = xs[0][0] if len(xs[0]) else xs[0].sum(0)
        state = self.initial(first) if state is None else self._state(xs[0], state)
        return xs, state, self.values(first)

    def explain(self, x: Any) -> str:
        chosen = choose.choose(self._inputs(x)[0])
        return f"{chosen.backend.name}: {chosen.reason}"

    def _inputs(self, x: Any) -> tuple[Tensor, ...]:
        xs = tuple(x) if isinstance(x, (tuple, list)) else (x,)
        name = type(self).__name__
        if len(xs) != len(self.inputs):
            raise ValueError(f"{name} takes {len(self.inputs)} inputs {self.inputs}, got {len(xs)}")
        for one in xs:
            check_sequence(self, one)
            if one.shape != xs[0].shape:
                raise ValueError(
                    f"{name}: inputs {self.inputs} must have one shape, got {[tuple(i.shape) for i in xs]}"
                )
        features = xs[0].shape[2:]
        for k in self.params:
            shape = getattr(self, k).shape
            if len(shape) > len(features) or any(
                a != 1 and a != b for a, b in zip(reversed(shape), reversed(features), strict=False)
            ):
                raise ValueError(
                    f"{name}: parameter {k!r} has shape {tuple(shape)}, but the neurons have shape {tuple(features)} "
                    f"(x is {tuple(xs[0].shape)} = [T, B, *features]); build the layer with shape={tuple(features)}"
                )
        dtype = xs[0].dtype
        for one in xs[1:]:
            dtype = torch.promote_types(dtype, one.dtype)
        return tuple(one.to(dtype) for one in xs)

    def _state(self, x: Tensor, state: Any) -> dict[str, Tensor]:
        name = type(self).__name__
        if not isinstance(state, dict) or state.keys() != self.states.keys():
            got = sorted(state) if isinstance(state, dict) else type(state).__name__
            raise ValueError(
                f"{name}: state must be a dictionary of {list(self.states)}, got {got}; pass None to begin anew"
            )
        for k, v in state.items():
            if v.shape != x.shape[1:]:
                raise ValueError(
                    f"{name}: state {k!r} is {tuple(v.shape)} but the input of a step is {tuple(x.shape[1:])}; "
                    f"pass state=None to begin a new batch"
                )
        return {k: state[k].to(promoted(x.dtype)) for k in self.states}

    def extra_repr(self) -> str:
        shown = []
        for k in self.params:
            value = getattr(self, k)
            text = f"{value.item():g}" if value.dim() == 0 else f"{tuple(value.shape)}"
            shown.append(f"{k}={text}{' (learned)' if isinstance(value, nn.Parameter) else ''}")
        shown += [f"{k}={v!r}" for k, v in self.settings.items()]
        return ", ".join([*shown, f"surrogate={self.surrogate!r}"] if self.spiking else shown)
