"""Stages on a GPU: consecutive layers that together save less memory for backward.

A stage of convolution, norm, neuron and pool saves the output of the convolution; a stage of a linear layer and a
neuron saves the output of the linear layer. If the input of a stage is the spikes of the previous stage, only their
bits are saved.

The norm becomes a centre, a scale and a shift per channel, which the rule of the neuron applies to its input
(`Rule.scaled`). So the normalised images are not saved. The spikes are not saved either: the pool saves only their
bits, from which backward finds the maximum of each window.
"""

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from ranvier.backends import choose, op
from ranvier.backends.autograd import Function
from ranvier.nn.fold import fold, still
from ranvier.nn.linear import Linear
from ranvier.nn.normalised import go_on
from ranvier.nn.plan import Stage, plain_neuron
from ranvier.nn.recurrent import Recurrent
from ranvier.nn.stage_convolution import ConvolutionStage
from ranvier.spikes import bits_gpu, product_gpu


class GpuConvolutionStage(ConvolutionStage):
    """A `ConvolutionStage` on a GPU. `scan`, `step`, `record` and the plain call give equal results."""

    def __call__(self, x: Tensor) -> Tensor:
        return self.run(x)[0]

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        """Run images x [T, B, C, H, W] through the layers of the stage."""
        size, y = x.shape[:2], x[0] if still(x) else x.flatten(0, 1)
        y = y if self.convolution is None else self._convolved(y)
        repeats = size.numel() // len(y)
        affine = self._affine(y, repeats)
        y = y.unflatten(0, size) if repeats == 1 else y.unsqueeze(0).expand(size[0], *y.shape)
        z, after, traces = self._neurons(y, affine, state, names)
        return z if self.pool is None else _pooled(z, self.pool, self.temporal.bound(()).binary), after, traces

    def explanations(self, x: Any) -> list[tuple[nn.Module, str]]:
        names = ", ".join(type(layer).__name__ for layer in self.layers)
        return [(layer, f"triton: one stage ({names})") for layer in self.layers]

    def _convolved(self, x: Tensor) -> Tensor:
        layer: Any = self.convolution
        if not _spikes(self.before, x) or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            return layer(x)
        where = tuple(layer.stride), tuple(layer.padding), tuple(layer.dilation), layer.groups
        return product_gpu.convolution(x, layer.weight, layer.bias, where)

    def _affine(self, y: Tensor, repeats: int) -> tuple[Tensor, ...]:
        """Return centre, scale and shift of each channel of images y [N, C, H, W], each repeated `repeats` times: [C,
        1, 1] each, or an empty tuple if there is no norm. In training the running statistics of the norm are updated.
        """
        norm = self.norm
        if norm is None:
            return ()
        if norm.training or norm.running_mean is None:
            if y.numel() <= y.shape[1]:
                norm(y)  # torch raises an error if there is one value per channel
            var, mean = torch.var_mean(y, (0, 2, 3), correction=0)
            go_on(norm, mean.detach(), var.detach(), y.numel() // y.shape[1] * repeats)
        else:
            mean, var = norm.running_mean.to(y.dtype), norm.running_var.to(y.dtype)
        scale = torch.rsqrt(var + norm.eps)
        scale = scale if norm.weight is None else scale * norm.weight
        shift = torch.zeros_like(mean) if norm.bias is None else norm.bias
        return mean.view(-1, 1, 1), scale.view(-1, 1, 1), shift.view(-1, 1, 1)

    def _neurons(
        self, y: Tensor, affine: Sequence[Tensor], state: Any, names: tuple[str, ...]
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Run the neuron; its input is (y - centre) scale + shift."""
        neuron = self.temporal
        if not affine:
            return neuron.run(y, state, names)
        xs, begin, params = neuron.prepare(y, state)
        rule = neuron.bound(names).scaled
        op.register(rule)
        values, after = choose.carry(rule, xs, list(begin.values()), [*params, *affine])
        outputs, traced = values[: len(values) - len(names)], values[len(values) - len(names) :]
        return outputs[0], dict(zip(neuron.states, after, strict=True)), dict(zip(names, traced, strict=True))


class GpuLinearStage(Stage):
    """A linear layer and the neuron after it, which may be recurrent."""

    def __init__(self, linear: nn.Linear, temporal: Any):
        self.linear, self.temporal, self.layers = linear, temporal, (linear, temporal)

    @classmethod
    def begin(cls, layers: Sequence[nn.Module]) -> Self | None:
        linear, temporal, *_ = (*layers[:2], None, None)
        if type(linear) not in (nn.Linear, Linear) or not (type(temporal) is Recurrent or plain_neuron(temporal)):
            return None
        return cls(linear, temporal)  # type: ignore[arg-type]

    def serves(self, x: Any) -> bool:
        weight = self.linear.weight
        fits = weight.dim() == 2 and x.dim() == 3 and x.shape[2:] == weight.shape[1:]
        return fits and x.numel() > 0 and x.dtype == weight.dtype

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        """Run the two layers: x [T, B, K] -> [T, B, N]."""
        linear = self.linear
        known = _spikes(self.before, x)
        return self.temporal.run(
            product_gpu.linear(x, linear.weight, linear.bias) if known else linear(x), state, names
        )

    def explanations(self, x: Any) -> list[tuple[nn.Module, str]]:
        kept = "; of its spikes the bits are kept" if _spikes(self.before, x) else ""
        return [(self.linear, f"dense: torch's product{kept}"), (self.temporal, self.temporal.explain(x))]


def _spikes(before: Stage | None, x: Tensor) -> bool:
    """Whether x is the spikes of the previous stage, and would be saved for backward."""
    if before is None or x.dtype != torch.float32 or not torch.is_grad_enabled():
        return False
    neuron: Any = before.temporal.neuron if isinstance(before.temporal, Recurrent) else before.temporal
    pool = getattr(before, "pool", None)
    return neuron.bound(()).binary and (pool is None or type(pool) is nn.MaxPool2d)


def _pooled(z: Tensor, pool: nn.Module, spikes: bool) -> Tensor:
    """Pool images z [T, B, C, H, W]; if they are spikes, only their bits are saved."""
    if spikes and z.requires_grad and z.dtype == torch.float32:
        return _Pooled.apply(z.flatten(0, 1), pool).unflatten(0, z.shape[:2])
    return fold(pool, z)


class _Pooled(Function):
    """The autograd function of a pool of spikes, which saves only their bits."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, pool: nn.Module) -> Tensor:
        ctx.pool, ctx.shape = pool, z.shape
        ctx.save_for_backward(bits_gpu.pack(z.reshape(1, -1)))
        return pool(z)

    @staticmethod
    def gradients(ctx: Any, saved: tuple[Tensor, ...], *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        g = grads[0]
        if g is None:
            return None, None
        z = bits_gpu.unpack(saved[0], ctx.shape.numel(), g.dtype).view(ctx.shape).requires_grad_()
        with torch.enable_grad():
            y = ctx.pool(z)
        return torch.autograd.grad(y, z, g)[0], None
