"""Norm, neuron and pool on pictures in one pass over memory, and their derivative."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ranvier.backends import op, pooled
from ranvier.backends.pooled import Pictures
from ranvier.derive.rule import Rule
from ranvier.nn.neuron import Neuron
from ranvier.nn.stage import begin


def one_pass(y: Tensor, norm: Any, neuron: Neuron, kind: str, window: int, steps: int, batch: int) -> Tensor:
    """y [T B, C, H, W], or [B, C, H, W] if every step has the same -> [T, B, C, H', W'], all channels last in memory.

    norm: a torch batch norm or None; window: width and height of what is pooled, kind "max" or "mean".
    """
    _, channels, height, width = y.shape
    size = Pictures(steps, batch, height, width, channels, window, kind)
    like = y[:1].detach()
    initial, params = begin(neuron, like)
    initial = initial[:, 0]  # the same for every picture
    rule, known, weight, bias = neuron.bound(()), None, None, None
    if norm is not None:
        rule, known = rule.scaled, statistics(norm, y, steps * batch // len(y))
        weight, bias = norm.weight, norm.bias
    z = _OnePass.apply(y, initial, weight, bias, rule, size, known, *params)
    return z.view(steps, batch, size.tiles, width // window, channels).permute(0, 1, 4, 2, 3)


@dataclass(frozen=True)
class Statistics:
    """What a batch norm takes off each channel, and by what it multiplies the rest before its weight [C]; whether the
    input itself decided them."""

    mean: Tensor
    rate: Tensor
    own: bool


@torch.no_grad()
def statistics(norm: Any, y: Tensor, repeats: int) -> Statistics:
    """Those of y [N, C, H, W], each picture shown `repeats` times, or the running ones; in training these go on."""
    tracked = norm.running_mean is not None
    if tracked and not norm.training:
        rate = torch.rsqrt(norm.running_var.to(y.dtype) + norm.eps)
        return Statistics(norm.running_mean.to(y.dtype), rate, own=False)
    mean, var = torch.batch_norm_update_stats(y.detach(), None, None, 0.0)
    if tracked:
        norm.num_batches_tracked.add_(1)
        share = 1.0 / norm.num_batches_tracked.item() if norm.momentum is None else norm.momentum
        count = y.numel() // y.shape[1] * repeats
        norm.running_mean.lerp_(mean.to(norm.running_mean), share)
        norm.running_var.lerp_((var * (count / (count - 1))).to(norm.running_var), share)
    return Statistics(mean.to(y.dtype), torch.rsqrt(var.to(y.dtype) + norm.eps), own=True)


class _OnePass(torch.autograd.Function):
    """Pictures -> pooled output [T, B H' W' C]; only these two are kept for backward."""

    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,
        initial: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        rule: Rule,
        size: Pictures,
        known: Statistics | None,
        *params: Tensor,
    ) -> Tensor:
        ctx.rule, ctx.size, ctx.known = rule, size, known
        numbers = [_spread(p, size) for p in (*params, *_affine(known, weight, bias))]
        z = pooled.forward(rule, _rows(y, size), _last(initial), numbers, size)
        ctx.save_for_backward(y, initial, weight, bias, z, *params)
        return z

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        with torch.no_grad():
            found = _gradients(ctx, grads[0])
        g_y, g_initial, g_weight, g_bias, *g_params = op.first_derivatives(found, ctx.saved_tensors)
        return g_y, g_initial, g_weight, g_bias, None, None, None, *g_params


def _gradients(ctx: Any, g_z: Tensor) -> tuple[Tensor | None, ...]:
    """Of the pictures, the initial state, weight and bias of the norm, and the neuron's parameters."""
    y, initial, weight, bias, z, *params = ctx.saved_tensors
    known, size, (inward, _, weighs, biases, _, _, _, *learns) = ctx.known, ctx.size, ctx.needs_input_grad
    through = inward and known is not None and known.own  # the statistics, too, depend on the input
    affine = _affine(known, weight, bias)
    wanted = (inward, *learns, *((False, weighs or through, biases or through) if affine else ()))
    x, numbers = _rows(y, size), [_spread(p, size) for p in (*params, *affine)]
    g_x, g_initial, rows = pooled.backward(ctx.rule, x, _last(initial), numbers, z, g_z.contiguous(), wanted, size)
    found, like = iter(rows), (*params, *affine)
    gathered = [_gathered(next(found), p, size) if want else None for p, want in zip(like, wanted[1:], strict=True)]
    g_weight = g_bias = None
    if known is not None:
        *gathered, _, g_scale, g_shift = gathered
        g_weight = None if g_scale is None else g_scale.flatten() * known.rate
        g_bias = None if g_shift is None else g_shift.flatten()
        if through:
            share = affine[1].flatten() * (size.channels / x.numel())
            pooled.add_affine(g_x, x, known.mean, -share * known.rate * g_weight, -share * g_bias)
    g_y, g_start = (g.view(-1, size.height, size.width, size.channels).permute(0, 3, 1, 2) for g in (g_x, g_initial))
    return g_y if inward else None, g_start, g_weight if weighs else None, g_bias if biases else None, *gathered


def _affine(known: Statistics | None, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, ...]:
    """Centre, scale and shift of a norm, [C, 1, 1] each, as the scaled rule takes them."""
    if known is None:
        return ()
    scale = known.rate if weight is None else weight.to(known.rate) * known.rate
    shift = torch.zeros_like(known.mean) if bias is None else bias.to(known.mean)
    return tuple(v.detach().view(-1, 1, 1) for v in (known.mean, scale, shift))


def _rows(y: Tensor, size: Pictures) -> Tensor:
    """Pictures [N, C, H, W], channels last, as the kernels take them: [T or 1, B H W C]."""
    return y.detach().permute(0, 2, 3, 1).reshape(len(y) // size.batch, -1)


def _last(v: Tensor) -> Tensor:
    """[S, C, H, W] -> [S, H W C]."""
    return v.detach().permute(0, 2, 3, 1).reshape(len(v), -1).contiguous()


def _spread(p: Tensor, size: Pictures) -> Tensor:
    """A parameter broadcastable to [C, H, W] -> [1] or [H W C]."""
    if p.numel() == 1:
        return p.detach().reshape(1)
    return _last(p.expand(size.channels, size.height, size.width).unsqueeze(0)).view(-1)


def _gathered(row: Tensor, p: Tensor, size: Pictures) -> Tensor:
    """The gradient [H W C] of a parameter at every place -> that of the parameter."""
    return row.view(size.height, size.width, size.channels).permute(2, 0, 1).sum_to_size(p.shape).to(p.dtype)
