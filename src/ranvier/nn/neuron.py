"""The base class of neurons: parameters, states, and one rule."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from ranvier.backends import choose, op
from ranvier.derive.rule import Rule
from ranvier.derive.trace import RuleError
from ranvier.nn import signature
from ranvier.nn.declare import Learn, Option, Param, State, Time
from ranvier.nn.declared import Declared
from ranvier.nn.temporal import check_sequence, promoted

__all__ = ["Learn", "Neuron", "Option", "Param", "State", "Time"]


class Neuron(Declared):
    """Base class of all neurons. Declare parameters and states and write the rule of one step; the neuron then runs on
    every backend.

    >>> import torch, ranvier
    >>> from ranvier import Neuron, Param, State
    >>> from ranvier.ops import spike
    >>> class Integrator(Neuron):
    ...     beta: Param = Param(0.9, "decay of the membrane per step", low=0.0, high=1.0)
    ...     threshold: Param = Param(1.0)
    ...     v = State(0.0)
    ...
    ...     @staticmethod
    ...     def rule(x, v, beta, threshold):
    ...         v = beta * v + x
    ...         z = spike(v - threshold)
    ...         return z, (v - z * threshold,)
    >>> Integrator(beta=0.5)(torch.ones(3, 1, 1)).flatten()
    tensor([1., 1., 1.])

    The arguments of `rule` are the inputs (any names), then states, parameters and options by the names declared above.
    It returns the output (or a tuple of outputs) and the new states: a tuple in the order of the arguments, or a
    dictionary by name. The annotations are for editors and type checkers, and may be left out. With `learn:
    Learn[Literal["beta", "threshold"]] = Learn()` these tools also check the names in `learn`.

    Arguments:
        surrogate: the derivative of the spike, one of `ranvier.surrogate`; atan(2.0) if not given.
        learn: names of the parameters that are trained; a learned number has shape [1].
        shape: the shape of the features; then every neuron has its own parameters.

    Every parameter (a number, or a tensor broadcastable to the features) and every option is an argument too. They and
    the surrogate may also be set later: `lif.beta = 0.8`, `lif.surrogate = ranvier.surrogate.atan(5.0)`. A learned
    parameter stays within its bounds, see `ranvier.nn.bounds`.
    """

    rule: ClassVar[Callable[..., tuple[Any, Any]]]

    if TYPE_CHECKING:  # for constructors that call this one; all others are generated from the declarations

        def __init__(self, **given: Any) -> None: ...

    def bound(self, names: tuple[str, ...]) -> Rule:
        """Return the rule of this neuron, whose outputs are followed by the states in `names`."""
        if names not in self._rules:
            rule = self._bind(names)
            op.register(rule)
            self._rules[names] = rule
        return self._rules[names]

    def _bind(
        self, names: tuple[str, ...], said: Callable | None = None, inputs: tuple[str, ...] | None = None
    ) -> Rule:
        """Return the rule with its options resolved.

        said, inputs: the rule function and the names of its inputs, for neurons whose rule is built from terms.
        """
        said, inputs = type(self).rule if said is None else said, self.inputs if inputs is None else inputs
        numbers, options = self._numbers(said), self._made(said)
        arguments = (*inputs, *self.states, *self.params, *numbers)

        def function(*values: Any) -> tuple[tuple, tuple]:
            given = dict(zip(arguments, values, strict=False))  # the last values are for the surrogate
            result = said(**given, **options)
            outputs, states = self._sorted(result, said)
            named = {**dict(zip(self.states, states, strict=True)), "z": outputs[0]}
            return (*outputs, *(named[n] for n in names)), states

        function.__wrapped__ = said  # so that errors show the line of the user's rule
        name, surrogate = "_".join((type(self).__name__, *names)), self._surrogate
        rule = Rule(name, function, surrogate.derivative, inputs, tuple(self.states), (*self.params, *numbers))
        if not rule.spiking:
            return rule
        varying = tuple(f"surrogate_{k}" for k in surrogate.varying)
        return replace(rule, params=(*rule.params, *varying), numbers=varying)

    def _numbers(self, said: Callable) -> list[str]:
        """Return the names of the options that the rule reads as numbers at run time, such as dt."""
        taken = inspect.signature(said).parameters
        return [k for k, o in self.options.items() if o.number and k in taken]

    def _made(self, said: Callable) -> dict[str, Any]:
        """Return the values of the other options, in the form that the rule needs."""
        taken, made = inspect.signature(said).parameters, {}
        for k, o in self.options.items():
            if k in taken and not o.number:
                reads = inspect.signature(o.make).parameters if o.make else ()
                made[k] = o.make(**{n: self.settings[n] for n in reads}) if o.make else self.settings[k]
        return made

    def _sorted(self, result: Any, said: Callable) -> tuple[tuple, tuple]:
        """Return the outputs and new states that a rule returned, the states in the order of `states`. Raise RuleError
        if they do not fit the declarations.
        """
        name, wanted = type(self).__name__, ", ".join(self.states)
        cure = f"Return the output, then the states in the order of the arguments: return z, ({wanted},)"
        if not isinstance(result, tuple) or len(result) != 2:
            got = f"{len(result)} values" if isinstance(result, tuple) else "its output alone"
            raise RuleError(f"{name}.rule returns {got}{signature.place(said, 'return')}\n{cure}")
        outputs, states = result
        if isinstance(states, Mapping):
            if states.keys() != self.states.keys():
                where = signature.place(said, "return")
                raise RuleError(f"{name}.rule returns states {sorted(states)}, wanted {list(self.states)}{where}")
            states = tuple(states[k] for k in self.states)
        states = states if isinstance(states, tuple) else (states,)
        if len(states) != len(self.states):
            where = signature.place(said, "return")
            raise RuleError(f"{name}.rule gives {len(states)} states, wanted {len(self.states)}{where}\n{cure}")
        return (outputs if isinstance(outputs, tuple) else (outputs,)), states

    def values(self, like: Tensor) -> list[Tensor]:
        """Return the arguments of the rule that follow inputs and states: the parameters, then the run-time numbers
        (options such as dt, and the numbers of the surrogate). They have the device of `like`, and the dtype of states
        for this input.
        """
        (_, params, numbers), dtype = self.arguments(), promoted(like.dtype)
        return [*params, *(torch.full((), v, dtype=dtype, device=like.device) for v in numbers)]

    @property
    def spiking(self) -> bool:
        """Whether the rule contains a spike."""
        return self.bound(()).spiking

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_rules": {}}  # rules contain closures, which pickle cannot save; they are built again

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        self.bound(())

    def initial(self, x_t: Tensor) -> dict[str, Tensor]:
        """Return the state before the first step for inputs like x_t [B, *features]."""
        dtype = promoted(x_t.dtype)

        def begin(value: float | str) -> Tensor:
            if isinstance(value, str):
                return self.value(value).to(dtype).expand(x_t.shape)
            return torch.full(x_t.shape, float(value), dtype=dtype, device=x_t.device)

        return {k: begin(s.initial) for k, s in self.states.items()}

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        xs, state, params = self.prepare(x, state)
        values, after = choose.carry(self.bound(names), xs, list(state.values()), params)
        outputs, traced = values[: len(values) - len(names)], values[len(values) - len(names) :]
        y = outputs[0] if len(outputs) == 1 else tuple(outputs)
        return y, dict(zip(self.states, after, strict=True)), dict(zip(names, traced, strict=True))

    def prepare(self, x: Any, state: Any) -> tuple[tuple[Tensor, ...], dict[str, Tensor], list[Tensor]]:
        """Return the inputs, the initial state and the parameters, after checking them, in the form that a backend
        needs.
        """
        xs = self._inputs(x)
        first = xs[0][0] if xs[0].shape[0] else xs[0].sum(0)
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
            if not isinstance(v, Tensor):
                raise TypeError(
                    f"{name}: state {k!r} must be a tensor {tuple(x.shape[1:])}, got {v!r}; pass None to begin anew"
                )
            if v.shape != x.shape[1:]:
                raise ValueError(
                    f"{name}: state {k!r} is {tuple(v.shape)} but the input of a step is {tuple(x.shape[1:])}; "
                    f"pass state=None to begin a new batch"
                )
        return {k: state[k].to(promoted(x.dtype)) for k in self.states}

    def extra_repr(self) -> str:
        shown = []
        for k in self.params:
            name = next((n for n, t in self.times.items() if t.of == k and k in self.replaced), k)
            value, learned = self.value(k), isinstance(getattr(self, k), nn.Parameter)
            value = value if name == k else getattr(self, name)
            known = not value.is_meta and not torch.compiler.is_compiling()  # a traced value has no number
            text = f"{value.item():g}" if known and value.numel() == 1 else f"{tuple(value.shape)}"
            shown.append(f"{name}={text}{' (learned)' if learned else ''}")
        shown += [f"{k}={v!r}" for k, v in self.settings.items() if v != self.options[k].default]
        return ", ".join([*shown, f"surrogate={self.surrogate!r}"] if self.spiking else shown)
