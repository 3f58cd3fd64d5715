"""The part of `Neuron` that uses the declarations of its class: for arguments, attributes, bounds and saved values."""

import math
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from ranvier.derive.rule import Rule
from ranvier.nn import arguments, signature
from ranvier.nn.bounds import bounded
from ranvier.nn.declare import FORMS, Declares, Learn, Option, Param, Setting, State, Time
from ranvier.nn.temporal import Temporal
from ranvier.surrogate import Surrogate


class Declared(Declares, Temporal):
    """Base class of `Neuron`: it has the arguments and attributes of a neuron; `Neuron` adds the rule."""

    params: ClassVar[dict[str, Param]] = {}
    states: ClassVar[dict[str, State]] = {}
    options: ClassVar[dict[str, Option[Any]]] = {}
    times: ClassVar[dict[str, Time]] = {}
    inputs: ClassVar[tuple[str, ...]] = ()
    learned: ClassVar[tuple[str, ...]] = ()  # parameters that are trained if `learn` is not given
    replaced: ClassVar[tuple[str, ...]] = ()  # parameters that the constructor computes from other arguments

    if TYPE_CHECKING:
        surrogate: Setting[Surrogate, Surrogate | None] = Setting()
        learn: Learn[Any] = Learn()  # with Any, each neuron class may list its own names
        shape: Setting[tuple[int, ...] | None, Sequence[int] | int | None] = Setting()

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        signature.read(cls)
        cls.declared()
        if hasattr(cls, "rule"):
            signature.check_rule(cls)
        cls.records = (*cls.states, "z")
        cls.__signature__ = signature.signature(cls)
        signature.document(cls)

    @classmethod
    def declared(cls) -> None:
        """Called when the options of a class are known; classes whose parameters depend on the options override it."""

    if not TYPE_CHECKING:

        def __new__(cls, *places: Any, **given: Any):
            if places and cls.__init__ is Declared.__init__:
                first = next(iter(cls.__signature__.parameters))
                raise TypeError(f"{cls.__name__} takes its arguments by name: {cls.__name__}({first}={places[0]!r})")
            return super().__new__(cls)

    def __init__(
        self,
        *,
        surrogate: Surrogate | None = None,
        learn: Sequence[str] | None = None,
        shape: Sequence[int] | int | None = None,
        **given: Any,
    ):
        super().__init__()
        name, known = type(self).__name__, {**self.params, **self.times, **self.options}
        if unknown := given.keys() - known.keys():
            raise TypeError(f"{name} has no {sorted(unknown)}; it has {[*known, 'surrogate', 'learn', 'shape']}")
        settings = {k: o.checked(f"{name}: {k}", given.get(k, o.default)) for k, o in self.options.items()}
        self._shape, self._surrogate = arguments.shape(name, shape), arguments.surrogate(name, surrogate)
        self._rules: dict[tuple[str, ...], Rule] = {}
        self.settings: dict[str, Any] = settings
        learn = arguments.names(
            f"{name}: learn", self.learned if learn is None else learn, {**self.params, **self.times}
        )
        learn = tuple(self.times[k].of if k in self.times else k for k in learn)
        if still := [k for k in learn if k not in self.learnable]:
            raise ValueError(
                f"{name}: {still} cannot be learned, because it has no gradient; learn may name {list(self.learnable)}"
            )
        values = self._of_times({k: v for k, v in given.items() if k in self.times and v is not None}, given)
        for k, p in self.params.items():
            value = arguments.value(
                f"{name}: {k}", values.get(k, given.get(k, p.default)), self._shape, *self._range(k)
            )
            if k in learn:
                self.register_parameter(k, nn.Parameter(value if value.dim() else value.reshape(1)))
            else:
                self.register_buffer(k, value)
        self.bound(())
        if surrogate is not None and not self.spiking:
            raise ValueError(f"{name} has no spikes, so it cannot have a surrogate")
        self._check_step()

    def _check_step(self) -> None:
        """Raise a ValueError that suggests a shorter step, if the equation is unstable for this dt. Neurons with such
        an equation override this method.
        """

    def _of_times(self, times: Mapping[str, Any], given: Container[str] = ()) -> dict[str, Any]:
        """Return the parameters that are computed from time constants."""
        found: dict[str, Any] = {}
        for k, tau in times.items():
            time, where, dt = self.times[k], f"{type(self).__name__}: {k}", self.settings["dt"]
            if time.of in given:
                raise TypeError(f"{where} and {time.of} set the same parameter; give one of them")
            checked = arguments.value(where, tau, None, -math.inf, math.inf)
            if not time.possible(checked, dt):
                raise ValueError(
                    f"{where} must be finite and above {FORMS[time.form][2] * dt:g} at dt={dt:g}, got {tau!r}"
                )
            found[time.of] = time.parameter(checked, dt)
        return found

    def __getattr__(self, name: str) -> Any:
        if name in (settings := self.__dict__.get("settings", ())):
            return settings[name]
        if name in type(self).times:
            return self.times[name].time(self.value(self.times[name].of), self.settings["dt"])
        if name in type(self).states:
            raise AttributeError(
                f"{type(self).__name__}: {name!r} is a state, which is not stored in the neuron; record it with "
                f"ranvier.record(net, x, {name!r}), or get it from y, state = ranvier.scan(net, x)"
            )
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a parameter, option, time constant or the surrogate. It takes effect at once; a wrong value raises an
        error.
        """
        if name == "surrogate":
            if value is not None and not self.spiking:
                raise ValueError(f"{type(self).__name__} has no spikes, so it cannot have a surrogate")
            self.__dict__["_surrogate"] = arguments.surrogate(type(self).__name__, value)
            self._rules.clear()
        elif name in ("learn", "shape", "states", "params", "options", "times") and "settings" in self.__dict__:
            raise AttributeError(
                f"{type(self).__name__}: {name} is fixed when the neuron is built; build a new neuron"
                + (", or set a parameter: lif.beta = torch.nn.Parameter(lif.beta)" if name == "learn" else "")
            )
        elif name in self.__dict__.get("settings", ()):
            self._set_option(name, value)
        elif name in type(self).times:
            for k, v in self._of_times({name: value}).items():
                self._set_param(k, v)
        elif name in self.params and not isinstance(value, nn.Parameter):
            self._set_param(name, value)
        else:
            super().__setattr__(name, value)

    def _set_param(self, name: str, given: Any) -> None:
        old = getattr(self, name)
        new = arguments.value(f"{type(self).__name__}: {name}", given, self._shape, *self._range(name))
        before = old.detach().clone()
        self._put(name, new)
        try:
            self._check_step()
        except BaseException:
            self._put(name, before)
            raise

    def _put(self, name: str, new: Tensor) -> None:
        old = getattr(self, name)
        if isinstance(old, nn.Parameter):
            with torch.no_grad():
                old.copy_(new)
        else:
            self._buffers[name] = new if old.is_meta or new.is_meta else new.to(old)

    def _set_option(self, name: str, value: Any) -> None:
        before, rules = dict(self.settings), dict(self._rules)
        times = {k: getattr(self, k).detach() for k in self.times} if name == "dt" else {}
        self.settings[name] = self.options[name].checked(f"{type(self).__name__}: {name}", value)
        try:
            if not self.options[name].number:
                self._rules.clear()
                self.bound(())
            for k, v in self._of_times(times).items():  # if dt changes, time constants are kept and decays change
                self._set_param(k, v)
            self._check_step()
        except BaseException:
            self.settings.update(before)
            self._rules.update(rules)
            raise

    def bound(self, names: tuple[str, ...]) -> Rule:
        """Return the rule of this neuron."""
        raise NotImplementedError

    @property
    def spiking(self) -> bool:
        """Whether the rule contains a spike."""
        raise NotImplementedError

    if not TYPE_CHECKING:  # for type checkers they are declared above

        @property
        def surrogate(self) -> Surrogate:
            return self._surrogate

        @property
        def learn(self) -> tuple[str, ...]:
            return tuple(k for k in self.params if isinstance(getattr(self, k), nn.Parameter))

        @property
        def shape(self) -> tuple[int, ...] | None:
            return self._shape

    @property
    def learnable(self) -> tuple[str, ...]:
        """The parameters that `learn` may contain."""
        return tuple(k for k, p in self.params.items() if p.learnable)

    def bounds(self, name: str) -> tuple[float | Tensor, float | Tensor]:
        """Return the bounds of a parameter during learning."""
        return self._range(name)

    def _range(self, name: str) -> tuple[float, float]:
        """Return the lowest and the highest value that may be given for a parameter."""
        low = self.params[name].low
        return (self.settings[low] if isinstance(low, str) else low), self.params[name].high

    def arguments(self) -> tuple[Rule, list[Tensor], list[float]]:
        """Return the rule, the parameters clamped to their bounds, and the run-time numbers, which follow the
        parameters.
        """
        rule = self._rules.get(()) or self.bound(())
        numbers = [self.settings[k] for k in rule.params[len(self.params) :] if k in self.settings]
        if rule.numbers:
            numbers += self._surrogate.varying.values()
        return rule, [self.value(k) for k in self.params], numbers

    def value(self, name: str) -> Tensor:
        """Return a parameter as the rule sees it: clamped to its bounds."""
        value = self._buffers.get(name)
        if value is None:
            value = getattr(self, name)
        if not value.requires_grad:
            return value
        low, high = self.bounds(name)
        unbounded = isinstance(low, float) and isinstance(high, float) and math.isinf(low) and math.isinf(high)
        return value if unbounded else bounded(value, low, high)
