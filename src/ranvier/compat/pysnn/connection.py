"""PySNN's connections: one call is one step. They return potentials and traces per synapse; the neuron adds them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ranvier.compat.pysnn.utils import conv2d_output_shape
from ranvier.plasticity.change import DISTRIBUTIONS, draw
from ranvier.plasticity.connection import arrivals

SCALED = ("xavier_normal", "xavier_uniform", "constant")  # distributions that use the argument `gain`


class Connection(nn.Module):
    """Base class of connections. shape: (B, outputs, inputs), or (B, channels, K, L) for a convolution with K inputs
    per output and L output positions.

    delay: whole steps, as one number or a tensor broadcastable to the shape. Delayed spikes wait in a queue, so none is
    lost; traces are not delayed. State: trace, spikes, past (the spikes that have not arrived), and delay (the steps
    until the next spike arrives, plus one, as published). `delay_init` is the delay of each synapse plus one.
    A checkpoint has the published keys. It also has `past` if more than one spike waits in a synapse.
    """

    trace: Tensor
    spikes: Tensor
    past: Tensor
    delay: Tensor
    dt: Tensor
    delay_init: Tensor | None

    def __init__(self, shape: Sequence[int], dt: float, delay: Any):
        super().__init__()
        if isinstance(delay, bool) or not isinstance(delay, (int, Tensor)):
            raise TypeError(f"delay must be a whole number of steps or a tensor of them, got {delay!r}")
        steps = torch.as_tensor(delay).float()
        if bool((steps < 0).any()) or bool((steps != steps.round()).any()):
            raise ValueError(f"delay must be whole steps >= 0, got {delay!r}")
        longest = int(steps.max())
        self.register_buffer("delay_init", (steps + 1).expand(*shape).clone() if longest else None)
        self.register_buffer("dt", torch.tensor(float(dt)))
        self.register_buffer("trace", torch.zeros(*shape))
        self.register_buffer("delay", torch.zeros(*shape))
        self.register_buffer("spikes", torch.zeros(*shape, dtype=torch.bool))
        self.register_buffer("past", torch.zeros(longest, *shape), persistent=False)

    def _remaining(self) -> Tensor:
        """Return the steps until each entry of `past` [longest, *shape] arrives; below 1, it has arrived."""
        assert self.delay_init is not None
        ages = torch.arange(len(self.past), 0, -1).to(self.delay_init).view(-1, *[1] * self.trace.dim())
        return self.delay_init - ages

    def _next(self) -> Tensor:
        """Return the published counter: steps until the next spike arrives, plus one; 0 if no spike waits."""
        waiting = torch.where((self.past != 0) & (self._remaining() >= 1), self._remaining() + 1, torch.inf)
        return torch.where((first := waiting.min(0).values).isinf(), 0.0, first)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.delay_init is not None:
            waiting = (self.past * (self._remaining() >= 1)).abs()
            if bool((waiting.sum(0) != (self.delay > 0)).any()):
                destination[prefix + "past"] = self.past if keep_vars else self.past.detach()

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        past = state_dict.pop(prefix + "past", None)
        super()._load_from_state_dict(state_dict, prefix, *args)
        if self.delay_init is not None:
            alone = (self._remaining() + 1 == self.delay) & (self.delay > 1)
            self.past.copy_(alone if past is None else past)

    def convert_spikes(self, x: Tensor) -> Tensor:
        """Return the spikes in the dtype of the weight."""
        return x.to(self.weight.dtype)  # type: ignore[operator]

    def reset_state(self) -> None:
        """Set traces, spikes and waiting spikes to 0. Weights are not changed."""
        for state in (self.trace, self.spikes, self.past, self.delay):
            state.zero_()

    def reset_weights(self, distribution: str = "uniform", gain: float = 1.0, a: float = 0.0, b: float = 1.0) -> None:
        """Draw new weights; for an unknown distribution, a ValueError lists the names."""
        if distribution not in DISTRIBUTIONS:
            raise ValueError(f"distribution must be one of {list(DISTRIBUTIONS)}, got {distribution!r}")
        normal = distribution == "normal"
        b = gain if distribution in SCALED else 1.0 if normal else b
        draw(self.weight.data, distribution, 0.0 if normal else a, b)  # type: ignore[arg-type]

    def no_grad(self) -> None:
        """Set requires_grad of all parameters to False."""
        self.requires_grad_(False)

    def init_connection(self) -> None:
        """Call `no_grad`, `reset_state` and `reset_weights`. Raises TypeError if there is no weight."""
        if not isinstance(getattr(self, "weight", None), nn.Parameter):
            raise TypeError(f"{type(self).__name__}: self.weight must be an nn.Parameter before init_connection()")
        self.no_grad()
        self.reset_state()
        self.reset_weights()

    def propagate_spike(self, x: Tensor) -> Tensor:
        """Return the input of every synapse at this step, as floats in the shape of this connection."""
        x = x.expand(self.trace.shape)
        if self.delay_init is not None:
            x, past = arrivals(x, self.past, self.delay_init.long() - 1)
            self.past.copy_(past)
            self.delay.copy_(self._next())
        self.spikes.copy_(x.bool())
        return x

    def forward(self, x: Tensor, trace_in: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError(f"{type(self).__name__} must define forward(x, trace_in)")


class Linear(Connection):
    """A dense connection: forward(x [B, 1, in], trace [B, 1, in]) -> potential and trace [B, 1, out, in]."""

    def __init__(self, in_features: int, out_features: int, batch_size: int, dt: float, delay: Any):
        super().__init__((batch_size, out_features, in_features), dt, delay)
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.init_connection()

    @torch.no_grad()
    def forward(self, x: Tensor, trace_in: Tensor) -> tuple[Tensor, Tensor]:
        self.trace.copy_(trace_in.expand(self.trace.shape))
        return self.activation_potential(x), self.trace.unsqueeze(1).clone()

    @torch.no_grad()
    def activation_potential(self, x: Tensor) -> Tensor:
        """Return the effect of spikes x [B, 1, in] on every synapse at this step, [B, 1, out, in]."""
        return (self.propagate_spike(self.convert_spikes(x)) * self.weight).unsqueeze(1)


class Conv2d(Connection):
    """A convolution: forward(x, trace [B, in, H, W]) -> potential and trace [B, out, height, width, K].

    height, width: size of the output. K: inputs per output, that is, in channels times the size of the kernel. The sum
    of the potential over K is the result of torch's conv2d. im_dims: (H, W) of the input.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, im_dims: Sequence[int], batch_size: int,
                 dt: float, delay: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1):  # fmt: skip
        if not isinstance(im_dims, (tuple, list)) or len(im_dims) != 2 or not all(isinstance(n, int) for n in im_dims):
            raise ValueError(f"im_dims must be (height, width), two whole numbers, got {im_dims!r}")
        kernel = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
        places = conv2d_output_shape(im_dims[0], im_dims[1], kernel, stride, padding, dilation)
        shape = batch_size, out_channels, in_channels * kernel[0] * kernel[1], places[0] * places[1]
        super().__init__(shape, dt, delay)
        self.image_out, self.kernel_size = places, kernel
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, *kernel))
        self.init_connection()

    def unfold(self, x: Tensor) -> Tensor:
        """x [B, in, H, W] -> the K inputs of each of the L output positions, [B, 1, K, L]."""
        seen = functional.unfold(self.convert_spikes(x), self.kernel_size, self.dilation, self.padding, self.stride)
        return seen.unsqueeze(1)

    def _by_place(self, x: Tensor) -> Tensor:
        """[B, out, K, L] -> [B, out, height, width, K]."""
        return x.mT.unflatten(2, self.image_out)

    @torch.no_grad()
    def forward(self, x: Tensor, trace_in: Tensor) -> tuple[Tensor, Tensor]:
        self.trace.copy_(self.unfold(trace_in).expand(self.trace.shape))
        return self.activation_potential(x), self._by_place(self.trace).clone()

    @torch.no_grad()
    def activation_potential(self, x: Tensor) -> Tensor:
        """Return the effect of spikes x [B, in, H, W] on every synapse at this step, [B, out, height, width, K]."""
        return self._by_place(self.propagate_spike(self.unfold(x)) * self.weight.flatten(1).unsqueeze(-1))


class _Pool(nn.Module):
    def reset_state(self) -> None:
        """Do nothing: there is no state."""

    def _pool(self, x: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    @torch.no_grad()
    def forward(self, x: Tensor, trace: Tensor) -> tuple[Tensor, Tensor]:
        """x, trace [B, C, H, W] -> whether any input of each window spikes, and the trace of the first input that
        spikes.
        """
        pooled, where = self._pool(x.float())
        return pooled > 0, trace.flatten(2).gather(2, where.flatten(2)).view(where.shape)


class MaxPool2d(_Pool):
    """Spikes where any input of a window spikes; the trace is that of the first input that spikes."""

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
    ):
        super().__init__()
        self.pool = nn.MaxPool2d(kernel_size, stride, padding, dilation, return_indices=True, ceil_mode=ceil_mode)

    def _pool(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.pool(x)


class AdaptiveMaxPool2d(_Pool):
    """`MaxPool2d` with a given output size."""

    def __init__(self, output_size: Any):
        super().__init__()
        self.pool = nn.AdaptiveMaxPool2d(output_size, return_indices=True)

    def _pool(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.pool(x)
