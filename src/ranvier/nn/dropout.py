"""Dropout for sequences: one mask is used at all steps."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ranvier.nn.temporal import Temporal, check_sequence


def _share(name: str, p: float) -> float:
    if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0.0 <= p < 1.0:
        raise ValueError(f"{name}: p must lie in [0, 1), got {p!r}")
    return float(p)


class Dropout(Temporal):
    """Dropout with one mask for all steps of a sequence.

    y = x mask / (1 - p) in training, y = x in evaluation; mask is 0 with probability p.

    x [T, B, *features] -> y of the same shape. p in [0, 1). The mask is the state of the layer. `ranvier.scan` passes
    it to the next chunk, so all chunks of a sequence have the same mask. Gal & Ghahramani, A theoretically grounded
    application of dropout in recurrent neural networks, NeurIPS 2016.

    >>> import torch, ranvier
    >>> y = ranvier.Dropout(0.5)(torch.ones(8, 2, 3))
    >>> bool((y == y[0]).all())
    True
    """

    relays = True

    def __init__(self, p: float = 0.5):
        super().__init__()
        self.p = _share(type(self).__name__, p)

    def mask(self, x_t: Tensor) -> Tensor:
        """Draw a new mask for steps like x_t [B, *features]."""
        return functional.dropout(torch.ones_like(x_t), self.p)

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        check_sequence(self, x)
        state = dict(state or {})
        if self.training and "mask" not in state:
            state["mask"] = self.mask(x.detach()[0] if len(x) else x.sum(0))
        y = x * self._fitting(state["mask"], x) if self.training else x
        return y, state, {n: y for n in names}

    def _fitting(self, mask: Tensor, x: Tensor) -> Tensor:
        if mask.shape[0] != x.shape[1] or mask.dim() != x.dim() - 1:
            raise ValueError(
                f"{type(self).__name__}: state 'mask' is {tuple(mask.shape)} but the input of a step is "
                f"{tuple(x.shape[1:])}; pass state=None to begin a new batch"
            )
        return mask.to(x.dtype)

    def explain(self, x: Any) -> str:
        return "torch operations"

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout2d(Dropout):
    """`Dropout` of whole channels: x [T, B, C, *places]; each channel is kept or dropped as a whole. p in [0, 1).

    >>> import torch, ranvier
    >>> ranvier.Dropout2d(0.2)(torch.ones(8, 2, 3, 4, 4)).shape
    torch.Size([8, 2, 3, 4, 4])
    """

    def __init__(self, p: float = 0.2):
        super().__init__(p)

    def mask(self, x_t: Tensor) -> Tensor:
        return functional.dropout(x_t.new_ones(*x_t.shape[:2], *(1,) * (x_t.dim() - 2)), self.p)


class DropConnectLinear(Temporal):
    """A linear map in which weights, not outputs, are dropped; each sample has its own mask.

    Training: y = act((W mask) x + b mask_b). Each element of the masks is 1 with probability 1 - p, else 0. The masks
    are drawn at every step, or with locked=True once per sequence (then they are the layer's state). Outputs are not
    rescaled. Evaluation: y is the mean of act(m + s n) for a standard normal n, with m = (1 - p)(W x + b) and s^2 = p
    (1 - p)(W^2 x^2 + b^2). With samples=0 this is the exact mean (for act="relu" or "identity"), otherwise the mean
    over `samples` random numbers. Both are differentiable, also at s = 0 (p = 0, or no input).

    x [T, B, in_features] -> [T, B, out_features]. p in [0, 1). Wan et al., Regularization of neural networks using
    DropConnect, ICML 2013.

    >>> import torch, ranvier
    >>> ranvier.DropConnectLinear(4, 3).eval()(torch.rand(8, 2, 4)).shape
    torch.Size([8, 2, 3])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        p: float = 0.5,
        act: Any = "relu",
        samples: int = 0,
        locked: bool = False,
    ):
        super().__init__()
        self.p, self.samples, self.locked = _share("DropConnectLinear", p), samples, locked
        if samples == 0 and act not in MEANS:
            raise ValueError(
                f"DropConnectLinear: samples=0 means the exact mean, which is known only for act in {list(MEANS)}, got "
                f"{act!r}; give samples, such as 1024"
            )
        self.act = ACTS[act] if isinstance(act, str) else act
        self.mean = MEANS[act] if samples == 0 else self._sampled
        linear = nn.Linear(in_features, out_features, bias=bias)
        self.weight, self.bias = linear.weight, linear.bias

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        check_sequence(self, x)
        if x.dim() != 3 or x.shape[2] != self.weight.shape[1]:
            raise ValueError(
                f"DropConnectLinear: input must be [T, B, {self.weight.shape[1]}], got shape {tuple(x.shape)}"
            )
        state = dict(state or {})
        if not self.training:
            y = self._evaluated(x)
        elif self.locked:
            state = state if "mask" in state else self._masks(x.shape[1], x)
            y = self._masked(x, state)
        else:
            steps = [self._masked(x_t.unsqueeze(0), self._masks(len(x_t), x)) for x_t in x.unbind(0)]
            y = torch.cat(steps) if steps else x.new_empty(0, x.shape[1], len(self.weight))
        return y, state, {n: y for n in names}

    def _masks(self, batch: int, x: Tensor) -> dict[str, Tensor]:
        def keep(like: Tensor) -> Tensor:
            return (torch.rand(batch, *like.shape, dtype=torch.float32, device=x.device) >= self.p).to(x.dtype)

        masks = {"mask": keep(self.weight)}
        return masks if self.bias is None else {**masks, "mask_b": keep(self.bias)}

    def _masked(self, x: Tensor, masks: dict[str, Tensor]) -> Tensor:
        y = torch.einsum("boi,tbi->tbo", self.weight * masks["mask"], x)
        return self.act(y if self.bias is None else y + self.bias * masks["mask_b"])

    def _evaluated(self, x: Tensor) -> Tensor:
        mean = (1.0 - self.p) * functional.linear(x, self.weight, self.bias)
        square = functional.linear(x * x, self.weight**2, None if self.bias is None else self.bias**2)
        # sqrt has no derivative at 0: because of the clamp the gradient there is 0, which is the right value
        deviation = (self.p * (1.0 - self.p) * square).clamp_min(torch.finfo(x.dtype).eps ** 2).sqrt()
        return self.mean(mean, deviation)

    def _sampled(self, mean: Tensor, deviation: Tensor) -> Tensor:
        noise = torch.randn(self.samples, *mean.shape, dtype=mean.dtype, device=mean.device)
        return self.act(mean + deviation * noise).mean(0)

    def explain(self, x: Any) -> str:
        return "torch operations"


def _rectified(mean: Tensor, deviation: Tensor) -> Tensor:
    """Return E[max(m + s n, 0)] = m Phi(m / s) + s phi(m / s), for a standard normal n, its distribution Phi and its
    density phi.
    """
    u = mean / deviation
    density = torch.exp(-0.5 * u * u) / math.sqrt(2 * math.pi)
    return mean * torch.special.ndtr(u) + deviation * density


ACTS = {"relu": functional.relu, "identity": lambda y: y}
MEANS = {"relu": _rectified, "identity": lambda mean, deviation: mean}
