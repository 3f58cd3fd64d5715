"""Surrogate derivatives. A spike is a step function: its derivative is zero almost everywhere, so training uses another
function in its place.

Each function here takes a few numbers and returns a `Surrogate`, a function g of u, the distance to threshold: u = v -
threshold. It is written in `ranvier.ops`, so it becomes part of the backward pass of every backend.

    >>> import torch, ranvier
    >>> g = ranvier.surrogate.superspike(10.0)
    >>> g(torch.tensor([0.0, 0.1]))
    tensor([1.0000, 0.2500])
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ranvier import ops


@dataclass(frozen=True)
class Surrogate:
    """A surrogate derivative g(u), with its name and its numbers.

    The arguments of `derivative` are u and the numbers in `varying`. These are run-time values: a neuron may get a
    sharper surrogate every epoch, and is compiled only once. The numbers named in `fixed` (such as the number of terms
    of a series) are part of the compiled code.
    """

    name: str
    numbers: tuple[tuple[str, float], ...]
    derivative: Callable[..., Any]
    fixed: tuple[str, ...] = ()

    @cached_property
    def varying(self) -> dict[str, float]:
        """The numbers that are arguments of `derivative` after u, by name."""
        return {k: v for k, v in self.numbers if k not in self.fixed}

    def __call__(self, u: Any) -> Any:
        return self.derivative(u, *self.varying.values())

    def __reduce__(self) -> Any:  # a closure cannot be pickled: pickle the function that made it, and its numbers
        if isinstance(self.derivative, _Damped):
            return damped, (self.derivative.surrogate, self.numbers[-1][1])
        if self.name in SURROGATES:
            return SURROGATES[self.name], tuple(v for _, v in self.numbers)
        return _again, (self.derivative, self.name, self.numbers)

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{k}={v:g}' for k, v in self.numbers)})"


def _again(derivative: Callable[..., Any], name: str, numbers: tuple) -> Surrogate:
    return custom(derivative, name, **dict(numbers))


def _surrogate(name: str, derivative: Callable[..., Any], fixed: tuple[str, ...] = (), **numbers: float) -> Surrogate:
    for k, v in numbers.items():
        if not (isinstance(v, (int, float)) and math.isfinite(v)):
            raise ValueError(f"surrogate.{name}: {k} must be a finite number, got {v!r}")
    return Surrogate(name, tuple(numbers.items()), derivative, fixed)


def _positive(name: str, **numbers: float) -> None:
    for k, v in numbers.items():
        if not v > 0:
            raise ValueError(f"surrogate.{name}: {k} must be above 0, got {v!r}")


def _everywhere(number: Any, u: Any) -> Any:
    """Return a constant function of u: the number in the shape and precision of u, also where u is infinite."""
    return number + 0.0 * ops.sign(u)


def superspike(k: float = 25.0) -> Surrogate:
    """g(u) = 1 / (1 + k |u|)^2. Zenke & Ganguli, SuperSpike, Neural Computation 30, 2018."""
    _positive("superspike", k=k)

    def derivative(u: Any, k: Any) -> Any:
        d = 1.0 + k * ops.abs(u)
        return 1.0 / (d * d)

    return _surrogate("superspike", derivative, k=k)


def atan(alpha: float = 2.0) -> Surrogate:
    """g(u) = (alpha / 2) / (1 + (pi alpha u / 2)^2), with the scale of SpikingJelly. Fang et al., ICCV 2021."""
    _positive("atan", alpha=alpha)

    def derivative(u: Any, alpha: Any) -> Any:
        d = (math.pi * alpha / 2) * u
        return (alpha / 2) / (1.0 + d * d)

    return _surrogate("atan", derivative, alpha=alpha)


def arctan(k: float = 2.0) -> Surrogate:
    """g(u) = 1 / (pi (1 + (pi k u)^2)), with the scale of Spyx; its peak is 1/pi."""
    _positive("arctan", k=k)

    def derivative(u: Any, k: Any) -> Any:
        d = (math.pi * k) * u
        return (1 / math.pi) / (1.0 + d * d)

    return _surrogate("arctan", derivative, k=k)


def boxcar(width: float = 2.0, height: float = 0.5) -> Surrogate:
    """g(u) = height where |u| < width / 2, else 0. Kaiser, Mostafa & Neftci (DECOLLE), Frontiers 2020."""
    _positive("boxcar", width=width)
    return _surrogate(
        "boxcar",
        lambda u, width, height: ops.where(ops.abs(u) < width / 2, height, _everywhere(0.0, u)),
        width=width,
        height=height,
    )


def triangular(k: float = 2.0) -> Surrogate:
    """g(u) = max(0, 1 - |k u|). Bellec et al., Long short-term memory in networks of spiking neurons, 2018."""
    _positive("triangular", k=k)
    return _surrogate("triangular", lambda u, k: ops.maximum(1.0 - k * ops.abs(u), 0.0), k=k)


def tanh(k: float = 1.0) -> Surrogate:
    """g(u) = 1 - tanh(k u)^2, as in Spyx; its peak is 1 for every k."""
    _positive("tanh", k=k)

    def derivative(u: Any, k: Any) -> Any:
        y = ops.tanh(k * u)
        return 1.0 - y * y

    return _surrogate("tanh", derivative, k=k)


def sigmoid(alpha: float = 4.0) -> Surrogate:
    """g(u) = alpha s (1 - s) with s = sigmoid(alpha u). Neftci, Mostafa & Zenke, IEEE SPM 36, 2019."""
    _positive("sigmoid", alpha=alpha)

    def derivative(u: Any, alpha: Any) -> Any:
        s = ops.sigmoid(alpha * u)
        return alpha * s * (1.0 - s)

    return _surrogate("sigmoid", derivative, alpha=alpha)


def erf(alpha: float = 2.0) -> Surrogate:
    """g(u) = alpha / sqrt(pi) exp(-(alpha u)^2). Yin, Corradi & Bohte, ICONS 2020; Esser et al., PNAS 2016."""
    _positive("erf", alpha=alpha)

    def derivative(u: Any, alpha: Any) -> Any:
        d = alpha * u
        return (alpha / math.sqrt(math.pi)) * ops.exp(-(d * d))

    return _surrogate("erf", derivative, alpha=alpha)


def piecewise_quadratic(alpha: float = 1.0) -> Surrogate:
    """g(u) = max(0, alpha - alpha^2 |u|). Esser et al., PNAS 113, 2016; Bellec et al. 2018."""
    _positive("piecewise_quadratic", alpha=alpha)
    return _surrogate(
        "piecewise_quadratic", lambda u, alpha: ops.maximum(alpha - alpha**2 * ops.abs(u), 0.0), alpha=alpha
    )


def piecewise_exp(alpha: float = 1.0) -> Surrogate:
    """g(u) = (alpha / 2) exp(-alpha |u|). Neftci, Mostafa & Zenke 2019; Shrestha & Orchard (SLAYER), 2018."""
    _positive("piecewise_exp", alpha=alpha)
    return _surrogate("piecewise_exp", lambda u, alpha: (alpha / 2) * ops.exp(-alpha * ops.abs(u)), alpha=alpha)


def soft_sign(alpha: float = 2.0) -> Surrogate:
    """g(u) = alpha / (2 (1 + |alpha u|)^2), the derivative of the soft sign; as in SpikingJelly."""
    _positive("soft_sign", alpha=alpha)

    def derivative(u: Any, alpha: Any) -> Any:
        d = 1.0 + alpha * ops.abs(u)
        return (alpha / 2) / (d * d)

    return _surrogate("soft_sign", derivative, alpha=alpha)


def leaky_relu(below: float = 0.01, above: float = 1.0) -> Surrogate:
    """g(u) = above where u >= 0, below elsewhere: the derivative of a leaky ReLU."""
    return _surrogate(
        "leaky_relu", lambda u, below, above: ops.where(u >= 0, above, _everywhere(below, u)), below=below, above=above
    )


def straight_through() -> Surrogate:
    """g(u) = 1. Bengio, Léonard & Courville, Estimating or propagating gradients, arXiv:1308.3432."""
    return _surrogate("straight_through", lambda u: _everywhere(1.0, u))


def multi_gaussian(h: float = 0.15, s: float = 6.0, sigma: float = 0.5, scale: float = 0.5) -> Surrogate:
    """Three Gaussians, the outer two negative. Yin, Corradi & Bohte, Nature Machine Intelligence 3, 2021.

    g(u) = scale ((1 + h) N(u; 0, sigma) - h N(u; sigma, s sigma) - h N(u; -sigma, s sigma)),
    where N(u; m, d) is the normal density with mean m and standard deviation d.
    """
    _positive("multi_gaussian", s=s, sigma=sigma)

    def normal(u: Any, mean: Any, deviation: Any) -> Any:
        d = (u - mean) / deviation
        return (1 / (deviation * math.sqrt(2 * math.pi))) * ops.exp(-0.5 * (d * d))

    def derivative(u: Any, h: Any, s: Any, sigma: Any, scale: Any) -> Any:
        outer = normal(u, sigma, s * sigma) + normal(u, -sigma, s * sigma)
        return scale * ((1 + h) * normal(u, 0.0, sigma) - h * outer)

    return _surrogate("multi_gaussian", derivative, h=h, s=s, sigma=sigma, scale=scale)


def nonzero_sign_log_abs(alpha: float = 1.0) -> Surrogate:
    """g(u) = 1 / (1 / alpha + |u|), as in SpikingJelly."""
    _positive("nonzero_sign_log_abs", alpha=alpha)
    return _surrogate("nonzero_sign_log_abs", lambda u, alpha: 1.0 / (1.0 / alpha + ops.abs(u)), alpha=alpha)


def piecewise_leaky_relu(width: float = 1.0, leak: float = 0.01) -> Surrogate:
    """g(u) = 1 / (2 width) where |u| < width, else leak. Yin, Corradi & Bohte 2020; Zenke & Vogels 2021 compare it."""
    _positive("piecewise_leaky_relu", width=width)
    return _surrogate(
        "piecewise_leaky_relu",
        lambda u, width, leak: ops.where(ops.abs(u) < width, 1.0 / (2.0 * width), _everywhere(leak, u)),
        width=width,
        leak=leak,
    )


def fourier(terms: int = 1, period: float = 8.0) -> Surrogate:
    """g(u) = 4 / period times the sum of cos((2 i - 1) 2 pi u / period) over i = 1, ..., terms.

    u is first reduced to one period. The first cosine is computed by its series, and the others follow from it by
    Chebyshev's recurrence.
    """
    _positive("fourier", terms=terms, period=period)

    def derivative(u: Any, period: Any) -> Any:
        turns = u / period
        turns = turns - ops.round(turns)  # in [-1/2, 1/2]
        cosine = _cosine(turns)
        double = 2.0 * (2.0 * cosine * cosine - 1.0)  # 2 cos(2 a), the factor in the recurrence over odd multiples of a
        before, now = cosine, cosine
        total = cosine
        for _ in range(int(terms) - 1):
            before, now = now, double * now - before
            total = total + now
        return (4.0 / period) * total

    return _surrogate("fourier", derivative, ("terms",), terms=terms, period=period)


def _cosine(turns: Any) -> Any:
    """cos(2 pi t) = 1 - 2 sin(pi t)^2 for |t| <= 1/2. Seven terms of the series of the sine are enough up to pi / 2."""
    a = math.pi * turns
    square = a * a
    sine = 1.0
    for k in (12, 10, 8, 6, 4, 2):
        sine = 1.0 - square * sine * (1.0 / (k * (k + 1)))
    sine = a * sine
    return 1.0 - 2.0 * (sine * sine)


def s2nn(alpha: float = 4.0, beta: float = 1.0) -> Surrogate:
    """g(u) = alpha s (1 - s) for u < 0, with s = sigmoid(alpha u), and beta / (u + 1) for u >= 0.

    Suetake et al., S2NN, 2022.
    """
    _positive("s2nn", alpha=alpha)

    def derivative(u: Any, alpha: Any, beta: Any) -> Any:
        s = ops.sigmoid(alpha * u)
        return ops.where(u < 0, alpha * s * (1.0 - s), beta / (ops.abs(u) + 1.0))

    return _surrogate("s2nn", derivative, alpha=alpha, beta=beta)


def q_pseudo_spike(alpha: float = 2.0) -> Surrogate:
    """g(u) = (1 + 2 |u| / (alpha - 1))^-alpha, alpha above 1. Herranz-Celotti & Rouat, 2022."""
    _positive("q_pseudo_spike", alpha=alpha - 1.0)
    return _surrogate(
        "q_pseudo_spike",
        lambda u, alpha: ops.exp(-alpha * ops.log(1.0 + (2.0 / (alpha - 1.0)) * ops.abs(u))),
        alpha=alpha,
    )


def fake_numerical_gradient(alpha: float = 0.3) -> Surrogate:
    """g(u) = min(1 / |u|, alpha), as in SpikingJelly."""
    _positive("fake_numerical_gradient", alpha=alpha)
    return _surrogate(
        "fake_numerical_gradient", lambda u, alpha: 1.0 / ops.maximum(ops.abs(u), 1.0 / alpha), alpha=alpha
    )


def log_tailed_relu(alpha: float = 0.0) -> Surrogate:
    """g(u) = alpha for u <= 0, 1 for 0 < u <= 1, and 1 / u for u > 1.

    Cai et al., Deep learning with low precision, CVPR 2017.
    """
    return _surrogate(
        "log_tailed_relu",
        lambda u, alpha: ops.where(u <= 0, _everywhere(alpha, u), 1.0 / ops.maximum(u, 1.0)),
        alpha=alpha,
    )


def scaled_superspike(alpha: float = 1.0) -> Surrogate:
    """g(u) = alpha / (1 + |u|)^2, which SpikingJelly calls SuperSpike: alpha is the height, not the sharpness."""
    _positive("scaled_superspike", alpha=alpha)

    def derivative(u: Any, alpha: Any) -> Any:
        d = 1.0 + ops.abs(u)
        return alpha / (d * d)

    return _surrogate("scaled_superspike", derivative, alpha=alpha)


def custom(derivative: Callable[..., Any], name: str = "custom", **numbers: float) -> Surrogate:
    """Your own surrogate derivative: a function of u, written in `ranvier.ops`. The values of `numbers` are passed to
    it by position, after u. They are run-time values: a new number does not cause a new compilation.

    >>> from ranvier import surrogate, ops
    >>> surrogate.custom(lambda u: ops.exp(-ops.abs(u)))
    custom()
    >>> surrogate.custom(lambda u, k: ops.exp(-k * ops.abs(u)), k=3.0)
    custom(k=3)
    """
    if not callable(derivative):
        raise TypeError(
            f"surrogate.custom: derivative must be a function of u written in ranvier.ops, got {derivative!r}"
        )
    return _surrogate(name, derivative, (), **numbers)


@dataclass(frozen=True)
class _Damped:
    """The derivative of a surrogate times the damping, which is its last argument."""

    surrogate: Surrogate

    def __call__(self, u: Any, *numbers: Any) -> Any:
        *own, damping = numbers
        return damping * self.surrogate.derivative(u, *own)


def damped(surrogate: Surrogate, damping: float = 0.3) -> Surrogate:
    """damping g(u): a surrogate times a number. A number below 1 reduces gradients that pass through many spikes, as in
    recurrent layers over long sequences. Bellec et al., Long short-term memory in networks of spiking neurons, 2018,
    use 0.3.

    >>> import torch, ranvier
    >>> g = ranvier.surrogate.damped(ranvier.surrogate.triangular(1.0), 0.3)
    >>> g, g(torch.tensor([0.0, 0.5]))
    (damped_triangular(k=1, damping=0.3), tensor([0.3000, 0.1500]))
    """
    if not isinstance(surrogate, Surrogate):
        raise TypeError(f"surrogate.damped: wanted a surrogate, such as surrogate.atan(2.0), got {surrogate!r}")
    if isinstance(surrogate.derivative, _Damped):
        raise ValueError(f"surrogate.damped: {surrogate!r} is damped already; pass a surrogate that is not damped")
    if isinstance(damping, bool) or not isinstance(damping, (int, float)) or not 0 < damping < math.inf:
        raise ValueError(f"surrogate.damped: damping must be a finite number above 0, got {damping!r}")
    numbers = (*surrogate.numbers, ("damping", damping))
    return Surrogate(f"damped_{surrogate.name}", numbers, _Damped(surrogate), surrogate.fixed)


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
        nonzero_sign_log_abs,
        piecewise_leaky_relu,
        fourier,
        s2nn,
        q_pseudo_spike,
        fake_numerical_gradient,
        log_tailed_relu,
        scaled_superspike,
    )
}
