"""Connections that learn without backpropagation: a weight, and axons with delays."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ranvier.nn.neurons.traced import floating
from ranvier.nn.temporal import Temporal, check_sequence
from ranvier.plasticity.change import apply, draw, normalise
from ranvier.plasticity.hebb import hebb
from ranvier.spikes.product import linear


class Connection(Temporal):
    """A linear map whose synapses may have delays; the base of `Dense` and `Conv2d`.

    y[t] = sum over synapses of weight x[t - delay]. The state is the input that has not arrived yet: the last D inputs,
    {"past": [B, D, *in]}, where D is the longest delay. So no spike is lost or merged.

    delay: in steps, a whole number for all synapses or a tensor in the shape of the weight. bounds: (low, high) of the
    weight; each may be None. total: sum of the absolute weights into a neuron, to which `change` normalises.
    distribution, a, b: see `draw`. The weight is a parameter without gradient (requires_grad False).
    """

    delay: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        *,
        delay: int | Tensor = 0,
        bounds: tuple[float | None, float | None] | None = None,
        total: float | None = None,
        distribution: str = "uniform",
        a: float = 0.0,
        b: float = 1.0,
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(*shape), requires_grad=False)
        self.bounds, self.total = bounds, total
        draw(self.weight, distribution, a, b)
        if total is not None:
            normalise(self.weight, total)
        self.register_buffer("delay", _steps(delay, tuple(shape)))
        self._delays = tuple(int(d) for d in self.delay.unique())

    def through(self, weight: Tensor, x: Tensor) -> Tensor:
        """Apply the map without delays: x [T, B, *in] -> [T, B, *out]."""
        raise NotImplementedError

    def project(self, weight: Tensor, x: Tensor, past: Tensor | None = None) -> Tensor:
        """Apply the map with delays, starting from empty axons or from the earlier inputs `past` [B, D, *in]."""
        longest, steps = self._delays[-1], len(x)
        past = x.new_zeros(longest, *x.shape[1:]) if past is None else past.transpose(0, 1).to(x.dtype)
        whole = torch.cat([past, x])  # [D + T, B, *in]
        late = [whole[longest - d : longest - d + steps] for d in self._delays]
        if len(late) == 1:
            return self.through(weight, late[0])
        # the map is linear in the weight, so it is computed once for each delay, with the synapses of that delay
        parts = zip(late, self._delays, strict=True)
        return torch.stack([self.through(weight * (self.delay == d), x) for x, d in parts]).sum(0)

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        x = floating(x)
        check_sequence(self, x)
        past = x.new_zeros(x.shape[1], self._delays[-1], *x.shape[2:]) if state is None else state["past"]
        if past.shape != (x.shape[1], self._delays[-1], *x.shape[2:]):
            raise ValueError(
                f"{type(self).__name__}: state 'past' is {tuple(past.shape)} but the input of a step is "
                f"{tuple(x.shape[1:])}; pass state=None to begin a new batch"
            )
        y = self.project(self.weight.to(x.dtype), x, past)
        after = torch.cat([past.to(x.dtype), x.transpose(0, 1)], 1)[:, len(x) :]
        return y, {"past": after}, {n: y for n in names}

    def change(self, change: Tensor, lr: float = 1.0) -> None:
        """Compute weight += lr change; then clamp the weight to the bounds and normalise it to the total of this
        connection.
        """
        apply(self.weight, change, lr, self.bounds, self.total)

    def hebb(self, pre: Tensor, post: Tensor, reduction: str = "mean") -> Tensor:
        """Return the Hebbian product of `pre` and `post`, where `pre` is delayed as in the synapses; see `hebb`."""
        return hebb(self, pre, post, reduction)

    def explain(self, x: Any) -> str:
        return f"torch, {len(self._delays)} delay{'s' if len(self._delays) > 1 else ''}"

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, delays {list(self._delays)[:8]}, bounds={self.bounds}, total={self.total}"


def arrivals(x_t: Tensor, past: Tensor, delay: Tensor) -> tuple[Tensor, Tensor]:
    """Return the input that reaches each synapse at one step, and the input that is still in the axons after it.

    x_t [B, *synapses]: the new input; past [D, B, *synapses]: earlier inputs, oldest first, where D >= the longest
    delay; delay [*synapses]: whole steps. The axon is a queue: nothing is lost or merged.

    >>> import torch
    >>> from ranvier.plasticity.connection import arrivals
    >>> past, seen = torch.zeros(2, 1, 1), []
    >>> for x in (1.0, 1.0, 0.0, 0.0):
    ...     y, past = arrivals(torch.full((1, 1), x), past, torch.tensor([2]))
    ...     seen.append(y.item())
    >>> seen
    [0.0, 0.0, 1.0, 1.0]
    """
    whole = torch.cat([past, x_t.unsqueeze(0)])
    when = (len(past) - delay).expand(x_t.shape).unsqueeze(0)
    return whole.gather(0, when).squeeze(0), whole[1:]


class Dense(Connection):
    """A dense connection with delays: x [T, B, in_features], float or bool -> [T, B, out_features].

    >>> import torch
    >>> from ranvier.plasticity import Dense
    >>> layer = Dense(1, 1, delay=2, distribution="constant")
    >>> layer(torch.tensor([1.0, 1.0, 0.0, 1.0]).reshape(4, 1, 1)).flatten()
    tensor([0., 0., 1., 1.])
    """

    def __init__(self, in_features: int, out_features: int, **kwargs: Any):
        super().__init__((out_features, in_features), **kwargs)

    def through(self, weight: Tensor, x: Tensor) -> Tensor:
        return linear(x, weight, None)


class Conv2d(Connection):
    """A convolution with delays: x [T, B, C, H, W], float or bool -> [T, B, C', H', W'].

    >>> import torch
    >>> from ranvier.plasticity import Conv2d
    >>> Conv2d(1, 4, 3, delay=1)(torch.ones(5, 2, 1, 8, 8)).shape
    torch.Size([5, 2, 4, 6, 6])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        **kwargs: Any,
    ):
        kernel = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
        super().__init__((out_channels, in_channels, *kernel), **kwargs)
        self.stride, self.padding, self.dilation = stride, padding, dilation

    def through(self, weight: Tensor, x: Tensor) -> Tensor:
        y = functional.conv2d(x.flatten(0, 1), weight, None, self.stride, self.padding, self.dilation)
        return y.unflatten(0, x.shape[:2])


def _steps(delay: int | Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return delays as a tensor: one delay for all synapses, or one for each weight."""
    if isinstance(delay, bool) or not isinstance(delay, (int, Tensor)):
        raise TypeError(f"delay must be a whole number of steps or a tensor of them, got {delay!r}")
    steps = torch.as_tensor(delay)
    if bool((steps != steps.round()).any()) or bool((steps < 0).any()):
        raise ValueError(f"delays are whole numbers of steps >= 0, got {delay!r}")
    if steps.dim() and steps.shape != shape:
        raise ValueError(f"delay is {tuple(steps.shape)}, but there is one per synapse: {shape}")
    return steps.round().long()
