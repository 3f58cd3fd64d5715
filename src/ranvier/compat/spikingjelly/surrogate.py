"""SpikingJelly's surrogate functions by name. What they mean is said in `ranvier.surrogate` and `ranvier.primitive`.

Each is a module: 1 where x >= 0 forward, its slope backward; with spiking=False the primitive, whose slope it is.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ranvier.ops import sloped, spike
from ranvier.primitive import PRIMITIVES
from ranvier.surrogate import SURROGATES, Surrogate


class SurrogateFunctionBase(nn.Module):
    """A surrogate by the name and the numbers it has in the core."""

    name: str

    def __init__(self, spiking: bool = True, **numbers: float):
        super().__init__()
        self.spiking, self.numbers = spiking, numbers

    @property
    def core(self) -> Surrogate:
        """The core's surrogate."""
        return SURROGATES[self.name](**self.numbers)

    def set_spiking_mode(self, spiking: bool) -> None:
        self.spiking = spiking

    def primitive_function(self, x: Tensor) -> Tensor:
        if self.name not in PRIMITIVES:
            raise NotImplementedError(f"{type(self).__name__} has no primitive; use it with spiking=True")
        return PRIMITIVES[self.name](x, **self.numbers)

    def forward(self, x: Tensor) -> Tensor:
        if not self.spiking:
            return self.primitive_function(x)
        with sloped(self.core, x.dtype):
            return spike(x)

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v}" for k, v in {**self.numbers, "spiking": self.spiking}.items())


class _Alpha(SurrogateFunctionBase):
    """A surrogate of one number."""

    def __init__(self, alpha: float = 1.0, spiking: bool = True):
        super().__init__(spiking, alpha=alpha)
        self.alpha = alpha


class PiecewiseQuadratic(_Alpha):
    name = "piecewise_quadratic"


class PiecewiseExp(_Alpha):
    name = "piecewise_exp"


class Sigmoid(_Alpha):
    name = "sigmoid"

    def __init__(self, alpha: float = 4.0, spiking: bool = True):
        super().__init__(alpha, spiking)


class SoftSign(_Alpha):
    name = "soft_sign"

    def __init__(self, alpha: float = 2.0, spiking: bool = True):
        super().__init__(alpha, spiking)


class SuperSpike(_Alpha):
    name = "scaled_superspike"


class ATan(_Alpha):
    name = "atan"

    def __init__(self, alpha: float = 2.0, spiking: bool = True):
        super().__init__(alpha, spiking)


class NonzeroSignLogAbs(_Alpha):
    name = "nonzero_sign_log_abs"


class Erf(_Alpha):
    name = "erf"

    def __init__(self, alpha: float = 2.0, spiking: bool = True):
        super().__init__(alpha, spiking)


class PiecewiseLeakyReLU(SurrogateFunctionBase):
    name = "piecewise_leaky_relu"

    def __init__(self, w: float = 1.0, c: float = 0.01, spiking: bool = True):
        super().__init__(spiking, width=w, leak=c)
        self.w, self.c = w, c


class SquarewaveFourierSeries(SurrogateFunctionBase):
    name = "fourier"

    def __init__(self, n: int = 2, T_period: float = 8.0, spiking: bool = True):
        super().__init__(spiking, terms=n - 1, period=T_period)
        self.n, self.T_period = n, T_period


class S2NN(SurrogateFunctionBase):
    name = "s2nn"

    def __init__(self, alpha: float = 4.0, beta: float = 1.0, spiking: bool = True):
        super().__init__(spiking, alpha=alpha, beta=beta)
        self.alpha, self.beta = alpha, beta


class QPseudoSpike(_Alpha):
    name = "q_pseudo_spike"

    def __init__(self, alpha: float = 2.0, spiking: bool = True):
        super().__init__(alpha, spiking)


class LeakyKReLU(SurrogateFunctionBase):
    name = "leaky_relu"

    def __init__(self, leak: float = 0.0, k: float = 1.0, spiking: bool = True):
        super().__init__(spiking, below=leak, above=k)
        self.leak, self.k = leak, k


class FakeNumericalGradient(_Alpha):
    name = "fake_numerical_gradient"

    def __init__(self, alpha: float = 0.3):
        super().__init__(alpha)


class LogTailedReLU(_Alpha):
    name = "log_tailed_relu"

    def __init__(self, alpha: float = 0.0, spiking: bool = True):
        super().__init__(alpha, spiking)


class Rect(SurrogateFunctionBase):
    name = "boxcar"

    def __init__(self, alpha: float = 1.0, spiking: bool = True):
        super().__init__(spiking, width=1.0 / alpha, height=alpha)
        self.alpha = alpha


class DeterministicPass(SurrogateFunctionBase):
    """The input itself, with slope 1."""

    name = "straight_through"

    def __init__(self, spiking: bool = True):
        super().__init__(spiking)

    def forward(self, x: Tensor) -> Tensor:
        return x


class PoissonPass(SurrogateFunctionBase):
    """1 with probability x, with slope 1; with spiking=False x itself."""

    name = "straight_through"

    def __init__(self, spiking: bool = True):
        super().__init__(spiking)

    def forward(self, x: Tensor) -> Tensor:
        drawn = torch.bernoulli(x.detach().clamp(0.0, 1.0)) if self.spiking else x.detach()
        return x + (drawn - x).detach()


class MultiLevelSpikeCount(SurrogateFunctionBase):
    """round(x) held between 0 and max_spike_count, with slope 1 there and 0 outside; for `ILIFNode`."""

    name = "straight_through"

    def __init__(self, max_spike_count: int, spiking: bool = True, grad_window: Any = None):
        super().__init__(spiking)
        if isinstance(max_spike_count, bool) or not isinstance(max_spike_count, int) or max_spike_count < 1:
            raise ValueError(f"MultiLevelSpikeCount: max_spike_count must be at least 1, got {max_spike_count!r}")
        if grad_window not in (None, (0, max_spike_count), [0, max_spike_count]):
            raise ValueError(f"MultiLevelSpikeCount: grad_window must be (0, {max_spike_count}), got {grad_window!r}")
        self.max_spike_count = max_spike_count

    def forward(self, x: Tensor) -> Tensor:
        inside = x.clamp(0.0, float(self.max_spike_count))
        return inside + (inside.round() - inside).detach() if self.spiking else inside
