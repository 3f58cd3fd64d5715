"""Step modes and hidden memories, as SpikingJelly has them; and a core layer dressed in both."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

import ranvier
from ranvier.nn.temporal import Temporal, promoted


class StepModule:
    """A module with a step mode: "s", one step per call, or "m", a sequence [T, N, ...] per call."""

    def supported_step_mode(self) -> tuple[str, ...]:
        return "s", "m"

    @property
    def step_mode(self) -> str:
        return getattr(self, "_step_mode", "s")

    @step_mode.setter
    def step_mode(self, value: str) -> None:
        if value not in self.supported_step_mode():
            raise ValueError(
                f"{type(self).__name__}: step_mode must be one of {self.supported_step_mode()}, got {value!r}"
            )
        self._step_mode = value


class SingleStepModule(StepModule):
    """A module for steps only."""

    def supported_step_mode(self) -> tuple[str, ...]:
        return ("s",)


class MultiStepModule(StepModule):
    """A module for sequences only."""

    def supported_step_mode(self) -> tuple[str, ...]:
        return ("m",)

    @property
    def step_mode(self) -> str:
        return "m"

    @step_mode.setter
    def step_mode(self, value: str) -> None:
        StepModule.step_mode.fset(self, value)  # type: ignore[misc]


class Container(StepModule):
    """What stands within goes step by step: `set_step_mode` does not reach it."""


class MemoryModule(StepModule, nn.Module):
    """A module whose memories stay between calls until `reset()`. They are no parameters and not in its state_dict."""

    def __init__(self, step_mode: str = "s"):
        super().__init__()
        self.__dict__["_memories"], self.__dict__["_reset_values"] = {}, {}
        self.step_mode = step_mode

    def register_memory(self, name: str, value: Any) -> None:
        """A memory of that name, which `reset()` puts back to a copy of this value."""
        if hasattr(self, name):
            raise ValueError(f"{type(self).__name__}: {name!r} is taken; choose another name for the memory")
        self._memories[name] = value
        self.set_reset_value(name, value)

    def set_reset_value(self, name: str, value: Any) -> None:
        self._reset_values[name] = copy.deepcopy(value)

    def get_reset_value(self, name: str) -> Any:
        return self._reset_values[name]

    def reset(self) -> None:
        """Forget: every memory is as it was registered."""
        for name, value in self._reset_values.items():
            self._memories[name] = copy.deepcopy(value)

    def detach(self) -> None:
        """Cut the memories off from the graph that made them."""
        for name, value in self._memories.items():
            self._memories[name] = ranvier.detach(value)

    def memories(self) -> Iterator[Any]:
        yield from self._memories.values()

    def named_memories(self) -> Iterator[tuple[str, Any]]:
        yield from self._memories.items()

    def __getattr__(self, name: str) -> Any:
        memories = self.__dict__.get("_memories", {})
        return memories[name] if name in memories else super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        memories = self.__dict__.get("_memories", {})
        if name in memories:
            memories[name] = value
        else:
            super().__setattr__(name, value)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        for values in (self._memories, self._reset_values):
            for name, value in values.items():
                values[name] = _mapped(fn, value)
        return super()._apply(fn, recurse)

    def single_step_forward(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define single_step_forward(x)")

    def multi_step_forward(self, x_seq: Any, *args: Any, **kwargs: Any) -> Any:
        return torch.stack([self.single_step_forward(x_t, *args, **kwargs) for x_t in x_seq.unbind(0)])

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return (self.single_step_forward if self.step_mode == "s" else self.multi_step_forward)(*args, **kwargs)

    def extra_repr(self) -> str:
        return f"step_mode={self.step_mode}"


def _mapped(fn: Any, value: Any) -> Any:
    if isinstance(value, Tensor):
        return fn(value)
    return {k: _mapped(fn, v) for k, v in value.items()} if isinstance(value, dict) else value


class Carried(MemoryModule):
    """A core layer whose state is kept in hidden memories, in either step mode, for inputs of any number of axes.

    kept: memory name -> state name of the core layer; with none, the whole state is one memory, `state`.
    published: parameter name here -> name in the core layer; what is not named is not in the state_dict.
    """

    def __init__(
        self,
        core: Temporal,
        step_mode: str = "s",
        kept: dict[str, tuple[str, float]] | None = None,
        published: dict[str, str] | None = None,
    ):
        super().__init__(step_mode)
        self.core = core
        self._kept = {} if kept is None else {name: state for name, (state, _) in kept.items()}
        for name, (_, begin) in (kept or {}).items():
            self.register_memory(name, begin)
        if not self._kept:
            self.register_memory("state", None)
        self.register_memory("_step_shape", None)
        publish(self, {k: f"core.{v}" for k, v in (published or {}).items()})

    def single_step_forward(self, x: Tensor) -> Any:  # type: ignore[override]
        return self.multi_step_forward(x.unsqueeze(0))[0]

    def multi_step_forward(self, x_seq: Tensor) -> Any:  # type: ignore[override]
        shape = tuple(x_seq.shape[1:])
        if self._step_shape not in (None, shape):
            raise ValueError(
                f"{type(self).__name__}: its memory is of steps {self._step_shape} but this input is of steps {shape}; "
                f"call reset() (or functional.reset_net(net)) before a new batch"
            )
        self._step_shape = shape
        missing = max(0, 2 - len(shape))  # the core wants [T, B, *features]
        x = x_seq.reshape(len(x_seq), *(1,) * missing, *shape)
        y, after = self.core.scan(x, self._before(x))
        for name, state in self._kept.items():
            setattr(self, name, after[state].reshape(shape))
        if not self._kept:
            self.state = after
        return y.reshape(len(x_seq), *y.shape[1 + missing :])

    def _before(self, x: Tensor) -> Any:
        if not self._kept:
            return self.state
        given = {state: torch.as_tensor(getattr(self, name), device=x.device) for name, state in self._kept.items()}
        shape, dtype = x.shape[1:], promoted(x.dtype)
        return {k: (v.reshape(shape) if v.dim() else v.expand(shape)).to(dtype) for k, v in given.items()}


class _Published:
    """The two directions of `publish`; a class, so that modules can be copied and pickled."""

    def __init__(self, module: nn.Module, names: dict[str, str]):
        self.own = set(_values(module))
        pairs = ((shown, mine, k) for shown, mine in names.items() for k in self.own if k.startswith(mine))
        self.known = {shown + k[len(mine) :]: k for shown, mine, k in pairs}

    def save(self, module: nn.Module, state: dict, prefix: str, metadata: Any) -> None:
        values = {k: state.pop(prefix + k) for k in self.own if prefix + k in state}
        state.update({prefix + shown: values[mine] for shown, mine in self.known.items() if mine in values})

    def load(self, module: nn.Module, state: dict, prefix: str, *rest: Any) -> None:
        current = _values(module)
        for shown, mine in self.known.items():
            if prefix + shown in state:
                value = state.pop(prefix + shown)
                fits = value.numel() == current[mine].numel()
                state[prefix + mine] = value.reshape(current[mine].shape) if fits else value
        for mine in self.own - set(self.known.values()):
            state.setdefault(prefix + mine, current[mine])


def _values(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.named_parameters()) | dict(module.named_buffers())


def publish(module: nn.Module, names: dict[str, str]) -> None:
    """Make a module's state_dict bear the names it is published with: {published prefix: own prefix}.

    What is not named stays out of it. A value is fitted to the shape of the parameter here when it is loaded.
    """
    both = _Published(module, names)
    module._register_state_dict_hook(both.save)
    module.register_load_state_dict_pre_hook(both.load)
