"""SpikingJelly's surrogate functions by name. What they mean is said in `ranvier.surrogate` and `ranvier.primitive`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ranvier import primitive
from ranvier import surrogate as core
from ranvier.words import sloped, spike


class SurrogateFunctionBase(nn.Module):
    """A step in the forward pass (1 where x >= 0), a slope in the backward pass; with spiking=False, the primitive."""

    slope: Callable[..., core.Surrogate]
    primitive: Callable[..., Tensor] | None = None

    def __init__(self, spiking: bool = True, **numbers: float):
        super().__init__()
        self.spiking, self.numbers = spiking, numbers
        for name, value in numbers.items():
            setattr(self, name, value)

    @property
    def core(self) -> core.Surrogate:
        """The core's surrogate."""
        return type(self).slope(**self.numbers)

    def set_spiking_mode(self, spiking: bool) -> None:
        self.spiking = spiking

    def forward(self, x: Tensor) -> Tensor:
        if not self.spiking:
            return self.primitive_function(x)
        with sloped(self.core, x.dtype):
            return spike(x)

    def primitive_function(self, x: Tensor) -> Tensor:
        """The function whose derivative is the slope."""
        if type(self).primitive is None:
            raise NotImplementedError(f"{type(self).__name__} has no primitive; use it with spiking=True")
        return type(self).primitive(x, **self.numbers)  # type: ignore[misc]

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v}" for k, v in {**self.numbers, "spiking": self.spiking}.items())


class _Alpha(SurrogateFunctionBase):
    alpha: float


class PiecewiseQuadratic(_Alpha):
    slope, primitive = staticmethod(core.piecewise_quadratic), staticmethod(primitive.piecewise_quadratic)

    def __init__(self, alpha: float = 1.0, spiking: bool = True):
        super().__init__(spiking, alpha=alpha)
