"""A network that runs step by step."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ranvier.backends import choose
from ranvier.backends.step import Layer, Step
from ranvier.nn import verbs
from ranvier.nn.linear import Linear
from ranvier.nn.neuron import Neuron
from ranvier.nn.plan import plain_neuron
from ranvier.nn.recurrent import Recurrent
from ranvier.nn.sequential import Sequential
from ranvier.nn.stage_linear import LinearStage
from ranvier.nn.watched import all_watched, watched

DTYPES = torch.float32, torch.float64
LARGE = 1 << 23  # multiplications per step above which torch's products are faster, though their calls cost more


class Lessons(Protocol):
    """The protocol of `learn` in `Stream`; `ranvier.online.Learning` implements it. `begin` returns the object that
    runs the network while it learns.
    """

    def begin(self, net: nn.Module) -> Any: ...


class Stream:
    """A network that runs step by step and stores its state. It runs without gradients, or learns while it runs. Call
    `y_t = stream(x_t)` with x_t [B, *features]. `stream.reset()` goes back to the initial state; `stream.state` can be
    read and set.

    For a `Sequential` of linear layers and neurons (also recurrent ones), a step is one compiled call, which takes some
    microseconds. Its membranes may differ from those of `ranvier.step` by rounding, because sums have another order.

    >>> import torch, ranvier
    >>> stream = ranvier.Stream(ranvier.LIF(beta=1.0))
    >>> [stream(torch.full((1, 1), 0.6)).item() for _ in range(4)]
    [0.0, 1.0, 0.0, 1.0]

    learn: a `ranvier.online.Learning`, which defines loss, optimiser and gradient. Then `stream(x_t, target)` learns
    from the step, `stream(x_t)` only updates state and traces, and `stream.reward(r)` learns from a reward for earlier
    steps. `state_dict()` contains weights, state, traces and optimiser; a stream that loads it continues with results
    that are equal bit for bit.
    """

    def __init__(self, net: nn.Module, learn: Lessons | None = None):
        self.net, self.lesson = net, learn.begin(net) if learn is not None else None
        self._state: verbs.State | None = None
        self._bound: _Bound | None = None

    @property
    def state(self) -> verbs.State | None:
        """The state after the last step; None before the first step."""
        if self.lesson is not None:
            return self.lesson.state
        return self._state if self._bound is None else self._bound.state()

    @state.setter
    def state(self, state: verbs.State | None) -> None:
        if self.lesson is not None:
            self.lesson.state = state
        self._state, self._bound = state, None

    def reset(self) -> None:
        """Go back to the initial state. Learned weights are kept."""
        if self.lesson is not None:
            self.lesson.reset()
        elif self._bound is None:
            self._state = None
        else:
            self._bound.begin()

    def __call__(self, x_t: Tensor, target: Any = None) -> Any:
        if self.lesson is not None:
            return self.lesson(x_t, target)
        if target is not None:
            raise ValueError("Stream: a target is for a stream that learns; build it with learn=Learning(...)")
        bound = self._bound
        if bound is not None and bound.serves(x_t):
            return bound(x_t)
        with torch.no_grad():
            self.state = self.state  # the setter copies the state out of the compiled step
            y, self._state = verbs.step(self.net, x_t, self._state)
            self._bound = _bind(self.net, x_t, self._state)
        return y

    def reward(self, value: float) -> None:
        """Learn from a delayed reward; see `ranvier.online.Learning`."""
        if self.lesson is None:
            raise ValueError("Stream: a reward is for a stream that learns; build it with learn=Learning(...)")
        self.lesson.reward(value)

    def state_dict(self) -> dict[str, Any]:
        """Return all tensors and numbers that are needed to continue with exactly the same results, for torch.save."""
        if self.lesson is not None:
            return self.lesson.state_dict()
        return {"net": self.net.state_dict(), "state": self.state}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from the result of `state_dict`."""
        if self.lesson is not None:
            self.lesson.load_state_dict(saved)
        else:
            self.net.load_state_dict(saved["net"])
            self.state = saved["state"]

    def __getstate__(self) -> dict[str, Any]:
        state = None if self.lesson is not None else self.state
        return {
            "net": self.net,
            "lesson": self.lesson,
            "_state": state,
            "_bound": None,
        }  # compiled code contains addresses, so a copy or pickle must not include it


class _Bound:
    """The compiled step of a network, with the layers and the form of input for which it was compiled."""

    def __init__(self, net: Sequential, x_t: Tensor, parts: "list[_Part]"):
        self.parts, self.begun = parts, True
        self.step = Step([p.layer for p in parts], len(x_t), x_t.shape[1], x_t.dtype)
        self.shape, self.dtype = x_t.shape, x_t.dtype
        self.modules = list(net.modules())
        self.within = [(m._modules, dict(m._modules)) for m in self.modules if m._modules]
        self.tensors = [
            (where, name, t, 0 if t is None else t.data_ptr())
            for m in self.modules
            for where in (m._parameters, m._buffers)
            for name, t in where.items()
        ]
        self.rules = [(p.neuron, p.layer.rule, dict(p.neuron.settings)) for p in parts if p.neuron is not None]

    def serves(self, x_t: Any) -> bool:
        """Whether the compiled step is still valid for the network, and was made for inputs like this one."""
        return (
            type(x_t) is Tensor
            and x_t.shape == self.shape
            and x_t.dtype is self.dtype
            and x_t.is_contiguous()
            and x_t.device.type == "cpu"
            and not any(map(watched, self.modules))
            and not all_watched()
            and all(where.get(k) is t and (t is None or t.data_ptr() == at) for where, k, t, at in self.tensors)
            and all(now == then for now, then in self.within)
            and all(n.bound(()) is rule and n.settings == settings for n, rule, settings in self.rules)
            and choose.fuses(x_t)
        )

    def __call__(self, x_t: Tensor) -> Tensor:
        self.begun = True
        return self.step(x_t)

    def begin(self) -> None:
        """Start from the initial state."""
        like, state = torch.zeros(1, dtype=self.dtype, device="cpu"), {}
        for part in self.parts:
            if part.neuron is not None:
                x = like.expand(self.shape[0], part.width)
                state[part.path] = {"z": x, **part.neuron.initial(x)}
        self.load(state)
        self.begun = False

    def load(self, state: verbs.State) -> None:
        """Start from this state of the network."""
        states, outputs = iter(self.step.states), iter(self.step.outputs)
        with torch.no_grad():
            for part in self.parts:
                if part.neuron is not None:
                    inner = state[part.path]
                    for row, name in zip(next(states), part.neuron.states, strict=True):
                        row.copy_(inner[name].reshape(-1))
                    if part.layer.back is not None:
                        next(outputs).copy_(inner["z"])

    def state(self) -> verbs.State | None:
        """Return a copy of the state of the network; None before the first step."""
        if not self.begun:
            return None
        states, outputs, found = iter(self.step.states), iter(self.step.outputs), {}
        for part in self.parts:
            if part.neuron is not None:
                rows, shape = next(states), (self.shape[0], part.width)
                inner = {k: v.clone().view(shape) for k, v in zip(part.neuron.states, rows, strict=True)}
                found[part.path] = inner if part.layer.back is None else {"z": next(outputs).clone(), **inner}
        return found


class _Part:
    """One layer of the compiled step, with its neuron, and the path of the module that has its state."""

    def __init__(self, path: str, temporal: Any, linear: nn.Linear | None):
        neuron = temporal.neuron if isinstance(temporal, Recurrent) else temporal
        back: Any = temporal.feedback.weight if isinstance(temporal, Recurrent) else None
        weight, bias = (linear.weight, linear.bias) if linear is not None else (None, None)
        self.path, self.neuron, self.width = path, neuron, 0
        rule, params = (None, []) if neuron is None else (neuron.bound(()), _params(neuron))
        self.layer = Layer(weight, bias, back, rule, params)

    def takes(self, width: int, dtype: torch.dtype) -> bool:
        """Whether a compiled step can run this layer for inputs of this width and dtype, with its tensors as they are
        now. Also set `self.width`, the width of the output.
        """
        layer = self.layer
        if layer.weight is not None:
            if layer.weight.dim() != 2 or layer.weight.shape[1] != width:
                return False
            width = len(layer.weight)
        self.width = width
        fits = layer.bias is None or layer.bias.shape == (width,)
        fits = fits and (layer.back is None or layer.back.shape == (width, width))
        per_neuron = all(p.numel() == 1 or p.shape == (width,) for p, _, _ in layer.params)
        alike = all(t.dtype == dtype and t.is_contiguous() and t.device.type == "cpu" for t in layer.tensors)
        return fits and per_neuron and alike and all(type(t) in choose.PLAIN for t in layer.tensors)


def _params(neuron: Neuron) -> list[tuple[Tensor, float, float]]:
    """Return the arguments of the rule that follow inputs and states: (tensor, low, high), where the bounds are
    infinite if the tensor is not learned. The tensors are not copied.
    """
    found = []
    for k in neuron.params:
        value = getattr(neuron, k)
        low, high = neuron.bounds(k) if isinstance(value, nn.Parameter) else (-math.inf, math.inf)
        found.append((value, float(low), float(high)))
    extra = neuron.values(torch.empty(0, dtype=found[0][0].dtype if found else None, device="cpu"))[len(found) :]
    return [*found, *((v, -math.inf, math.inf) for v in extra)]


def _bind(net: Any, x_t: Any, state: verbs.State) -> _Bound | None:
    """Return the compiled step of a network for inputs like x_t, starting from `state`; None if the network cannot be
    compiled to one step.
    """
    fits = type(net) is Sequential and type(x_t) is Tensor and x_t.dim() == 2 and x_t.dtype in DTYPES and x_t.numel()
    if not fits or not choose.fuses(x_t) or all_watched() or any(map(watched, net.modules())):
        return None
    parts, width = [], x_t.shape[1]
    for part in _parts(net):
        if part is None or not part.takes(width, x_t.dtype):
            return None
        parts.append(part)
        width = width if part.layer.weight is None else len(part.layer.weight)
    work = sum(w.numel() for p in parts for w in (p.layer.weight, p.layer.back) if w is not None)
    if not parts or len(x_t) * work > LARGE:
        return None
    bound = _Bound(net, x_t, parts)
    bound.load(state)
    return bound


def _parts(net: Sequential) -> Iterator[_Part | None]:
    """Yield the layers of a network in the form that the compiled step needs; None for a layer that it cannot run."""
    paths = {m: p for p, m in net.named_modules()}
    part: Any
    for part in net.plan().parts:
        if isinstance(part, LinearStage):
            yield _Part(paths[part.temporal], part.temporal, part.linear)
        elif type(part) in (nn.Linear, Linear):
            yield _Part("", None, part)
        elif plain_neuron(part) and getattr(type(part), "values", None) is Neuron.values:
            yield _Part(paths[part], part, None)
        else:
            yield None
