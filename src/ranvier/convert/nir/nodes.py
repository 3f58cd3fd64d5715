"""The table from NIR nodes to layers. Each entry builds a layer with the node's equation at a given time step."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, cast

import numpy as np
import torch
from torch import Tensor, nn

from ranvier.convert.nir.neurons import GainCubaLI, GainCubaLIF, GainLI, GainLIF, Scale
from ranvier.convert.nir.time import Clock, just_above, near_one
from ranvier.nn.convolution import Conv2d
from ranvier.nn.delay import Delay
from ranvier.nn.linear import Linear
from ranvier.nn.neuron import Neuron
from ranvier.nn.neurons.current import CubaLI, CubaLIF
from ranvier.nn.neurons.heaviside import Heaviside
from ranvier.nn.neurons.integrate import IF
from ranvier.nn.neurons.leaky import LI, LIF
from ranvier.nn.neurons.parametric import RestLIF
from ranvier.nn.pool import SumPool


@dataclass
class Place:
    """A node, its name, and the time step."""

    name: str
    node: Any
    clock: Clock

    def refuse(self, reason: str) -> NoReturn:
        raise ValueError(f"from_nir: node {self.name!r} ({type(self.node).__name__}) {reason}")

    def array(self, field: str) -> np.ndarray:
        """Return a field as finite numbers."""
        return self.numbers(field, getattr(self.node, field))

    def numbers(self, field: str, value: Any) -> np.ndarray:
        try:
            value = np.asarray(value)
            value = value if value.dtype.kind == "f" else value.astype(np.float64)
        except (TypeError, ValueError):
            self.refuse(f"has a {field} that is not an array of numbers: {value!r:.60}")
        if not np.isfinite(value).all():
            self.refuse(f"has a {field} that is not finite everywhere")
        return value

    def positive(self, field: str) -> np.ndarray:
        value = self.array(field).astype(np.float64)
        if np.any(value <= 0):
            self.refuse(f"has a {field} that is not above 0 everywhere")
        return value

    def tensor(self, field: str, axes: int) -> Tensor:
        value = self.array(field)
        if value.ndim != axes or value.size == 0:
            self.refuse(f"has a {field} of shape {value.shape}; wanted {axes} axes, none of them empty")
        return torch.from_numpy(value.astype(np.float32))

    def whole(self, field: str, axes: int, low: int) -> Any:
        """Return a field of whole numbers, one for each axis."""
        value = np.atleast_1d(np.asarray(getattr(self.node, field)))
        value = np.repeat(value, axes) if value.size == 1 else value.ravel()
        if value.dtype.kind not in "iu" or value.size != axes or np.any(value < low) or np.any(value > 4096):
            self.refuse(f"has {field}={value.tolist()}; wanted {axes} whole numbers from {low} to 4096")
        return tuple(int(v) for v in value)

    def hint(self, key: str) -> str | None:
        told = getattr(self.node, "metadata", None) or {}
        value = told.get(key)
        return value.decode() if isinstance(value, bytes) else value


def parameter(value: np.ndarray) -> float | Tensor:
    """Return one number if all values are the same, otherwise a tensor."""
    if value.size and np.all(value == value.flat[0]):
        return float(value.flat[0])
    return torch.from_numpy(np.ascontiguousarray(value.astype(np.float32)))


def _neuron(place: Place, kind: type[Neuron], reset: str | None = None, **values: np.ndarray) -> Neuron:
    try:
        shapes = np.broadcast_shapes(*(v.shape for v in values.values()))
    except ValueError:
        place.refuse(f"has parameters of different shapes: { {k: v.shape for k, v in values.items()} }")
    if math.prod(shapes) == 0:
        place.refuse("has no neurons")
    settings: dict[str, Any] = {} if reset is None else {"reset": reset}
    return kind(**{k: parameter(v) for k, v in values.items()}, **settings)


def _affine(place: Place) -> nn.Module:
    weight = place.tensor("weight", 2)
    bias = place.tensor("bias", 1) if hasattr(place.node, "bias") else None
    if bias is not None and len(bias) != len(weight):
        place.refuse(f"has {len(weight)} rows of weights and {len(bias)} biases")
    return _filled(Linear(weight.shape[1], weight.shape[0], bias=bias is not None), weight, bias)


def _filled(layer: Any, weight: Tensor, bias: Tensor | None) -> nn.Module:
    layer.weight = nn.Parameter(weight)
    if bias is not None:
        layer.bias = nn.Parameter(bias)
    return layer


def _convolution(axes: int, kind: type) -> Callable[[Place], nn.Module]:
    def build(place: Place) -> nn.Module:
        weight, bias = place.tensor("weight", axes + 2), place.tensor("bias", 1)
        groups = place.whole("groups", 1, 1)[0]
        if len(bias) != len(weight) or len(weight) % groups:
            place.refuse(f"has {len(weight)} output channels, {len(bias)} biases and {groups} groups")
        padding = place.node.padding
        padding = padding.decode() if isinstance(padding, bytes) else padding
        if not isinstance(padding, str):
            padding = place.whole("padding", axes, 0)
        elif padding not in ("same", "valid"):
            place.refuse(f"has padding {padding!r}")
        stride, dilation = place.whole("stride", axes, 1), place.whole("dilation", axes, 1)
        if padding == "same" and set(stride) != {1}:
            place.refuse(f"has padding 'same' with stride {stride}; torch supports it with stride 1 only")
        size, channels = tuple(weight.shape[2:]), weight.shape[1] * groups
        if not isinstance(padding, str) and any(p > d * k for p, d, k in zip(padding, dilation, size, strict=True)):
            place.refuse(f"has padding {padding}, more than its kernel {size} with dilation {dilation}")
        with torch.device("meta"):  # the weights are replaced below
            layer = kind(channels, len(weight), size, stride, padding, dilation, groups)
        return _filled(layer, weight, bias)

    return build


def _flatten(place: Place) -> nn.Module:
    first, last = (int(np.asarray(getattr(place.node, n))) for n in ("start_dim", "end_dim"))
    if abs(first) > 64 or abs(last) > 64:
        place.refuse(f"flattens axes {first} to {last}")
    return nn.Flatten(first + 1 if first >= 0 else first, last + 1 if last >= 0 else last)


def _pool(sums: bool) -> Callable[[Place], nn.Module]:
    def build(place: Place) -> nn.Module:
        window, stride = place.whole("kernel_size", 2, 1), place.whole("stride", 2, 1)
        padding = place.whole("padding", 2, 0)
        if any(2 * p > w for p, w in zip(padding, window, strict=True)):
            place.refuse(f"has padding {padding}, more than half of its window {window}")
        if sums and not any(padding):
            return SumPool(window, stride)
        return nn.AvgPool2d(window, stride, padding, divisor_override=1 if sums else None)

    return build


def _delay(place: Place) -> nn.Module:
    steps = place.array("delay").astype(np.float64) / place.clock.dt
    near = np.round(steps)
    if np.any(near < 0) or np.any(near > 1000) or np.any(np.abs(steps - near) > 1e-3):
        between = f"{steps.min():g} to {steps.max():g} steps of {place.clock.dt:g} s"
        place.refuse(f"has delays of {between}; wanted whole numbers, up to 1000")
    whole = torch.from_numpy(near.astype(np.int64))
    return Delay(int(whole.flatten()[0]) if whole.numel() and bool((whole == whole.flatten()[0]).all()) else whole)


@dataclass
class Membrane:
    """The parameters of a leaky node, per step."""

    keep: np.ndarray
    gain: np.ndarray
    rest: np.ndarray

    @classmethod
    def read(cls, place: Place, tau: str, rest: np.ndarray) -> "Membrane":
        clock, times, r = place.clock, place.positive(tau), place.array("r").astype(np.float64)
        keep = clock.keep(times)
        if np.any(keep < 0):
            place.refuse(f"has a {tau} of {times.min():g} s, below the step of {clock.dt:g} s; use a smaller dt")
        return cls(keep, r * clock.part(keep), rest)

    @property
    def leak(self) -> np.ndarray:
        return 1.0 - self.keep

    @property
    def plain(self) -> bool:
        return near_one(self.gain) and not np.any(self.rest)


def _threshold(place: Place, field: str = "v_threshold") -> np.ndarray:
    return just_above(place.array(field))


def _level(place: Place, like: np.ndarray) -> np.ndarray:
    value = getattr(place.node, "v_reset", None)
    return np.zeros_like(like) if value is None else place.numbers("v_reset", value)


def _reset(place: Place) -> str:
    reset = place.hint("reset") or "zero"
    if reset not in ("zero", "subtract"):
        place.refuse(f"has reset={reset!r} in its metadata; wanted 'zero' or 'subtract'")
    return reset


def _lif(place: Place) -> nn.Module:
    fires, rest = _threshold(place), place.array("v_leak")
    level, membrane = _level(place, fires), Membrane.read(place, "tau", rest)
    reset, hint = cast(Any, _reset(place)), place.hint("layer")
    if hint is None and membrane.plain and not np.any(level):
        return _neuron(place, LIF, reset, beta=membrane.keep, threshold=fires)
    around = np.array_equal(rest, level)
    given = dict(leak=membrane.leak, threshold=fires, rest=rest)
    if around and hint != "GainLIF" and near_one(membrane.gain / membrane.leak):
        return _neuron(place, RestLIF, reset, **given)
    if around and hint == "RestLIF" and near_one(membrane.gain):
        layer: Any = _neuron(place, RestLIF, reset, **given)
        return RestLIF(**{k: getattr(layer, k) for k in given}, reset=reset, decay_input=False)
    if reset != "zero":
        place.refuse("has a soft reset with gains or levels that no layer has")
    return _neuron(place, GainLIF, beta=membrane.keep, gain=membrane.gain, threshold=fires, rest=rest, level=level)


def _if(place: Place) -> nn.Module:
    fires, gain = _threshold(place), place.array("r").astype(np.float64) * place.clock.step
    level, reset = _level(place, fires), _reset(place)
    if place.hint("layer") is None and near_one(gain) and not np.any(level):
        return _neuron(place, IF, reset, threshold=fires)
    if reset != "zero":
        place.refuse("has a soft reset with a gain or level that no layer has")
    one = np.ones_like(gain)
    return _neuron(place, GainLIF, beta=one, gain=gain, threshold=fires, rest=0.0 * one, level=level)


def _li(place: Place) -> nn.Module:
    membrane = Membrane.read(place, "tau", place.array("v_leak"))
    if place.hint("layer") is None and membrane.plain:
        return _neuron(place, LI, beta=membrane.keep)
    return _neuron(place, GainLI, beta=membrane.keep, gain=membrane.gain, rest=membrane.rest)


def _i(place: Place) -> nn.Module:
    gain = place.array("r").astype(np.float64) * place.clock.step
    one = np.ones_like(gain)
    if place.hint("layer") is None and near_one(gain):
        return _neuron(place, LI, beta=one)
    return _neuron(place, GainLI, beta=one, gain=gain, rest=0.0 * one)


def _current(place: Place) -> tuple[np.ndarray, np.ndarray]:
    """Return the decay of the synaptic current, and the factor of an input to it."""
    clock, times = place.clock, place.positive("tau_syn")
    keep = clock.keep(times)
    if np.any(keep < 0):
        place.refuse(f"has a tau_syn of {times.min():g} s, below the step of {clock.dt:g} s; use a smaller dt")
    return keep, place.array("w_in").astype(np.float64) * clock.part(keep)


def _cuba_lif(place: Place) -> nn.Module:
    fires, rest = _threshold(place), place.array("v_leak")
    alpha, weight = _current(place)
    level, membrane, reset = _level(place, fires), Membrane.read(place, "tau_mem", rest), _reset(place)
    if place.hint("layer") is None and membrane.plain and near_one(weight) and not np.any(level):
        return _neuron(place, CubaLIF, reset, alpha=alpha, beta=membrane.keep, threshold=fires)
    if reset != "zero":
        place.refuse("has a soft reset with gains or levels that no layer has")
    gains: dict[str, Any] = dict(alpha=alpha, beta=membrane.keep, weight=weight, gain=membrane.gain)
    return _neuron(place, GainCubaLIF, threshold=fires, rest=rest, level=level, **gains)


def _cuba_li(place: Place) -> nn.Module:
    alpha, weight = _current(place)
    membrane = Membrane.read(place, "tau_mem", place.array("v_leak"))
    if place.hint("layer") is None and membrane.plain and near_one(weight):
        return _neuron(place, CubaLI, alpha=alpha, beta=membrane.keep)
    gains: dict[str, Any] = dict(alpha=alpha, beta=membrane.keep, weight=weight, gain=membrane.gain)
    return _neuron(place, GainCubaLI, rest=membrane.rest, **gains)


NODES: dict[str, Callable[[Place], nn.Module]] = {
    "Affine": _affine,
    "Linear": _affine,
    "Scale": lambda place: _neuron(place, Scale, scale=place.array("scale")),
    "Conv1d": _convolution(1, nn.Conv1d),
    "Conv2d": _convolution(2, Conv2d),
    "Flatten": _flatten,
    "SumPool2d": _pool(sums=True),
    "AvgPool2d": _pool(sums=False),
    "Delay": _delay,
    "Threshold": lambda place: _neuron(place, Heaviside, threshold=_threshold(place, "threshold")),
    "I": _i,
    "LI": _li,
    "IF": _if,
    "LIF": _lif,
    "CubaLI": _cuba_li,
    "CubaLIF": _cuba_lif,
}
