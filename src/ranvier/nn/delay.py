"""Delays, fixed or learned. All can be streamed exactly: their state is the last steps of their input."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ranvier.nn import arguments
from ranvier.nn.bounds import bounded
from ranvier.nn.length import count
from ranvier.nn.temporal import Temporal, check_sequence


def _version(x: Tensor) -> int:
    """Return how often x was changed in place. This is 0 for tensors made in inference mode, where torch does not count
    it.
    """
    return 0 if x.is_inference() else x._version


class _Delay(Temporal):
    """A layer whose state is the last `reach` steps of its input, {"past": [B, reach, *features]}."""

    reach: int

    def _seen(self, x: Any, state: Any) -> Tensor:
        """Return the earlier steps followed by x: [reach + T, B, *features]."""
        check_sequence(self, x)
        if state is None:
            return torch.cat([x.new_zeros(self.reach, *x.shape[1:]), x])
        past = state["past"].to(x.dtype).movedim(1, 0)
        if past.shape[1:] != x.shape[1:]:
            raise ValueError(
                f"{type(self).__name__}: state 'past' is of steps {tuple(past.shape[1:])} but the input of a step is "
                f"{tuple(x.shape[1:])}; pass state=None to begin a new batch"
            )
        return torch.cat([past, x])

    def _after(self, seen: Tensor) -> dict[str, Tensor]:
        return {"past": seen[seen.shape[0] - self.reach :].movedim(0, 1)}

    def explain(self, x: Any) -> str:
        return "torch operations"


class Delay(_Delay):
    """Fixed delays: y[t] = x[t - steps], and 0 before the first input arrives.

    x [T, B, *features] -> y of the same shape. steps: a whole number of steps, not negative, for the layer, or a tensor
    of them broadcastable to the features.

    >>> import torch, ranvier
    >>> ranvier.Delay(1)(torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1)).flatten()
    tensor([0., 1., 2.])
    """

    relays = True
    steps: Tensor

    def __init__(self, steps: int | Sequence[int] | Tensor = 1):
        super().__init__()
        try:
            value = steps if isinstance(steps, Tensor) else torch.tensor(steps, device="cpu")
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(f"Delay: steps must be whole numbers of steps, not negative, got {steps!r}") from None
        wrong = value.is_floating_point() or value.dtype == torch.bool or value.numel() == 0
        if wrong or not (value.is_meta or bool((value >= 0).all())):
            raise ValueError(f"Delay: steps must be whole numbers of steps, not negative, got {steps!r}")
        self._reach = None if value.is_meta else int(value.max())  # valid until the buffer is changed in place
        value = value.clone() if isinstance(steps, Tensor) else value.to(torch.get_default_device())
        self.register_buffer("steps", value)
        self._reached = _version(value)

    @property
    def reach(self) -> int:  # type: ignore[override]
        """The longest delay in steps; it is computed again when other delays have been loaded."""
        steps, known = self.steps, self._reach is not None and torch.compiler.is_exporting()  # then values are unknown
        if not steps.is_meta and not known and (self._reach is None or self._reached != _version(steps)):
            self._reach, self._reached = int(steps.max()), _version(steps)
        if self._reach is None:
            raise ValueError("Delay: it was built on meta, so its steps are not known; load its state first")
        return self._reach

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        seen = self._seen(x, state)
        if self.steps.numel() == 1:
            y = seen[: x.shape[0]]
        else:
            at = torch.arange(x.shape[0], device=x.device).view(-1, *(1,) * (x.dim() - 1)) + self.reach - self.steps
            y = seen.gather(0, at.expand(x.shape))
        return y, self._after(seen), {n: y for n in names}

    def extra_repr(self) -> str:
        few = self.steps.numel() < 10 and not self.steps.is_meta
        return f"steps={self.steps.tolist() if few else tuple(self.steps.shape)}"


def interpolated(lag: Tensor, delay: Tensor, width: float) -> Tensor:
    """Return the weight of a lag (a whole number of steps) for a real-valued delay, by linear interpolation between the
    two lags next to the delay.

    At a whole delay, the derivative is the one towards the next lag. At the longest delay, it is the one towards the
    previous lag.
    """
    before = delay.detach().floor().clamp(max=float(len(lag) - 2))
    part = delay - before
    return torch.where(lag == before, 1.0 - part, torch.where(lag == before + 1.0, part, 0.0))


def gaussian(lag: Tensor, delay: Tensor, width: float) -> Tensor:
    """Return the weight of a lag: a Gaussian of this width around the delay. So lags further than one step from the
    delay have a gradient too.
    """
    return torch.softmax(-0.5 * ((lag - delay) / width) ** 2, 0)


KERNELS = {"interpolated": interpolated, "gaussian": gaussian}


class _Learned(_Delay):
    """Base of layers with a real-valued, learned `delay`, which is clamped to [0, longest]."""

    delay: nn.Parameter

    def __init__(self, shape: Sequence[int] | int, longest: int, kernel: str, width: float, delay: Any):
        super().__init__()
        name = type(self).__name__
        self.reach = count(f"{name}: longest", longest)
        if kernel not in KERNELS:
            raise ValueError(f"{name}: kernel must be one of {list(KERNELS)}, got {kernel!r}")
        self.kernel, self.width = kernel, arguments.positive(f"{name}: width", width)
        shape = arguments.shape(name, shape) or ()
        if delay is None:
            self.delay = nn.Parameter(torch.rand(shape) * longest)
        else:
            self.delay = nn.Parameter(arguments.value(f"{name}: delay", delay, shape, 0.0, float(longest)))

    def lags(self) -> Tensor:
        """Return the weight of each lag 0, ..., longest: [longest + 1, *shape of the delays]."""
        delay = bounded(self.delay, 0.0, float(self.reach))
        real = torch.promote_types(delay.dtype, torch.float32)
        lag = torch.arange(self.reach + 1, dtype=real, device=delay.device).view(-1, *(1,) * delay.dim())
        return KERNELS[self.kernel](lag, delay, self.width)

    def whole(self) -> Tensor:
        """Return the learned delays, rounded to whole steps."""
        return self.delay.detach().clamp(0.0, float(self.reach)).round().long()

    def extra_repr(self) -> str:
        return f"{tuple(self.delay.shape)}, longest={self.reach}, kernel={self.kernel!r}"


class LearnedDelay(_Learned):
    """A learned, real-valued delay for every neuron.

    y[t] = sum over lags l of weight(l; delay) x[t - l], where weight is "interpolated" (linear between the two lags
    next to the delay) or "gaussian" (a Gaussian with a width of `width` steps; reduce it during training).

    x [T, B, *features] -> y of the same shape. shape: broadcastable to the features. delay: in steps between 0 and
    `longest`; random if not given. `rounded()` returns the fixed `Delay` for deployment. Hammouamri et al., Learning
    delays in spiking neural networks using dilated convolutions with learnable spacings, ICLR 2024.

    >>> import torch, ranvier
    >>> layer = ranvier.LearnedDelay(1, longest=3, delay=1.5)
    >>> layer(torch.tensor([1.0, 0.0, 0.0, 0.0]).reshape(4, 1, 1)).flatten().tolist()
    [0.0, 0.5, 0.5, 0.0]
    """

    relays = True

    def __init__(
        self,
        shape: Sequence[int] | int = 1,
        longest: int = 10,
        *,
        kernel: str = "interpolated",
        width: float = 1.0,
        delay: Any = None,
    ):
        super().__init__(shape, longest, kernel, width, delay)

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        seen, lags = self._seen(x, state), self.lags().to(x.dtype)
        y = torch.zeros_like(x)
        for lag, weight in enumerate(lags.unbind(0)):
            begin = self.reach - lag
            y = y + weight * seen[begin : begin + x.shape[0]]
        return y, self._after(seen), {n: y for n in names}

    def rounded(self) -> Delay:
        """Return a `Delay` with the learned delays rounded to whole steps."""
        return Delay(self.whole())


class DelayedLinear(_Learned):
    """A linear map with a learned, real-valued delay on every connection.

    y[t, o] = sum over inputs i and lags l of W[o, i] weight(l; delay[o, i]) x[t - l, i] + b[o].

    x [T, B, in_features] -> [T, B, out_features]. Delays are in steps between 0 and `longest`; random if not given;
    kernel and width as in `LearnedDelay`. `round_()` rounds them to whole steps for deployment. Hammouamri et al., ICLR
    2024.

    >>> import torch, ranvier
    >>> ranvier.DelayedLinear(4, 3, longest=5)(torch.rand(8, 2, 4)).shape
    torch.Size([8, 2, 3])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        longest: int = 10,
        *,
        bias: bool = True,
        kernel: str = "gaussian",
        width: float = 1.0,
        delay: Any = None,
    ):
        super().__init__((out_features, in_features), longest, kernel, width, delay)
        linear = nn.Linear(in_features, out_features, bias=bias)
        self.weight, self.bias = linear.weight, linear.bias

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        inputs = self.weight.shape[1]
        if isinstance(x, Tensor) and (x.dim() != 3 or x.shape[2] != inputs):
            raise ValueError(f"DelayedLinear: input must be [T, B, {inputs}], got shape {tuple(x.shape)}")
        seen = self._seen(x, state)
        if not x.numel():
            return x.new_empty(*x.shape[:2], len(self.weight)), self._after(seen), {}
        kernel = (self.weight * self.lags()).flip(0).permute(1, 2, 0)  # [O, I, lags], the longest first
        y = functional.conv1d(seen.permute(1, 2, 0), kernel.to(x.dtype), self.bias)
        y = y.permute(2, 0, 1)
        return y, self._after(seen), {n: y for n in names}

    def round_(self) -> "DelayedLinear":
        """Round every delay to a whole step, in place. The kernel of the layer becomes "interpolated", for which a
        whole delay is a single lag.
        """
        self.kernel = "interpolated"
        with torch.no_grad():
            self.delay.copy_(self.whole())
        return self
