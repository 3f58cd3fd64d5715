"""Nodes that run a neuron of Ranvier (here: core neuron), described by class attributes."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

import ranvier
from ranvier.compat.rows import bound, lend, signature
from ranvier.compat.spikingjelly.activation_based import surrogate
from ranvier.compat.spikingjelly.activation_based.carried import Carried, Kept, note
from ranvier.compat.spikingjelly.activation_based.neuron.base_node import BaseNode, rest
from ranvier.nn.temporal import promoted

PARTS = ("neuronal_charge", "neuronal_fire", "neuronal_reset")
Means = dict[str, Callable[[Any], Any]]

# Arguments of core neurons -> their values, computed from a node. In SpikingJelly, v_reset selects the kind of reset.
FIRES: Means = {
    "threshold": lambda n: n.v_threshold,
    "surrogate": lambda n: surrogate.fused(n.surrogate_function),
}
RESETS: Means = {
    "reset": lambda n: "subtract" if n.v_reset is None else "zero",
    "detach_reset": lambda n: n.detach_reset,
}


class Node(Carried, BaseNode):
    """A node that runs a core neuron.

    neuron: the core neuron. takes: the published arguments and their defaults, in order (`...` means no default). They
    become attributes, and may be changed at any time. means: {argument of the core neuron: function that computes it
    from the node}. kept: the memories. learned: {published parameter: (parameter of the core neuron, function that
    computes its initial value from the arguments)}.
    parts: whether a step consists of charge, fire and reset. If so, a subclass may define any of these, and the
    surrogate may be any function; such a node runs step by step.
    """

    neuron: ClassVar[Callable[..., Any]]
    takes: ClassVar[dict[str, Any]]
    means: ClassVar[Means]
    kept: ClassVar[Kept] = {"v": ("v", rest)}
    learned: ClassVar[dict[str, tuple[str, Callable[[dict], Any]]]] = {}
    parts: ClassVar[bool] = False
    by_hand: ClassVar[bool] = False
    step_by_step: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        if "takes" in own:
            cls.__signature__ = signature(cls.takes)
        elif "__init__" in own:
            written = inspect.signature(cls.__init__)
            cls.__signature__ = written.replace(parameters=list(written.parameters.values())[1:])
        if given := [name for name in PARTS if name in own]:
            if not cls.parts:
                raise TypeError(
                    f"{cls.__name__} defines {given}, which {cls.__mro__[1].__name__} would never call; subclass "
                    f"neuron.BaseNode, which runs charge, fire and reset, or write a rule with ranvier.Neuron"
                )
            cls.by_hand = True
        cls.step_by_step = cls.step_by_step or "single_step_forward" in own

    def __init__(self, *args: Any, **kwargs: Any):
        given = bound(type(self), args, kwargs)
        nn.Module.__init__(self)
        self.__dict__.update(_memories={}, _reset_values={}, _made={}, _lent={}, _step_shape=None)
        self.step_mode = given.pop("step_mode", self.supported_step_mode()[0])
        self._publish({k: v for k, v in given.items() if not k.startswith("init_")})
        for name, (own, begin) in self.learned.items():
            self.register_parameter(name, nn.Parameter(begin(given)))
            self._lent[name] = own, tuple(getattr(self, name).shape)
        for name, (_, begin) in self.kept.items():
            self.register_memory(name, begin(self) if callable(begin) else begin)
        _ = self.core  # raises errors for arguments out of range

    @property
    def core(self) -> Any:
        """The core neuron, for the current attributes."""
        return self._tuned(torch.zeros(()))

    def _tuned(self, x: Tensor, **instead: Any) -> Any:
        means = {k: of(self) for k, of in self.means.items()} | instead
        live = {k: v for k, v in means.items() if isinstance(v, Tensor) and v.requires_grad}
        self.__dict__["_live"] = live
        now = {k: _comparable(v) for k, v in means.items()} | {"of": (x.dtype, x.device)}
        before, core = self._made.get(bool(instead), (None, None))
        if now != before:
            neuron = type(self).neuron
            numbers = {k for k, v in means.items() if k in neuron.params and v is not None}  # type: ignore[attr-defined]
            exact = {"dtype": promoted(x.dtype), "device": x.device}
            given = {k: torch.as_tensor(v).detach().to(**exact) if k in numbers else v for k, v in means.items()}
            core = neuron(**given, **({"learn": ()} if self.learned else {})).to(x.device)
            self._made[bool(instead)] = now, core
        return core

    @contextmanager
    def lent(self, x: Tensor, **instead: Any) -> Iterator[Any]:  # type: ignore[override]
        core = self._tuned(x, **instead)
        with lend(core, {own: getattr(self, name) for name, (own, _) in self._lent.items()} | self._live):
            yield core

    @property
    def hand(self) -> bool:
        """Whether the node runs as torch operations, step by step, because one of its parts or its surrogate differs
        from the core neuron's.
        """
        own = surrogate.fused(self.surrogate_function) is None
        if own and not self.parts:
            raise TypeError(
                f"{type(self).__name__}: surrogate_function must be one of those in surrogate, with spiking=True, got "
                f"{self.surrogate_function!r}; a subclass of neuron.BaseNode accepts any function"
            )
        return own or self.by_hand

    def neuronal_charge(self, x: Tensor) -> None:
        with self.lent(x, reset="none", surrogate=ranvier.surrogate.atan()) as core:
            self.v = core.run(x.reshape(1, 1, -1), {"v": self.v.reshape(1, -1)})[1]["v"].reshape(x.shape)

    def single_step_forward(self, x: Tensor) -> Any:  # type: ignore[override]
        if self.hand:
            note(self, x.unsqueeze(0), "torch operations, step by step")
            return BaseNode.single_step_forward(self, x)
        return self.fuse(x.unsqueeze(0))[0]

    def multi_step_forward(self, x_seq: Tensor) -> Any:  # type: ignore[override]
        if self.step_by_step or self.hand:
            return BaseNode.multi_step_forward(self, x_seq)
        return self.fuse(x_seq)

    def fuse(self, x_seq: Tensor) -> Tensor:
        y, traces = self.carry(x_seq, ("v",) if self.store_v_seq else ())
        if self.store_v_seq:  # otherwise v_seq is not changed: programs may store their own records in it
            self.v_seq = traces.get("v")
        return y

    def train(self, mode: bool = True) -> Any:
        return nn.Module.train(self, mode)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._made.clear()  # core neurons are created again on the device of the next input
        return BaseNode._apply(self, fn, recurse)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_made": {}, "_live": {}}


def _comparable(value: Any) -> Any:
    if isinstance(value, Tensor):
        return tuple(value.shape), value.flatten().tolist()
    return (value.name, value.numbers) if isinstance(value, ranvier.surrogate.Surrogate) else value
