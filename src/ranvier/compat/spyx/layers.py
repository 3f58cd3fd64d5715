"""Spyx's layers without neurons, its Sequential, and `run`, which runs models over time."""

from typing import Any

import torch
from torch import Tensor
from torch import nn as torch_nn

from ranvier.compat.spyx.neurons import _shape
from ranvier.nn import pool
from ranvier.nn.sequential import fold


class ActivityRegularization(torch_nn.Module):
    """(spikes, count) -> (spikes, count + spikes): the input of the regularisers of `fn`. A sum, not a mean."""

    def __init__(self, hidden_shape: Any, batch_size: int = 1, dtype: torch.dtype = torch.float32):
        super().__init__()
        self.hidden_shape, self.dtype = _shape(hidden_shape), dtype

    def initial_state(self, batch_size: int) -> Tensor:
        return torch.zeros(batch_size, *self.hidden_shape, dtype=self.dtype)

    def forward(self, spikes: Tensor, spike_count: Tensor) -> tuple[Tensor, Tensor]:
        return spikes, spike_count + spikes

    def scan(self, spikes: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        return spikes, count + spikes.sum(0)


def PopulationCode(num_classes: int) -> pool.PopulationReadout:
    """Sum groups of consecutive units: [..., classes * population] -> [..., classes], as in Spyx's documentation. (The
    code of Spyx sums other groups.)
    """
    return pool.PopulationReadout(num_classes)


def sum_pool(value: Tensor, window_shape: Any, strides: Any, padding: str, channel_axis: int | None = -1) -> Tensor:
    """Sum over windows of value [B, *spatial, C], with channels at `channel_axis` and padding "SAME" or "VALID"."""
    window = _full(window_shape, value, channel_axis)
    return pool.sum_pool(value, window, _full(strides, value, channel_axis), padding)


def _full(size: Any, value: Tensor, channel_axis: int | None) -> tuple[int, ...]:
    """Return the size of a window on every axis; it is 1 on the axes of batch and channels."""
    axes = value.dim()
    if channel_axis and not -axes < channel_axis < axes:
        raise ValueError(f"sum_pool: there is no channel axis {channel_axis} in {tuple(value.shape)}")
    channel = channel_axis % axes if channel_axis else 0
    spatial = [k for k in range(1, axes) if k != channel]
    size = (size,) * len(spatial) if isinstance(size, int) else tuple(size)
    if len(size) == axes:
        return size
    if len(size) > axes:
        raise ValueError(f"sum_pool: {size} has more numbers than {tuple(value.shape)} has axes")
    if len(size) != len(spatial):
        return (1,) * (axes - len(size)) + size
    full = [1] * axes
    for axis, n in zip(spatial, size, strict=True):
        full[axis] = n
    return tuple(full)


class SumPool(torch_nn.Module):
    """`sum_pool` as a layer."""

    def __init__(self, window_shape: Any, strides: Any, padding: str, channel_axis: int | None = -1):
        super().__init__()
        self.window_shape, self.strides, self.padding, self.channel_axis = window_shape, strides, padding, channel_axis

    def forward(self, value: Tensor) -> Tensor:
        return sum_pool(value, self.window_shape, self.strides, self.padding, self.channel_axis)


class Flatten(torch_nn.Module):
    """Flatten all axes but the first: [B, ...] -> [B, features]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


class Sequential(torch_nn.Module):
    """A sequence of layers: `(x, states) -> (y, states)`, with a list of states, None for layers without a state."""

    layers: Any

    def __init__(self, *layers: Any):
        super().__init__()
        self.layers = torch_nn.ModuleList(m if isinstance(m, torch_nn.Module) else _Called(m) for m in layers)

    def initial_state(self, batch_size: int) -> list:
        return [m.initial_state(batch_size) if hasattr(m, "initial_state") else None for m in self.layers]

    def forward(self, x: Any, state: list) -> tuple[Any, list]:
        after = []
        for layer, before in zip(self.layers, state, strict=True):
            x, before = layer(x, before) if hasattr(layer, "initial_state") else (layer(x), None)
            after.append(before)
        return x, after

    def scan(self, x: Any, state: list) -> tuple[Any, list]:
        """Run the layers on a sequence, layer by layer instead of step by step; return output and new states."""
        after = []
        for layer, before in zip(self.layers, state, strict=True):
            x, before = _through(layer, x, before) if hasattr(layer, "initial_state") else (fold(layer, x), None)
            after.append(before)
        return x, after


class _Called(torch_nn.Module):
    """A plain function as a layer."""

    def __init__(self, function: Any):
        super().__init__()
        self._called = (function,)

    def forward(self, x: Any) -> Any:
        return self._called[0](x)


def _through(model: Any, x: Tensor, state: Any) -> tuple[Any, Any]:
    """Run a model with state on x [T, B, ...]: all steps at once if possible, otherwise step by step."""
    if hasattr(model, "scan"):
        return model.scan(x, state)
    steps = []
    for x_t in x.unbind(0):
        y_t, state = model(x_t, state)
        steps.append(y_t)
    return torch.stack(steps), state


def run(model: Any, x: Tensor, state: Any = None, *, batch_major: bool = False) -> tuple[Tensor, Any]:
    """Run a model on a sequence x [T, B, ...] (or [B, T, ...] if batch_major) -> (outputs, state after it)."""
    if state is None and not hasattr(model, "initial_state"):
        raise TypeError(
            f"run: {type(model).__name__} has no initial_state; pass state=, or wrap the layers in nn.Sequential"
        )
    x = x.transpose(0, 1) if batch_major else x
    y, state = _through(model, x, model.initial_state(x.shape[1]) if state is None else state)
    return (y.transpose(0, 1) if batch_major else y), state
