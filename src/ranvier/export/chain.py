"""Convert a network to integers, layer by layer. Number formats are chosen from the values on a sample."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ranvier.export.aware import FewBits
from ranvier.export.cells import Neurons, Returning
from ranvier.export.integers import Value, Width
from ranvier.export.lowered import fraction
from ranvier.export.parts import Part, Wire
from ranvier.export.pools import Pool
from ranvier.export.steps import Step, watch
from ranvier.export.weights import Convolution, Dense, quantise
from ranvier.nn.convolution import Conv2d
from ranvier.nn.dropout import Dropout, Dropout2d
from ranvier.nn.fold import Fold, fold, temporal
from ranvier.nn.linear import Linear
from ranvier.nn.neuron import Neuron
from ranvier.nn.plan import plain_neuron
from ranvier.nn.pool import SumPool, same_padding
from ranvier.nn.recurrent import Recurrent
from ranvier.nn.sequential import Sequential

SILENT = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, Dropout, Dropout2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def kind(layer: nn.Module) -> type:
    return parametrize.type_before_parametrizations(layer)


def layers(net: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield (path, layer) of nested `Sequential`s in order, without layers that do nothing in evaluation mode."""
    if kind(net) in (Sequential, nn.Sequential):
        for name, child in net.named_children():
            yield from layers(child, f"{path}.{name}".lstrip("."))
    elif kind(net) is Fold:
        yield from layers(net.module, f"{path}.module".lstrip("."))  # type: ignore[arg-type]
    elif kind(net) not in SILENT:
        yield path, net


class Builder:
    """Makes the integer parts of a network. Number formats are chosen from the values on a sample [T, B, *features]."""

    def __init__(self, net: nn.Module, sample: Tensor, bits: int, width: Width):
        self.bits, self.width, self.flow = bits, width, sample
        self.parts: list[Part] = []
        binary = bool(((sample == 0) | (sample == 1)).all())
        reach = float(sample.abs().max()) if sample.numel() else 0.0
        frac = 0 if binary else fraction(reach, width.bits, headroom=0)
        self.first = Wire(tuple(sample.shape[2:]), frac, 1 if binary else width.high)
        self.wire = self.first
        row = list(layers(net))
        while row:
            path, layer = row.pop(0)
            if kind(layer) is nn.Flatten:
                self.run(layer)
                self.wire = Wire(tuple(self.flow.shape[2:]), self.wire.frac, self.wire.bound)
                continue
            norm = row.pop(0)[1] if row and kind(layer) in WEIGHTED and kind(row[0][1]) in NORMS else None
            before = self.flow
            self.run(layer)
            if norm is not None:
                self.run(norm)
            make = next((m for k, m in MAKERS.items() if issubclass(kind(layer), k)), None)
            if make is None:
                known = ", ".join(k.__name__ for k in MAKERS)
                raise ValueError(
                    f"export.c: layer {path!r} ({kind(layer).__name__}) has no integer form; supported are {known}, "
                    f"nn.Flatten, dropout (without effect) and BatchNorm behind a layer with weights"
                )
            try:
                self.parts.append(made := make(self, path, layer, before, norm))
            except ValueError as problem:
                raise ValueError(f"export.c: layer {path!r} ({kind(layer).__name__}): {problem}") from problem
            self.wire = made.after

    @property
    def tag(self) -> str:
        return f"l{len(self.parts)}"

    def run(self, layer: nn.Module) -> None:
        """Run the current values through a layer."""
        self.flow = layer(self.flow) if temporal(layer) else fold(layer, self.flow)

    def output(self, shape: Any = None, headroom: int = 1) -> Wire:
        """Return a wire whose format has room for the current values."""
        reach = float(self.flow.abs().max()) if self.flow.numel() else 0.0
        frac = fraction(reach, self.width.bits, headroom)
        return Wire(tuple(self.flow.shape[2:]), frac, self.width.high)

    def weights(self, layer: Any, norm: Any) -> tuple[Any, Any, Any]:
        """Return integer weights, the scale of each output, and the bias; a normalisation is folded into them."""
        bits, weight = self.bits, layer.weight
        if parametrize.is_parametrized(layer, "weight"):
            chain = layer.parametrizations.weight
            if len(chain) == 1 and type(chain[0]) is FewBits:  # so the integers are exactly those of the training
                bits, weight = chain[0].bits, chain.original
                if bits != self.bits:
                    raise ValueError(f"it was trained with weights of {bits} bits; export it with bits={bits}")
        q, scale = quantise(weight.detach().cpu().double().numpy(), bits)
        bias = np.zeros(len(q)) if layer.bias is None else layer.bias.detach().cpu().double().numpy()
        if norm is not None:
            gain, shift = _affine(norm)
            scale, bias = scale * gain, bias * gain + shift
        return q, scale, bias


def _affine(norm: Any) -> tuple[Any, Any]:
    """Return gain and shift of a trained normalisation: y = gain x + shift, for each channel."""
    if norm.running_mean is None:
        raise ValueError("the normalisation behind it has no running statistics")
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    gain = (variance + norm.eps).rsqrt() * (1.0 if norm.weight is None else norm.weight.detach().double())
    shift = (0.0 if norm.bias is None else norm.bias.detach().double()) - mean * gain
    return gain.cpu().numpy(), shift.cpu().numpy()


def _dense(b: Builder, path: str, layer: Any, before: Tensor, norm: Any) -> Part:
    if len(b.wire.shape) != 1:
        raise ValueError(f"its input is {b.wire.shape} per sample; put nn.Flatten before it")
    return Dense(b.tag, path, *b.weights(layer, norm), b.wire, b.output(), b.bits, b.width)


def _convolution(b: Builder, path: str, layer: Any, before: Tensor, norm: Any) -> Part:
    if layer.padding_mode != "zeros":
        raise ValueError(f"it pads with {layer.padding_mode!r}; only padding with zeros is supported")
    q, scale, bias = b.weights(layer, norm)
    one = kind(layer) is nn.Conv1d
    q = q[:, :, None] if one else q

    def two(value: Any) -> tuple[int, ...]:
        return (1, *value) if one else tuple(value)

    if isinstance(layer.padding, str):
        spread = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        padding = [0 if layer.padding == "valid" else n // 2 for n in spread]
    else:
        padding = list(layer.padding)
    numbers: dict[str, Any] = dict(stride=two(layer.stride), dilation=two(layer.dilation), groups=layer.groups)
    numbers["padding"] = (0, *padding) if one else tuple(padding)
    return Convolution(b.tag, path, q, scale, bias, b.wire, b.output(), b.bits, b.width, **numbers)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _pool(b: Builder, path: str, layer: Any, before: Tensor, norm: Any) -> Part:
    if len(b.wire.shape) != 3:
        raise ValueError(f"its input is {b.wire.shape} per sample; only pooling of [C, H, W] is supported")
    if kind(layer) is SumPool:
        window, stride, factor = layer.window, layer.stride, 1.0
        sides = [same_padding(n, w, s) for n, w, s in zip(b.wire.shape[1:], window, stride, strict=True)]
        padding = [p for p, _ in sides] if layer.padding == "SAME" else [0, 0]
    else:
        window, padding = _pair(layer.kernel_size), _pair(layer.padding)
        stride = window if layer.stride is None else _pair(layer.stride)
        if layer.ceil_mode:
            raise ValueError("it has ceil_mode=True, which is not supported")
        factor = 1.0
    if kind(layer) is nn.MaxPool2d:
        if _pair(layer.dilation) != (1, 1) or layer.return_indices:
            raise ValueError("it is dilated or returns indices, which is not supported")
        after = Wire(tuple(b.flow.shape[2:]), b.wire.frac, b.wire.bound)
        return Pool(b.tag, path, "max", window, stride, padding, 1.0, b.wire, after, b.width)
    if kind(layer) is nn.AvgPool2d:
        if any(padding) and not layer.count_include_pad and not layer.divisor_override:
            raise ValueError("it excludes the padding from its mean; use count_include_pad=True")
        factor = 1.0 / (layer.divisor_override or window[0] * window[1])
    return Pool(b.tag, path, "sum", window, stride, padding, factor, b.wire, b.output(), b.width)


def _rule(b: Builder, neuron: Neuron, x: Value, like: Tensor, steps: Any) -> tuple[Step, list[Any]]:
    """Return the rule of a neuron on integers, and its states before the first step."""
    if not plain_neuron(neuron):
        raise ValueError("it does more than run its rule, or has several inputs or outputs, which is not supported")
    rule = neuron.plain_rule() if hasattr(neuron, "plain_rule") else neuron.bound(())  # type: ignore[operator]
    features = like.shape[1:]
    values = [v.detach().cpu() for v in neuron.values(like)]
    begin = [v.detach().cpu() for v in neuron.initial(like).values()]
    reach = watch(rule, steps, begin, values)
    params = [v if v.numel() == 1 else v.expand(features).reshape(-1) for v in values]
    step = Step(rule, reach, x, params, b.width, b.tag, getattr(neuron, "fractions", None))
    begins = []
    for name, state in zip(step.states, begin, strict=True):
        whole = np.rint(state[0].double().numpy() * 2.0 ** step.fractions[name])
        begins.append(np.clip(whole, -b.width.high, b.width.high).astype(np.int64))
    return step, begins


def _neurons(b: Builder, path: str, layer: Any, before: Tensor, norm: Any) -> Part:
    x = Value("", b.wire.frac, b.wire.bound)
    step, begins = _rule(b, layer, x, before[0], lambda t, z: before[t] if t < len(before) else None)
    return Neurons(b.tag, path, step, begins, b.wire)


def _recurrent(b: Builder, path: str, layer: Any, before: Tensor, norm: Any) -> Part:
    back = layer.feedback
    if kind(back) not in (nn.Linear, Linear) or len(b.wire.shape) != 1:
        raise ValueError(f"its feedback is a {kind(back).__name__}; only nn.Linear between neurons [N] is supported")
    weight = back.weight.detach().double()
    bias = 0.0 if back.bias is None else back.bias.detach().double()
    seen = {"back": 0.0, "drive": 0.0}

    def steps(t: int, z: Tensor | None) -> Tensor | None:
        if t == len(before):
            return None
        returned = torch.zeros_like(before[0]).double() if z is None else z
        returned = returned @ weight.T + bias
        drive = before[t] + returned
        seen["back"] = max(seen["back"], float(returned.abs().max()))
        seen["drive"] = max(seen["drive"], float(drive.abs().max()))
        return drive

    watch(layer.neuron.bound(()), steps, [*layer.neuron.initial(before[0]).values()], layer.neuron.values(before[0]))
    bits = b.width.bits
    drive = Value("", fraction(seen["drive"], bits), b.width.high)
    step, begins = _rule(b, layer.neuron, drive, before[0], steps)
    z = Wire(b.wire.shape, step.output.frac, step.output.bound)
    after = Wire(b.wire.shape, fraction(seen["back"], bits), b.width.high)
    dense = Dense(f"{b.tag}b", f"{path}.feedback", *b.weights(back, None), z, after, b.bits, b.width)
    return Returning(b.tag, path, step, begins, b.wire, dense, b.width)


MAKERS: dict[type, Callable[..., Part]] = {
    nn.Linear: _dense,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.MaxPool2d: _pool,
    nn.AvgPool2d: _pool,
    SumPool: _pool,
    Recurrent: _recurrent,
    Neuron: _neurons,
}
WEIGHTED = (nn.Linear, Linear, nn.Conv1d, nn.Conv2d, Conv2d)
