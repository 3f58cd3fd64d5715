"""Apply changes of weights: directly, or as a gradient for any torch optimiser."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def apply(
    weight: Tensor,
    change: Tensor,
    lr: float = 1.0,
    bounds: tuple[float | None, float | None] | None = None,
    total: float | None = None,
) -> None:
    """Compute weight += lr change, in place and without gradient; then clamp the weight to `bounds`, and then normalise
    it to `total`.

    weight: any tensor or parameter, for example that of an `nn.Linear` or `nn.Conv2d`. bounds: (low, high); each may be
    None.
    total: the sum of the absolute incoming weights of every neuron, see `normalise`. A change or lr that is not finite,
    or bounds with low > high, raise a ValueError, and the weight stays as it was.

    >>> import torch
    >>> from ranvier.plasticity import apply
    >>> layer = torch.nn.Linear(2, 1)
    >>> apply(layer.weight, torch.tensor([[5.0, -5.0]]), bounds=(0.0, 1.0))
    >>> layer.weight.data
    tensor([[1., 0.]])
    """
    _same_shape(weight, change)
    low, high = bounds or (None, None)
    if low is not None and high is not None and not low <= high:
        raise ValueError(f"apply: bounds are (low, high) with low <= high, got {bounds!r}")
    if not math.isfinite(lr):
        raise ValueError(f"apply: lr must be a finite number, got {lr!r}")
    if not bool(torch.isfinite(change).all()):
        raise ValueError("apply: the change has entries that are NaN or infinite; look at the rule that made it")
    with torch.no_grad():
        weight.add_(change, alpha=lr)
        if bounds is not None:
            weight.clamp_(*bounds)
        if total is not None:
            normalise(weight, total)


def accumulate(weight: Tensor, change: Tensor) -> None:
    """Compute weight.grad -= change, so that an optimiser applies the change: `optimiser.step()` of SGD with lr = 1
    adds it to the weight.

    >>> import torch
    >>> from ranvier.plasticity import accumulate
    >>> layer = torch.nn.Linear(2, 1)
    >>> accumulate(layer.weight, torch.tensor([[1.0, -1.0]]))
    >>> layer.weight.grad
    tensor([[-1.,  1.]])
    """
    _same_shape(weight, change)
    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    weight.grad.sub_(change)


def normalise(weight: Tensor, total: float) -> None:
    """Scale the incoming weights of every neuron, in place, so that their absolute values sum to `total`.

    weight [out, *in]; a neuron whose weights are all 0 is not changed.
    """
    if not total > 0:
        raise ValueError(f"normalise: total must be positive, got {total!r}")
    with torch.no_grad():
        sums = weight.abs().flatten(1).sum(1).view(-1, *[1] * (weight.dim() - 1))
        weight.mul_(torch.where(sums > 0, total / sums, 1.0))


# The distributions of `draw`, by name.
DISTRIBUTIONS = {
    "uniform": lambda w, a, b: torch.nn.init.uniform_(w, a, b),
    "neuron_scaled_uniform": lambda w, a, b: torch.nn.init.uniform_(w, a / w.shape[1] ** 0.5, b / w.shape[1] ** 0.5),
    "normal": lambda w, a, b: torch.nn.init.normal_(w, a, b),
    "xavier_uniform": lambda w, a, b: torch.nn.init.xavier_uniform_(w, b),
    "xavier_normal": lambda w, a, b: torch.nn.init.xavier_normal_(w, b),
    "kaiming_uniform": lambda w, a, b: torch.nn.init.kaiming_uniform_(w),
    "kaiming_normal": lambda w, a, b: torch.nn.init.kaiming_normal_(w),
    "constant": lambda w, a, b: torch.nn.init.constant_(w, b),
}


def draw(weight: Tensor, distribution: str = "uniform", a: float = 0.0, b: float = 1.0) -> None:
    """Fill a weight, in place, with random numbers from a distribution. An unknown name raises a ValueError that lists
    the names.

    "uniform" in [a, b); "neuron_scaled_uniform" in [a, b) / sqrt(weight.shape[1]); "normal" with mean a and standard
    deviation b; "xavier_uniform", "xavier_normal" with gain b; "kaiming_uniform", "kaiming_normal"; "constant" b.
    """
    if distribution not in DISTRIBUTIONS:
        raise ValueError(f"draw: distribution must be one of {list(DISTRIBUTIONS)}, got {distribution!r}")
    with torch.no_grad():
        DISTRIBUTIONS[distribution](weight, a, b)


def _same_shape(weight: Tensor, change: Tensor | Sequence) -> None:
    if not isinstance(change, Tensor) or change.shape != weight.shape:
        got = tuple(change.shape) if isinstance(change, Tensor) else type(change).__name__
        raise ValueError(
            f"the change is {got}, but the weight is {tuple(weight.shape)}; a rule with "
            f"reduction='none' gives one change per sample: take its mean or sum over axis 0"
        )
