"""snnTorch's surrogates. A result, such as `fast_sigmoid(slope=25)`, is passed to a neuron as `spike_grad=`.

Each result is a function of u = mem - threshold: 1 where u > 0, else 0, with a surrogate derivative.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ranvier import ops, surrogate
from ranvier.surrogate import Surrogate


class SpikeGrad:
    """A spike with a surrogate derivative. `core` is the surrogate for the kernels.

    >>> import torch
    >>> u = torch.tensor([-0.04, 0.0, 0.04], requires_grad=True)
    >>> z = fast_sigmoid(slope=25)(u)
    >>> z.sum().backward()
    >>> z.tolist(), [round(g, 4) for g in u.grad.tolist()]
    ([0.0, 0.0, 1.0], [0.25, 1.0, 0.25])
    """

    def __init__(self, core: Surrogate):
        self.core = core

    def __call__(self, u: Tensor) -> Tensor:
        with ops.spike_derivative(self.core, u.dtype):
            return ops.spike(u, strict=True)

    def __repr__(self) -> str:
        return repr(self.core)


def fast_sigmoid(slope: float = 25) -> SpikeGrad:
    """Surrogate derivative 1 / (1 + slope |u|)^2."""
    return SpikeGrad(surrogate.superspike(slope))


def atan(alpha: float = 2.0) -> SpikeGrad:
    """Surrogate derivative (alpha / 2) / (1 + (pi alpha u / 2)^2)."""
    return SpikeGrad(surrogate.atan(alpha))


def sigmoid(slope: float = 25) -> SpikeGrad:
    """Surrogate derivative slope s (1 - s) with s = sigmoid(slope u)."""
    return SpikeGrad(surrogate.sigmoid(slope))


def straight_through_estimator() -> SpikeGrad:
    """Surrogate derivative 1."""
    return SpikeGrad(surrogate.straight_through())


def heaviside() -> SpikeGrad:
    """Surrogate derivative 1 where u > 0, else 0."""
    return SpikeGrad(surrogate.custom(lambda u: ops.where(u > 0.0, 1.0, 0.0 * u), "heaviside"))


def triangular(threshold: float = 1) -> SpikeGrad:
    """Surrogate derivative `threshold` where u < 0, else minus `threshold`, as in snnTorch."""
    return SpikeGrad(surrogate.custom(lambda u: ops.where(u < 0.0, threshold + 0.0 * u, -threshold), "triangular"))


def spike_rate_escape(beta: float = 1, slope: float = 25) -> SpikeGrad:
    """Surrogate derivative slope exp(-beta |u - 1|)."""
    return SpikeGrad(surrogate.custom(lambda u: slope * ops.exp(-beta * ops.abs(u - 1.0)), "spike_rate_escape"))


def SFS(slope: float = 25, B: float = 1) -> SpikeGrad:
    """Sparse fast sigmoid: surrogate derivative 1 / (1 + slope |u|)^2 where u > B, else 0, as in snnTorch."""

    def derivative(u: Any) -> Any:
        d = 1.0 + slope * ops.abs(u)
        return ops.where(u > B, 1.0 / (d * d), 0.0 * u)

    return SpikeGrad(surrogate.custom(derivative, "sparse_fast_sigmoid"))


def LSO(slope: float = 0.1) -> SpikeGrad:
    """Leaky spike operator: surrogate derivative 1 where u >= 0, else slope."""
    return SpikeGrad(surrogate.leaky_relu(slope, 1.0))


def custom_surrogate(custom_surrogate_function: Callable[..., Any]) -> SpikeGrad:
    """Raise an error: your own surrogate must be a function of u in `ranvier.ops`, so that kernels can run it."""
    raise ValueError(
        "custom_surrogate: a function of (input, grad, spikes) cannot be fused; write its derivative as a function of "
        "u in ranvier.ops, and pass spike_grad=ranvier.surrogate.custom(lambda u: ...)"
    )


def core_of(spike_grad: Any) -> Surrogate:
    """Return the `ranvier.surrogate` of an argument `spike_grad=`; atan if it is None."""
    if spike_grad is None:
        return surrogate.atan(2.0)
    if isinstance(spike_grad, SpikeGrad):
        return spike_grad.core
    if isinstance(spike_grad, Surrogate):
        return spike_grad
    raise TypeError(
        f"spike_grad must be one of ranvier.compat.snntorch.surrogate, such as fast_sigmoid(slope=25), or of "
        f"ranvier.surrogate, got {spike_grad!r}"
    )


NONE = surrogate.custom(lambda u: 0.0 * u, "none")
"""The surrogate for `surrogate_disable=True`: no gradient."""
