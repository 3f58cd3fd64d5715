"""The ops of a rule: the functions that the equation of a neuron may call.

A rule consists of Python arithmetic, comparisons, and the functions of this file. On tensors an op is a torch
operation. On an object with a method `__op__(name, *arguments)` it calls that method: `ranvier.derive` traces a rule
that way, and generates the code of every backend from the trace.

A new op that can be written with the others is only one function here. Any other op also needs its operation on tensors
(`EAGER`, below) and its derivative (`derive/operations.py`). Kernels use the function of the same name in the math
library of their platform: Python's `math` for Numba and for integers, libdevice for Triton. If that library lacks it or
is slow, add a function in `backends/numba_ops.py` or `triton_ops.py`, or a row in `export/lowered.py`, which is then
used instead. The tests find both kinds of op automatically.

    >>> import torch
    >>> from ranvier.ops import spike
    >>> spike(torch.tensor([-0.1, 0.0, 0.1]))
    tensor([0., 1., 1.])
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "abs", "clamp", "exp", "floor", "inject", "log", "maximum", "minimum", "round", "sigmoid", "sign", "softplus",
    "spike", "sqrt", "stop", "tanh", "where",
]  # fmt: skip

_here = threading.local()  # values set by `spike_derivative` and `gated` in this thread


@contextmanager
def spike_derivative(derivative: Callable[[Tensor], Tensor], dtype: torch.dtype = torch.float32) -> Iterator[None]:
    """Within this block, the derivative of `spike` on tensors is `derivative`, and plain numbers have this dtype."""
    outer = _current()
    _here.now = derivative, dtype
    try:
        yield
    finally:
        _here.now = outer


def _current() -> tuple[Callable[[Tensor], Tensor] | None, torch.dtype]:
    return getattr(_here, "now", (None, torch.float32))


@contextmanager
def gated(gate: Callable[[Any], Any]) -> Iterator[None]:
    """Within this block, every `spike` returns gate(spike). This lets a layer around a neuron silence its spikes."""
    outer = getattr(_here, "gate", None)
    _here.gate = gate
    try:
        yield
    finally:
        _here.gate = outer


class _Spike(torch.autograd.Function):
    """The step function; its derivative is the surrogate that was set when forward ran."""

    generate_vmap_rule = True

    @staticmethod
    def forward(u: Tensor, fires: Tensor, derivative: Callable | None) -> Tensor:
        return fires.to(u.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        u, _, ctx.derivative = inputs
        ctx.save_for_backward(u)
        ctx.save_for_forward(u)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _Spike.jvp(ctx, *grads), None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        if ctx.derivative is None:
            raise RuntimeError(
                "spike: its derivative is not set; call the rule through its neuron, or `with spike_derivative(...)`"
            )
        (u,) = ctx.saved_tensors
        return tangents[0] * ctx.derivative(u)


class _Inject(torch.autograd.Function):
    """Forward returns `measured`; backward passes the gradient to `model`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(model: Tensor, measured: Tensor) -> Tensor:
        return measured.to(model.dtype).clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return tangents[0].clone()


def _tensor_where(condition: Any, a: Any, b: Any) -> Tensor:
    if not isinstance(condition, Tensor) or condition.dtype != torch.bool:
        raise TypeError(f"where: the condition must be a comparison, got {condition!r}; write where(z > 0, a, b)")
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        a = torch.full((), a, dtype=_current()[1], device=condition.device)
    return torch.where(condition, a, b)


def _tensor_pair(function: Callable) -> Callable:
    def paired(a: Any, b: Any) -> Tensor:
        like = a if isinstance(a, Tensor) else b
        return function(*(c if isinstance(c, Tensor) else torch.full_like(like, c) for c in (a, b)))

    return paired


# The operation of each op on tensors.
EAGER: dict[str, Callable] = {
    "spike": lambda u: _Spike.apply(u, u >= 0, _current()[0]),
    "spike_strict": lambda u: _Spike.apply(u, u > 0, _current()[0]),
    "stop": lambda a: a.detach(),
    "inject": _tensor_pair(lambda model, measured: _Inject.apply(*torch.broadcast_tensors(model, measured))),
    "where": _tensor_where,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": lambda a: torch.logaddexp(a, torch.zeros_like(a)),
    "abs": torch.abs,
    "sign": torch.sign,
    "floor": torch.floor,
    "round": torch.round,
    "minimum": _tensor_pair(torch.minimum),
    "maximum": _tensor_pair(torch.maximum),
    "clamp": lambda a, low, high: torch.clamp(a, float(low), float(high)),
}


def apply(op: str, *arguments: Any) -> Any:
    """Run an op by its name. If an argument is a symbol of a traced rule, the symbol records the op; otherwise torch
    computes it.
    """
    for a in arguments:
        if hasattr(a, "__op__"):
            return a.__op__(op, *arguments)
    if not any(isinstance(a, Tensor) for a in arguments):
        shown = ", ".join(map(repr, arguments))
        raise TypeError(f"{op}({shown}): an op needs a value of the rule; for plain numbers use Python's math module")
    return EAGER[op](*arguments)


def spike(u: Any, *, strict: bool = False) -> Any:
    """1 where u >= 0, else 0 (with `strict=True`: 1 where u > 0). Its derivative is the neuron's surrogate."""
    z = apply("spike_strict" if strict else "spike", u)
    gate = getattr(_here, "gate", None)
    return z if gate is None else gate(z)


def stop(a: Any) -> Any:
    """Return the value of a, but no gradient flows back through it."""
    return apply("stop", a)


def inject(model: Any, measured: Any) -> Any:
    """Return `measured` in the forward pass, and pass the gradient to `model` in the backward pass: a value that was
    measured on hardware gets the derivative of its model.
    """
    return apply("inject", model, measured)


def where(condition: Any, a: Any, b: Any) -> Any:
    """a where the condition (a comparison) is true, b elsewhere.

    The branch that is not chosen may be infinite or NaN. Compiled backends pass no gradient to it. The reference
    backend differentiates as torch does: its gradient may then be NaN.
    """
    return apply("where", condition, a, b)


def exp(a: Any) -> Any:
    """e to the power of a."""
    return apply("exp", a)


def log(a: Any) -> Any:
    """Natural logarithm."""
    return apply("log", a)


def sqrt(a: Any) -> Any:
    """Square root."""
    return apply("sqrt", a)


def tanh(a: Any) -> Any:
    """Hyperbolic tangent."""
    return apply("tanh", a)


def sigmoid(a: Any) -> Any:
    """1 / (1 + exp(-a))."""
    return apply("sigmoid", a)


def softplus(a: Any) -> Any:
    """log(1 + exp(a))."""
    return apply("softplus", a)


def abs(a: Any) -> Any:
    """Absolute value; its derivative at 0 is 0."""
    return apply("abs", a)


def sign(a: Any) -> Any:
    """-1, 0 or 1; its derivative is 0."""
    return apply("sign", a)


def floor(a: Any) -> Any:
    """Largest whole number not above a; its derivative is 0."""
    return apply("floor", a)


def round(a: Any) -> Any:
    """Nearest whole number, halves to even; its derivative is 0."""
    return apply("round", a)


def minimum(a: Any, b: Any) -> Any:
    """The smaller of two numbers; if they are equal, each gets half of the gradient."""
    return apply("minimum", a, b)


def maximum(a: Any, b: Any) -> Any:
    """The larger of two numbers; if they are equal, each gets half of the gradient."""
    return apply("maximum", a, b)


def clamp(a: Any, low: float, high: float) -> Any:
    """a, clamped to two plain numbers; the gradient is 1 inside and on the bounds, 0 outside."""
    if hasattr(low, "__op__") or hasattr(high, "__op__"):
        raise TypeError("clamp: the bounds must be plain numbers; write minimum(maximum(a, low), high) instead")
    return apply("clamp", a, low, high)
