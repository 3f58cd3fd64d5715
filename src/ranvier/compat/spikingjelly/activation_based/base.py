"""Step modes, and memories that are stored between calls, as in SpikingJelly. Your own classes may subclass these."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

import ranvier

BACKENDS = ("torch", "cupy", "triton", "cuda", "inductor", "lava", "auto")
"""Published names of kernels. All of them are accepted and stored, but Ranvier chooses which kernel runs."""


def check_backend_library(backend: str) -> None:
    """Raise a ValueError unless `backend` is one of the published names. None of them needs an installed package."""
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {BACKENDS}, got {backend!r}")


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
    """A module for single steps only."""

    def supported_step_mode(self) -> tuple[str, ...]:
        return ("s",)


SingleModule = SingleStepModule  # the name up to version 0.0.0.0.14


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
    """A container whose modules keep step mode "s": `set_step_mode` does not change them."""


class MemoryModule(StepModule, nn.Module):
    """A module that stores memories between calls until `reset()`. They are not parameters; its state_dict does not
    contain them.
    """

    def __init__(self, step_mode: str = "s"):
        super().__init__()
        self.__dict__["_memories"], self.__dict__["_reset_values"] = {}, {}
        self.step_mode = step_mode

    @property
    def supported_backends(self) -> tuple[str, ...]:
        return BACKENDS

    @property
    def backend(self) -> str:
        """The published name of the kernels, which is only stored: `ranvier.backend` chooses the backend."""
        return self.__dict__.get("_backend", "torch")

    @backend.setter
    def backend(self, value: str) -> None:
        check_backend_library(value)
        self._backend = value

    def register_memory(self, name: str, value: Any) -> None:
        """Register a memory with this name; `reset()` sets it to a copy of this value."""
        if hasattr(self, name):
            raise ValueError(f"{type(self).__name__}: {name!r} is taken; choose another name for the memory")
        self._memories[name] = value
        self.set_reset_value(name, value)

    def set_reset_value(self, name: str, value: Any) -> None:
        self._reset_values[name] = copy.deepcopy(value)

    def get_reset_value(self, name: str) -> Any:
        return self._reset_values[name]

    def reset(self) -> None:
        """Set every memory to its registered value."""
        for name, value in self._reset_values.items():
            self._memories[name] = copy.deepcopy(value)

    def detach(self) -> None:
        """Detach the memories from the autograd graph."""
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

    def __deepcopy__(self, memo: dict) -> Any:
        """Return a copy; its memories are detached from the graph, which cannot be copied."""
        new = memo[id(self)] = self.__new__(type(self))
        for name, value in self.__dict__.items():
            held = ranvier.detach(value) if name == "_memories" else value
            new.__dict__[name] = copy.deepcopy(held, memo)
        return new

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
