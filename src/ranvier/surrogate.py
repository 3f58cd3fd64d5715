"""Slopes of the spike: what stands for the derivative of a step, which has none.

Each function here takes the shape parameters and gives back a `Surrogate`: call it on the distance to threshold
u = v - threshold and it answers with the slope g(u). A slope is written in the words of a rule, so it is part of the
derived backward pass of every machine.

    >>> import torch, ranvier
    >>> g = ranvier.surrogate.superspike(10.0)
    >>> g(torch.tensor([0.0, 0.1]))
    tensor([1.0000, 0.2500])
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ranvier import words as w


@dataclass(frozen=True)
class Surrogate:
    """A slope g(u) with the name and numbers it was made from."""

    name: str
    numbers: tuple[tuple[str, float], ...]
    slope: Callable[[Any], Any]

    def __call__(self, u: Any) -> Any:
        return self.slope(u)

    def __reduce__(self) -> Any:  # a slope is a closure; what it was made from can be pickled
        if self.name in SURROGATES:
            return SURROGATES[self.name], tuple(v for _, v in self.numbers)
        return custom, (self.slope, self.name)

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{k}={v:g}' for k, v in self.numbers)})"


def _surrogate(name: str, slope: Callable[[Any], Any], **numbers: float) -> Surrogate:
    for k, v in numbers.items():
        if not (isinstance(v, (int, float)) and math.isfinite(v)):
            raise ValueError(f"surrogate.{name}: {k} must be a finite number, got {v!r}")
    return Surrogate(name, tuple(numbers.items()), slope)


def _positive(name: str, **numbers: float) -> None:
    for k, v in numbers.items():
        if not v > 0:
            raise ValueError(f"surrogate.{name}: {k} must be above 0, got {v!r}")


def superspike(k: float = 25.0) -> Surrogate:
    """g(u) = 1 / (1 + k |u|)^2. Zenke & Ganguli, SuperSpike, Neural Computation 30, 2018."""
    _positive("superspike", k=k)

    def slope(u: Any) -> Any:
        d = 1.0 + k * w.abs(u)
        return 1.0 / (d * d)

    return _surrogate("superspike", slope, k=k)


def atan(alpha: float = 2.0) -> Surrogate:
    """g(u) = (alpha / 2) / (1 + (pi alpha u / 2)^2), as SpikingJelly scales it. Fang et al., ICCV 2021."""
    _positive("atan", alpha=alpha)

    def slope(u: Any) -> Any:
        d = (math.pi * alpha / 2) * u
        return (alpha / 2) / (1.0 + d * d)

    return _surrogate("atan", slope, alpha=alpha)


def arctan(k: float = 2.0) -> Surrogate:
    """g(u) = 1 / (pi (1 + (pi k u)^2)), as Spyx scales it; its peak is 1/pi."""
    _positive("arctan", k=k)

    def slope(u: Any) -> Any:
        d = (math.pi * k) * u
        return (1 / math.pi) / (1.0 + d * d)

    return _surrogate("arctan", slope, k=k)


def boxcar(width: float = 2.0, height: float = 0.5) -> Surrogate:
    """g(u) = height where |u| < width / 2, else 0. Kaiser, Mostafa & Neftci (DECOLLE), Frontiers 2020."""
    _positive("boxcar", width=width)
    return _surrogate("boxcar", lambda u: w.where(w.abs(u) < width / 2, height, 0.0 * u), width=width, height=height)


def triangular(k: float = 2.0) -> Surrogate:
    """g(u) = max(0, 1 - |k u|). Bellec et al., Long short-term memory in networks of spiking neurons, 2018."""
    _positive("triangular", k=k)
    return _surrogate("triangular", lambda u: w.maximum(1.0 - k * w.abs(u), 0.0), k=k)


def tanh(k: float = 1.0) -> Surrogate:
    """g(u) = 1 - tanh(k u)^2, peak 1 whatever k, as Spyx has it."""
    _positive("tanh", k=k)

    def slope(u: Any) -> Any:
        y = w.tanh(k * u)
        return 1.0 - y * y

    return _surrogate("tanh", slope, k=k)


def sigmoid(alpha: float = 4.0) -> Surrogate:
    """g(u) = alpha s (1 - s) with s = sigmoid(alpha u). Neftci, Mostafa & Zenke, IEEE SPM 36, 2019."""
    _positive("sigmoid", alpha=alpha)

    def slope(u: Any) -> Any:
        s = w.sigmoid(alpha * u)
        return alpha * s * (1.0 - s)

    return _surrogate("sigmoid", slope, alpha=alpha)


def erf(alpha: float = 2.0) -> Surrogate:
    """g(u) = alpha / sqrt(pi) exp(-(alpha u)^2). Yin, Corradi & Bohte, ICONS 2020; Esser et al., PNAS 2016."""
    _positive("erf", alpha=alpha)

    def slope(u: Any) -> Any:
        d = alpha * u
        return (alpha / math.sqrt(math.pi)) * w.exp(-(d * d))

    return _surrogate("erf", slope, alpha=alpha)


def piecewise_quadratic(alpha: float = 1.0) -> Surrogate:
    """g(u) = max(0, alpha - alpha^2 |u|). Esser et al., PNAS 113, 2016; Bellec et al. 2018."""
    _positive("piecewise_quadratic", alpha=alpha)
    return _surrogate("piecewise_quadratic", lambda u: w.maximum(alpha - alpha**2 * w.abs(u), 0.0), alpha=alpha)


def piecewise_exp(alpha: float = 1.0) -> Surrogate:
    """g(u) = (alpha / 2) exp(-alpha |u|). Neftci, Mostafa & Zenke 2019; Shrestha & Orchard (SLAYER), 2018."""
    _positive("piecewise_exp", alpha=alpha)
    return _surrogate("piecewise_exp", lambda u: (alpha / 2) * w.exp(-alpha * w.abs(u)), alpha=alpha)


def soft_sign(alpha: float = 2.0) -> Surrogate:
    """g(u) = alpha / (2 (1 + |alpha u|)^2), the slope of the soft sign; as in SpikingJelly."""
    _positive("soft_sign", alpha=alpha)

    def slope(u: Any) -> Any:
        d = 1.0 + alpha * w.abs(u)
        return (alpha / 2) / (d * d)

    return _surrogate("soft_sign", slope, alpha=alpha)


def leaky_relu(below: float = 0.01, above: float = 1.0) -> Surrogate:
    """g(u) = above where u >= 0, below elsewhere: the slope of a leaky ReLU."""
    return _surrogate("leaky_relu", lambda u: w.where(u >= 0, above, below + 0.0 * u), below=below, above=above)


def straight_through() -> Surrogate:
    """g(u) = 1. Bengio, Léonard & Courville, Estimating or propagating gradients, arXiv:1308.3432."""
    return _surrogate("straight_through", lambda u: 1.0 + 0.0 * u)


def multi_gaussian(h: float = 0.15, s: float = 6.0, sigma: float = 0.5, scale: float = 0.5) -> Surrogate:
    """Three Gaussians, the outer two negative. Yin, Corradi & Bohte, Nature Machine Intelligence 3, 2021.

    g(u) = scale ((1 + h) N(u; 0, sigma) - h N(u; sigma, s sigma) - h N(u; -sigma, s sigma)),
    where N(u; m, d) is the normal density with mean m and deviation d.
    """
    _positive("multi_gaussian", s=s, sigma=sigma)

    def normal(u: Any, mean: float, deviation: float) -> Any:
        d = (u - mean) / deviation
        return (1 / (deviation * math.sqrt(2 * math.pi))) * w.exp(-0.5 * (d * d))

    def slope(u: Any) -> Any:
        outer = normal(u, sigma, s * sigma) + normal(u, -sigma, s * sigma)
        return scale * ((1 + h) * normal(u, 0.0, sigma) - h * outer)

    return _surrogate("multi_gaussian", slope, h=h, s=s, sigma=sigma, scale=scale)


def custom(slope: Callable[[Any], Any], name: str = "custom") -> Surrogate:
    """Your own slope: a function of u, written in `ranvier.words`.

    >>> from ranvier import surrogate, words
    >>> surrogate.custom(lambda u: words.exp(-words.abs(u)))
    custom()
    """
    if not callable(slope):
        raise TypeError(f"surrogate.custom: slope must be a function of u written in ranvier.words, got {slope!r}")
    return Surrogate(name, (), slope)


SURROGATES: dict[str, Callable[..., Surrogate]] = {
    f.__name__: f
    for f in (
        superspike,
        atan,
        arctan,
        boxcar,
        triangular,
        tanh,
        sigmoid,
        erf,
        piecewise_quadratic,
        piecewise_exp,
        soft_sign,
        leaky_relu,
        straight_through,
        multi_gaussian,
    )
}
