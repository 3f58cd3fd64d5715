"""SpikingJelly's surrogate functions. Their formulas are in `ranvier.surrogate` and `antiderivative.py`.

Each is a module that returns 1 where x >= 0, else 0, and has a surrogate derivative. With spiking=False it returns the
antiderivative of this derivative, a smooth function. Its numbers are attributes, and may be changed. The name in lower
case is the function: `sigmoid.apply(x, alpha)`.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ranvier.compat.rows import bound, signature
from ranvier.compat.spikingjelly.activation_based.antiderivative import ANTIDERIVATIVES
from ranvier.ops import spike, spike_derivative
from ranvier.surrogate import SURROGATES, Surrogate


class SurrogateFunctionBase(nn.Module):
    """Base class: a subclass defines `spiking_function(x, alpha)` and `primitive_function(x, alpha)`, both static."""

    def __init__(self, *given: Any, **numbers: Any):
        super().__init__()
        self.spiking = numbers.pop("spiking", True)
        for value in given:
            if isinstance(value, bool):
                self.spiking = value
            else:
                numbers["alpha"] = value
        self._names = tuple(numbers)
        for name, value in numbers.items():
            setattr(self, name, value)

    @staticmethod
    def spiking_function(x: Tensor, *numbers: Any) -> Tensor:
        raise NotImplementedError("a surrogate function of your own must define spiking_function(x, alpha)")

    @staticmethod
    def primitive_function(x: Tensor, *numbers: Any) -> Tensor:
        raise NotImplementedError("a surrogate function of your own must define primitive_function(x, alpha)")

    def set_spiking_mode(self, spiking: bool) -> None:
        self.spiking = spiking

    def forward(self, x: Tensor) -> Tensor:
        function = self.spiking_function if self.spiking else self.primitive_function
        return function(x, *(getattr(self, k) for k in self._names))

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={getattr(self, k)}" for k in (*self._names, "spiking"))


class MultiArgsSurrogateFunctionBase(SurrogateFunctionBase):
    """Base class of surrogates with several numbers: a subclass defines `forward(x)`."""

    def __init__(self, spiking: bool, *args: Any, **kwargs: Any):
        super().__init__(spiking=spiking)


class Named(SurrogateFunctionBase):
    """A surrogate of `ranvier.surrogate`. takes: {published number: default}. means: {number of `ranvier.surrogate`:
    function that computes it}, if their names differ.
    """

    name: ClassVar[str]
    takes: ClassVar[dict[str, Any]] = {}
    means: ClassVar[dict[str, Callable[[Any], Any]] | None] = None

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "takes" in vars(cls):
            cls.__signature__ = signature({**cls.takes, "spiking": True})

    def __init__(self, *args: Any, **kwargs: Any):
        if kwargs.pop("learnable", False):
            raise ValueError(
                f"{type(self).__name__}: learnable=True is not supported; change the numbers during training instead"
            )
        super().__init__(**bound(type(self), args, kwargs))
        _ = self.core  # raises errors for numbers out of range

    @property
    def numbers(self) -> dict[str, Any]:
        """Return the parameters of the surrogate under the names that `ranvier.surrogate` uses."""
        if self.means is None:
            return {k: getattr(self, k) for k in self.takes}
        return {k: of(self) for k, of in self.means.items()}

    @property
    def core(self) -> Surrogate:
        """The surrogate as a `ranvier.surrogate`."""
        return SURROGATES[self.name](**self.numbers)

    def forward(self, x: Tensor) -> Tensor:
        return _spiking(self.core, x) if self.spiking else _smooth(self.name, x, self.numbers)


def _spiking(derivative: Surrogate, x: Tensor) -> Tensor:
    with spike_derivative(derivative, x.dtype):
        return spike(x)


def _smooth(name: str, x: Tensor, numbers: dict[str, Any]) -> Tensor:
    if name not in ANTIDERIVATIVES:
        raise NotImplementedError(f"{name} has no antiderivative here; use it with spiking=True")
    return ANTIDERIVATIVES[name](x, **numbers)


def fused(function: Any) -> Surrogate | None:
    """Return the surrogate for the kernels, or None if kernels cannot run this function."""
    plain = isinstance(function, Named) and function.spiking and type(function).forward is Named.forward
    return function.core if plain else None


class PiecewiseQuadratic(Named):
    name, takes = "piecewise_quadratic", {"alpha": 1.0}


class PiecewiseExp(Named):
    name, takes = "piecewise_exp", {"alpha": 1.0}


class Sigmoid(Named):
    name, takes = "sigmoid", {"alpha": 4.0}


class SoftSign(Named):
    name, takes = "soft_sign", {"alpha": 2.0}


class SuperSpike(Named):
    name, takes = "scaled_superspike", {"alpha": 1.0}


class ATan(Named):
    name, takes = "atan", {"alpha": 2.0}


class NonzeroSignLogAbs(Named):
    name, takes = "nonzero_sign_log_abs", {"alpha": 1.0}


class Erf(Named):
    name, takes = "erf", {"alpha": 2.0}


class PiecewiseLeakyReLU(Named):
    name, takes = "piecewise_leaky_relu", {"w": 1.0, "c": 0.01}
    means = {"width": lambda s: s.w, "leak": lambda s: s.c}


class SquarewaveFourierSeries(Named):
    name, takes = "fourier", {"n": 2, "T_period": 8.0}
    means = {"terms": lambda s: s.n - 1, "period": lambda s: s.T_period}


class S2NN(Named):
    name, takes = "s2nn", {"alpha": 4.0, "beta": 1.0}


class QPseudoSpike(Named):
    name, takes = "q_pseudo_spike", {"alpha": 2.0}


class LeakyKReLU(Named):
    name, takes = "leaky_relu", {"leak": 0.0, "k": 1.0}
    means = {"below": lambda s: s.leak, "above": lambda s: s.k}


class FakeNumericalGradient(Named):
    name, takes = "fake_numerical_gradient", {"alpha": 0.3}


class LogTailedReLU(Named):
    name, takes = "log_tailed_relu", {"alpha": 0.0}


class Rect(Named):
    name, takes = "boxcar", {"alpha": 1.0}
    means = {"width": lambda s: 1.0 / s.alpha, "height": lambda s: s.alpha}


class DeterministicPass(Named):
    """Return the input unchanged, with derivative 1."""

    name, takes = "straight_through", {}

    def forward(self, x: Tensor) -> Tensor:
        return x


class PoissonPass(Named):
    """Return 1 with probability x, else 0, with derivative 1. With spiking=False, return x."""

    name, takes = "straight_through", {}

    def forward(self, x: Tensor) -> Tensor:
        drawn = torch.bernoulli(x.detach().clamp(0.0, 1.0)) if self.spiking else x.detach()
        return x + (drawn - x).detach()


class MultiLevelSpikeCount(SurrogateFunctionBase):
    """round(x), clamped to [0, max_spike_count], with derivative 1 inside this range and 0 outside; for `ILIFNode`."""

    def __init__(self, max_spike_count: int, spiking: bool = True, grad_window: Any = None):
        if isinstance(max_spike_count, bool) or not isinstance(max_spike_count, int) or max_spike_count < 1:
            raise ValueError(f"MultiLevelSpikeCount: max_spike_count must be at least 1, got {max_spike_count!r}")
        if grad_window not in (None, (0, max_spike_count), [0, max_spike_count]):
            raise ValueError(f"MultiLevelSpikeCount: grad_window must be (0, {max_spike_count}), got {grad_window!r}")
        super().__init__(spiking=spiking, max_spike_count=max_spike_count)

    def forward(self, x: Tensor) -> Tensor:
        inside = x.clamp(0.0, float(self.__dict__["max_spike_count"]))
        return inside + (inside.round() - inside).detach() if self.spiking else inside


def heaviside(x: Tensor) -> Tensor:
    """1 where x >= 0, else 0, in the dtype of x; no gradient."""
    return (x >= 0).to(x.dtype)


class Function:
    """A surrogate as a function: `apply(x, *numbers)` is 1 where x >= 0, else 0, with a surrogate derivative."""

    def __init__(self, module: type[Named]):
        self.module = module

    def apply(self, x: Tensor, *numbers: Any) -> Tensor:
        return self.module(*numbers)(x)

    def __call__(self, x: Tensor, *numbers: Any) -> Tensor:
        raise TypeError(f"call it as surrogate.{_lower(self.module)}.apply(x, ...)")


def _backward(module: type[Named]) -> Callable[..., Tensor]:
    """Return a function such as `atan_backward(grad_output, x, alpha)`: grad_output times the surrogate derivative."""

    def backward(grad_output: Tensor, x: Tensor, *args: Any, **numbers: Any) -> Tensor:
        return grad_output * module(*args, **numbers).core(x)

    backward.__signature__ = signature(dict.fromkeys(("grad_output", "x", *module.takes), ...))  # type: ignore
    return backward


def _lower(module: type[Named]) -> str:
    return FUNCTION_NAMES.get(module.__name__, module.name)


FUNCTION_NAMES = {
    "SuperSpike": "super_spike",
    "SquarewaveFourierSeries": "squarewave_fourier_series",
    "LeakyKReLU": "leaky_k_relu",
    "Rect": "rect",
    "DeterministicPass": "deterministic_pass",
    "PoissonPass": "poisson_pass",
}
FUNCTIONS = {_lower(c): c for c in Named.__subclasses__()}


def __getattr__(name: str) -> Any:
    if name in FUNCTIONS:
        return Function(FUNCTIONS[name])
    if name.removesuffix("_backward") in FUNCTIONS:
        return _backward(FUNCTIONS[name.removesuffix("_backward")])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
