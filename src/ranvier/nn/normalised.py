"""Norm, neuron and pool on images in one pass over memory, and the derivative of all three; or norm and neuron on rows
of neurons. `normalised` computes only the norm, with the same statistics.

norm(y) = (y - mean) scale + shift,  scale = weight / sqrt(var + eps),  shift = bias
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ranvier.backends import pooled
from ranvier.backends.autograd import Function
from ranvier.backends.pooled import Pictures
from ranvier.derive.rule import Rule
from ranvier.nn.neuron import Neuron
from ranvier.spikes import bits


def one_pass(y: Tensor, norm: Any, neuron: Neuron, kind: str, window: int, steps: int, batch: int) -> Tensor:
    """Run norm, neuron and pool: y [T B, C, H, W], or [B, C, H, W] if all steps are the same -> [T, B, C, H', W'] after
    pooling. All images are channels last in memory.

    norm: a torch batch norm or None. window: the size of the pooling windows, which are square. kind: "max" or "mean".
    """
    _, channels, height, width = y.shape
    _, begin, params = neuron.prepare(y[:1].detach().unsqueeze(0), None)
    even = all(p.shape[-2:].numel() == 1 for p in params) and not any(
        isinstance(s.initial, str) for s in neuron.states.values()
    )
    size = Pictures(steps, batch, height, width, channels, window, kind, even)
    states = [s[0, :, : size.rows] for s in begin.values()]  # the same for every image
    z = _applied(y, norm, neuron, states, params, size)
    return z.view(steps, batch, size.tiles, width // window, channels).permute(0, 1, 4, 2, 3)


def one_pass_of_rows(y: Tensor, norm: Any, neuron: Neuron, together: int, steps: int) -> Tensor:
    """Run norm and neuron: y [T, B, N], or [1, B, N] if all steps are the same -> [T, B, N]. The neurons of
    `together` samples, a divisor of B, share a tile of the kernel.
    """
    _, batch, count = y.shape
    _, begin, params = neuron.prepare(y[:1].detach(), None)
    size = Pictures(steps, 1, batch // together, together, count, even=True)
    states = [s[0].view(count, 1, 1).expand(count, 1, together) for s in begin.values()]  # the same for every sample
    params = [p.view(-1, 1, 1) for p in params]
    return _applied(pictures(y, together), norm, neuron, states, params, size).view(steps, batch, count)


def pictures(y: Tensor, together: int = 1) -> Tensor:
    """Return y [T, B, N] in the form of images, [T, N, B / together, together], channels last."""
    return y.unflatten(1, (-1, together)).permute(0, 3, 1, 2)


def _applied(
    y: Tensor, norm: Any, neuron: Neuron, states: Sequence[Tensor], params: Sequence[Tensor], size: Pictures
) -> Tensor:
    """Run norm, neuron and pool on images y from their initial states [C, R, W]; return the pooled output
    [T, B H' W' C].
    """
    initial = torch.stack(list(states)) if states else y.detach().new_empty(0, size.channels, size.rows, size.width)
    rule, known, weight, bias = neuron.bound(()), None, None, None
    if norm is not None:
        rule, known = rule.scaled, statistics(norm, y, size.steps * size.batch // len(y))
        weight, bias = norm.weight, norm.bias
    given = () if known is None else (known.mean, known.rate, *known.running)
    own = known is not None and known.own
    params = [p.to(y.dtype) for p in params]
    return _OnePass.apply(y, initial, weight, bias, (rule, size, own, len(params)), *params, *given)


def normalised(y: Tensor, norm: Any, repeats: int) -> Tensor:
    """Return the batch norm of images y [N, C, H, W], each repeated `repeats` times, with the same rounding as
    `one_pass`.
    """
    known = statistics(norm, y, repeats)
    return _Normalised.apply(y, norm.weight, norm.bias, known.own, known.mean, known.rate, *known.running)


class _Normalised(Function):
    """The autograd function of (y - mean) scale + shift. own: whether mean and rate [C] were computed from y."""

    @staticmethod
    def forward(
        ctx: Any, y: Tensor, weight: Tensor | None, bias: Tensor | None, own: bool, mean: Tensor, rate: Tensor,
        *running: Tensor,
    ) -> Tensor:  # fmt: skip
        ctx.own = own
        ctx.save_for_backward(y, weight, mean, rate, *running)
        centre, scale, shift = _affine(mean, rate, weight, bias)
        return (y - centre) * scale + shift

    @staticmethod
    def gradients(ctx: Any, saved: tuple[Tensor, ...], *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        (y, weight, mean, rate, *running), g, needs = saved, grads[0], ctx.needs_input_grad
        nothing = (None,) * (3 + len(running))
        if g is None:
            return None, None, None, *nothing
        over, (centre, scale, _) = (0, 2, 3), _affine(mean, rate, weight, None)
        g_bias = g.sum(over, dtype=torch.float64)
        g_weight = (g * (y - centre)).sum(over, dtype=torch.float64) * rate
        g_y = g * scale
        if ctx.own:
            share = scale.flatten() * (y.shape[1] / y.numel())
            slope, offset = (v.to(y.dtype).view(-1, 1, 1) for v in (share * rate * g_weight, share * g_bias))
            g_y -= (slope * (y - centre)).add_(offset)
        g_weight, g_bias = g_weight.to(y.dtype), g_bias.to(y.dtype)
        return g_y if needs[0] else None, g_weight if needs[1] else None, g_bias if needs[2] else None, *nothing


@dataclass(frozen=True)
class Statistics:
    """The statistics of a batch norm: for each channel the mean, and the rate = 1 / sqrt(var + eps), [C] each. own:
    whether they were computed from the input; otherwise they are the running statistics.
    """

    mean: Tensor
    rate: Tensor
    own: bool
    running: tuple[Tensor, ...] = ()


@torch.no_grad()
def statistics(norm: Any, y: Tensor, repeats: int) -> Statistics:
    """Return the statistics that the norm uses for images y [N, C, H, W], each repeated `repeats` times: those of y, or
    the running ones in evaluation. In training, the running statistics are updated.
    """
    tracked = norm.running_mean is not None
    if tracked and not norm.training:
        running = norm.running_mean, norm.running_var
        rate = torch.rsqrt(norm.running_var.to(y.dtype) + norm.eps)
        return Statistics(norm.running_mean.to(y.dtype), rate, own=False, running=running)
    mean, var = pooled.moments(y.detach())
    go_on(norm, mean, var, y.numel() // y.shape[1] * repeats)
    return Statistics(mean.to(y.dtype), torch.rsqrt(var.to(y.dtype) + norm.eps), own=True)


@torch.no_grad()
def go_on(norm: Any, mean: Tensor, var: Tensor, count: int) -> None:
    """Update the running statistics of a norm, if it has any, from a batch with `count` values per channel."""
    if norm.running_mean is None:
        return
    norm.num_batches_tracked.add_(1)
    share = norm.momentum
    if share is None:  # the mean over all batches, as a tensor, so that the CPU need not wait for a GPU
        share = 1.0 / norm.num_batches_tracked.to(norm.running_mean)
    norm.running_mean.lerp_(mean.to(norm.running_mean), share)
    norm.running_var.lerp_((var * (count / (count - 1))).to(norm.running_var), share)


def _affine(mean: Tensor, rate: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return centre, scale and shift of a norm, [C, 1, 1] each, for `Rule.scaled`."""
    scale = rate if weight is None else weight.to(rate) * rate
    shift = torch.zeros_like(mean) if bias is None else bias.to(mean)
    centre, scale, shift = (v.detach().view(-1, 1, 1) for v in (mean, scale, shift))
    return centre, scale, shift


class _OnePass(Function):
    """The autograd function of norm, neuron and pool: images -> pooled output [T, B H' W' C]. The neuron's output is
    saved only for max pooling; if it is spikes, only their bits are saved.
    """

    @staticmethod
    def forward(
        ctx: Any, y: Tensor, initial: Tensor, weight: Tensor | None, bias: Tensor | None, settings: tuple,
        *others: Tensor,
    ) -> Tensor:  # fmt: skip
        rule, size, _, count = ctx.settings = settings
        params, known = others[:count], others[count : count + 2]
        numbers = [_spread(p, size) for p in (*params, *(_affine(known[0], known[1], weight, bias) if known else ()))]
        z = pooled.forward(rule, _rows(y, size), _last(initial), numbers, size)
        ctx.save_for_backward(y, initial, weight, bias, _greatest(rule, size, z), *others)
        return z

    @staticmethod
    def gradients(ctx: Any, saved: tuple[Tensor, ...], *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        y, initial, weight, bias, best, *others = saved
        rule, size, own, count = ctx.settings
        inward, _, weighs, biases, _, *needs = ctx.needs_input_grad
        params, known, g_z = others[:count], others[count : count + 2], grads[0]
        nothing = [None] * (len(others) - count)
        if g_z is None:
            return (None,) * (5 + len(others))
        through = inward and own  # the statistics also depend on the input
        affine = _affine(known[0], known[1], weight, bias) if known else ()
        wanted = (inward, *needs[:count], *((False, weighs or through, biases or through) if known else ()))
        x, numbers = _rows(y, size), [_spread(p, size) for p in (*params, *affine)]
        z = bits.unpack(best, size.pooled[1]) if best.dtype == torch.int64 else best
        given = rule, x, _last(initial), numbers, z, g_z.contiguous(), wanted, size
        g_x, g_initial, rows = pooled.backward(*given)
        found = iter(rows)
        gathered = [
            _gathered(next(found), p, size) if want else None
            for p, want in zip((*params, *affine), wanted[1:], strict=True)
        ]
        gathered[:count] = [None if g is None else g.to(p.dtype) for g, p in zip(gathered[:count], params, strict=True)]
        g_weight = g_bias = None
        if known:
            mean, rate = known
            *gathered, _, g_scale, g_shift = gathered
            g_weight = None if g_scale is None else g_scale.flatten() * rate
            g_bias = None if g_shift is None else g_shift.flatten()
            if through:
                _, scale, _ = affine  # type: ignore[misc]
                share = scale.flatten() * (size.channels / x.numel())
                pooled.add_affine(g_x, x, mean, -share * rate * g_weight, -share * g_bias)
        g_y, g_start = (
            g.view(-1, rows, size.width, size.channels).permute(0, 3, 1, 2)
            for g, rows in ((g_x, size.height), (g_initial, size.rows))
        )
        g_weight = g_weight.to(x.dtype) if weighs and g_weight is not None else None
        g_bias = g_bias.to(x.dtype) if biases and g_bias is not None else None
        return g_y if inward else None, g_start, g_weight, g_bias, None, *gathered, *nothing


def _greatest(rule: Rule, size: Pictures, z: Tensor) -> Tensor:
    """Return the tensor from which backward finds the maximum of each window: the bits of z if it is spikes, otherwise
    the pooled output z.
    """
    if size.kind != "max" or size.window == 1:
        return z.new_empty(size.steps, 0)  # only max pooling needs it
    return bits.packed(z).bits if rule.binary and z.dtype == torch.float32 else z.clone()


def _rows(y: Tensor, size: Pictures) -> Tensor:
    """Return images [N, C, H, W], channels last, in the form that the kernels need: [T or 1, B H W C]."""
    return y.detach().permute(0, 2, 3, 1).reshape(len(y) // size.batch, -1)


def _last(v: Tensor) -> Tensor:
    """Return states [S, C, R, W] in the order of channels last: [S, R W C]."""
    return v.detach().permute(0, 2, 3, 1).reshape(len(v), -1).contiguous()


def _spread(p: Tensor, size: Pictures) -> Tensor:
    """Return a parameter, broadcastable to [C, R, W], in the form that the kernels need: [1] or [R W C]."""
    if p.numel() == 1:
        return p.detach().reshape(1)
    return _last(p.expand(size.channels, size.rows, size.width).unsqueeze(0)).view(-1)


def _gathered(row: Tensor, p: Tensor, size: Pictures) -> Tensor:
    """Return the gradient of a parameter in the shape of the parameter, from its gradient at every position, [R
    W C].
    """
    return row.view(size.rows, size.width, size.channels).permute(2, 0, 1).sum_to_size(p.shape)
