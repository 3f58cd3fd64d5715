"""Ranvier's layers (here: core layers) with SpikingJelly's names: step modes, memories between calls, and parameters
with published names.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ranvier.compat.rows import lend
from ranvier.compat.spikingjelly.activation_based.base import MemoryModule
from ranvier.nn.temporal import Temporal, here, promoted

_C: Any = torch._C

Kept = dict[str, tuple[str, Any]]
"""Published name of a memory -> name of the state in the core layer, and its value before the first step."""


class Published(nn.Module):
    """A module that runs a core layer, while its own parameters and buffers have published names.

    The core layer is not a submodule. While it runs, it uses the tensors of this module, so optimisers,
    `torch.func.functional_call` and checkpoints see published names and shapes only.
    """

    core: Any
    _lent: Any

    def take(self, core: nn.Module, names: dict[str, str], shapes: dict[str, tuple[int, ...]] | None = None) -> None:
        """Move tensors of the core layer to this module: {published name: name in the core layer}. A name that ends in
        a dot is a module.
        """
        self.__dict__["core"], self.__dict__["_lent"] = core, {}
        for shown, own in names.items():
            if own.endswith("."):
                _put(self, shown[:-1], core.get_submodule(own[:-1]))
                continue
            where, _, leaf = own.rpartition(".")
            value = getattr(core.get_submodule(where), leaf)
            if value is None:
                continue
            shape = (shapes or {}).get(shown, tuple(value.shape))
            held = value.detach().reshape(shape)
            _put(self, shown, nn.Parameter(held) if isinstance(value, nn.Parameter) else held)
            self._lent[shown] = own, tuple(value.shape)

    @contextmanager
    def lent(self, x: Tensor) -> Iterator[Any]:
        """Yield the core layer; within this block it uses the tensors of this module. x: an input, for its dtype."""
        if self.core.training is not self.training:  # `module.training = False` also acts, as it does there
            self.core.train(self.training)
        held = {name: (_get(self, shown), shape) for shown, (name, shape) in self._lent.items()}
        with lend(self.core, {k: v if v.shape == shape else v.reshape(shape) for k, (v, shape) in held.items()}):
            yield self.core

    def train(self, mode: bool = True) -> Any:
        self.core.train(mode)
        return super().train(mode)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self.core._apply(fn)
        return super()._apply(fn, recurse)


def _put(module: nn.Module, name: str, value: Any) -> None:
    """Register a tensor or a module under a dotted name; modules that should contain it are created if necessary."""
    *way, leaf = name.split(".")
    for part in way:
        if part not in module._modules:
            module.add_module(part, nn.Module())
        module = module._modules[part]  # type: ignore[assignment]
    if isinstance(value, nn.Module):
        module.add_module(leaf, value)
    elif isinstance(value, nn.Parameter):
        module.register_parameter(leaf, value)
    else:
        module.register_buffer(leaf, value)


def _get(module: nn.Module, name: str) -> Tensor:
    where, _, leaf = name.rpartition(".")
    return getattr(module.get_submodule(where), leaf)


class Carried(Published, MemoryModule):
    """A core layer whose state is stored in memories between calls. It has both step modes, and its input may have any
    number of axes.

    `kept` lists the memories; if it is empty, the whole state is one memory, `state`.
    """

    kept: ClassVar[Kept] = {}

    def __init__(
        self,
        core: Temporal,
        step_mode: str = "s",
        published: dict[str, str] | None = None,
        shapes: dict[str, tuple[int, ...]] | None = None,
    ):
        super().__init__(step_mode)
        self.take(core, published or {}, shapes)
        self._step_shape: tuple[int, ...] | None = None
        for name, (_, begin) in self.kept.items():
            self.register_memory(name, begin)
        if not self.kept:
            self.register_memory("state", None)

    def reset(self) -> None:
        super().reset()
        self._step_shape = None

    def single_step_forward(self, x: Tensor) -> Any:  # type: ignore[override]
        return self.multi_step_forward(x.unsqueeze(0))[0]

    def multi_step_forward(self, x_seq: Tensor) -> Any:  # type: ignore[override]
        return self.carry(x_seq)[0]

    def carry(self, x_seq: Tensor, names: tuple[str, ...] = ()) -> tuple[Tensor, dict[str, Tensor]]:
        """Run x_seq [T, *step] from the memories -> output, and the named states at every step."""
        shape = tuple(x_seq.shape[1:])
        if self._step_shape not in (None, shape):
            raise ValueError(
                f"{type(self).__name__}: its memory has steps of shape {self._step_shape}, but this input {shape}; "
                f"call reset() (or functional.reset_net(net)) before a new batch"
            )
        self._step_shape = shape
        missing = max(0, 2 - len(shape))  # the core needs [T, B, *features]
        x = x_seq.reshape(len(x_seq), *(1,) * missing, *shape) if missing else x_seq
        with self.lent(x) as core:
            y, after, traces = core.run(x, self._before(x), names)
        note(self, x)
        mark: list[int] = []
        for name, (state, _) in self.kept.items():
            if state in after:
                setattr(self, name, _handed(self._fit(after[state], shape), mark))
        if not self.kept:
            self.state = after
        if mark_from(y):
            y.register_hook(lambda g: _spend(mark))
        y = y.reshape(len(x_seq), *y.shape[1 + missing :]) if missing else y
        return y, {n: t.reshape(len(x_seq), *shape) for n, t in traces.items()}

    def _fit(self, value: Tensor, shape: Any) -> Tensor:
        """Reshape a state of the core to a memory of this shape, or back. If the number of values differs, return it
        unchanged.
        """
        return value.reshape(shape) if value.numel() == math.prod(shape) and value.shape != shape else value

    def _before(self, x: Tensor) -> Any:
        if not self.kept:
            return self.state
        shape, dtype = x.shape[1:], promoted(x.dtype)
        given = {state: getattr(self, name) for name, (state, _) in self.kept.items()}
        given = {k: torch.as_tensor(v, device=x.device) for k, v in given.items() if v is not None}
        if not given:
            return None
        return {k: (self._fit(v, shape) if v.dim() else v.expand(shape)).to(dtype) for k, v in given.items()}


def note(module: Any, x: Tensor, how: str = "") -> None:
    """Tell `ranvier.explain`, if it is running, how this module is run."""
    if (book := getattr(here, "book", None)) is not None:
        asked = getattr(module, "backend", "torch")
        more = f'; backend="{asked}" is accepted but has no effect' if asked != "torch" else ""
        said = type(module).__name__, module.core, (how or module.core.explain(x)) + more
        if said not in book.notes:
            book.notes.append(said)


def mark_from(y: Tensor) -> bool:
    """Whether a second backward pass can be detected: only in eager mode, and if y has a graph."""
    return y.requires_grad and not torch.compiler.is_compiling() and _C._functorch.peek_interpreter_stack() is None


def _spend(mark: list[int]) -> None:
    if not _C._autograd._get_current_graph_task_keep_graph():
        mark.append(_C._current_graph_task_id())


class _Handed(torch.autograd.Function):
    """Pass a memory to the next call, and record whether its graph has been freed."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, mark: list[int]) -> Tensor:
        ctx.mark = mark
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        if any(task != _C._current_graph_task_id() for task in ctx.mark):
            raise RuntimeError(
                "backward reached the memory of an earlier batch, whose graph was freed; before a new batch, call "
                "functional.reset_net(net), or functional.detach_net(net) to keep the memories without their graph"
            )
        return grads[0], None


def _handed(value: Tensor, mark: list[int]) -> Tensor:
    return _Handed.apply(value, mark) if mark_from(value) else value.clone()
