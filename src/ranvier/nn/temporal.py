"""The base class of temporal layers, which have a state."""

import threading
from typing import Any

import torch
from torch import Tensor, nn

here = threading.local()  # .book: the `Book` of the verb that runs in this thread, see verbs.py


class Temporal(nn.Module):
    """A layer with a state. Sequences are x [T, B, *features]; one step is x_t [B, *features].

    A subclass defines `run`; `scan`, `step` and the plain call use it. The state is an argument and a result; the layer
    itself stores nothing between calls.
    """

    records: tuple[str, ...] = ("z",)
    """The names that `ranvier.record` can record in this layer: its states, and "z" for its output."""
    relays = False
    """Whether its output is spikes of the layer before it, as in dropout and delays: they are not counted again."""

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        """Run x from `state` (None: the initial state) -> output, new state, and the states in `names` at all steps,
        [T, B, *features] each.
        """
        raise NotImplementedError(f"{type(self).__name__} must define run(x, state, names)")

    def explain(self, x: Any) -> str:
        """Describe how this layer runs for an input like x, and why: for example by which backend."""
        return "made of the layers inside it"

    def explanations(self, x: Any) -> list[tuple[nn.Module, str]]:
        """Return the text that `ranvier.explain` prints for this layer."""
        return [(self, self.explain(x))]

    def scan(self, x: Any, state: Any = None) -> tuple[Any, Any]:
        """Run a whole sequence: x [T, B, *features] and the state before it -> output and the state after it."""
        return self.run(x, state)[:2]

    def step(self, x_t: Any, state: Any = None) -> tuple[Any, Any]:
        """Run one step: x_t [B, *features] and the state before it -> output and the state after it."""
        many = isinstance(x_t, (tuple, list))
        if state is None and not many and x_t.dim() < 2:
            raise ValueError(f"{type(self).__name__}.step wants x_t [B, *features], got shape {tuple(x_t.shape)}")
        y, state = self.scan(tuple(x.unsqueeze(0) for x in x_t) if many else x_t.unsqueeze(0), state)
        return (tuple(v[0] for v in y) if isinstance(y, tuple) else y[0]), state

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        for k, own in (*self._parameters.items(), *self._buffers.items()):
            saved = state_dict.get(prefix + k)  # a single number may be saved with shape [] or [1]
            if own is not None and saved is not None and {saved.shape, own.shape} == {torch.Size([]), torch.Size([1])}:
                state_dict[prefix + k] = saved.reshape(own.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, x: Any) -> Any:
        book = getattr(here, "book", None)
        return self.scan(x)[0] if book is None else book.run(self, x, self)


def check_floating(layer: nn.Module, x: Any) -> None:
    """Raise TypeError unless x is a floating-point tensor."""
    if isinstance(x, Tensor) and x.is_floating_point():
        return
    name = type(layer).__name__
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: input must be a tensor [T, B, *features], got {type(x).__name__}")
    raise TypeError(f"{name}: input must be floating point, got {x.dtype}; spikes are 1.0 and 0.0: call .float()")


def check_sequence(layer: nn.Module, x: Any) -> None:
    """Raise an error unless x is a floating-point sequence [T, B, *features]."""
    check_floating(layer, x)
    if x.dim() < 3:
        name = type(layer).__name__
        raise ValueError(
            f"{name}: input must be a sequence [T, B, *features], got shape {tuple(x.shape)}; "
            f"for one step [B, *features] use ranvier.step(net, x_t, state), or ranvier.Stream(net), which remembers "
            f"the state for you"
        )


def promoted(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of states for inputs of this dtype: float64 for float64, otherwise float32."""
    return torch.promote_types(dtype, torch.float32)
