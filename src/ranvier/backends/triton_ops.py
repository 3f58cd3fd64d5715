"""The ops of a rule for Triton.

On a GPU each op computes what torch computes there: libdevice's function, or the correctly rounded instruction.
Triton's own exp, log and division are approximate, and could move a spike to another step. Triton's interpreter has no
libdevice, so it uses other functions.
"""

import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice

from ranvier.ops import EAGER

REAL = tl.constexpr(tl.float32)  # the dtype of states and of all arithmetic
INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)


def by_torch(name):
    """Return torch's version of an op for Triton's interpreter, which stores its numbers in NumPy arrays."""

    def function(*arguments):
        from triton.runtime.interpreter import TensorHandle

        given, like = [torch.from_numpy(a.handle.data) for a in arguments], arguments[0]
        return tl.tensor(TensorHandle(EAGER[name](*given).numpy(), like.handle.dtype), like.type)

    return function


@triton.jit
def const(c: tl.constexpr):
    return tl.full((), c, REAL)  # a plain number could be rounded to float32 first


@triton.jit
def spike(u):
    return (u >= 0).to(u.dtype)


@triton.jit
def spike_strict(u):
    return (u > 0).to(u.dtype)


@triton.jit
def same(a):
    return a


@triton.jit
def inject(model, measured):
    return measured


@triton.jit
def where(condition, a, b):
    return tl.where(condition, a, b)


@triton.jit
def negate(condition):
    return condition == 0


@triton.jit
def div(a, b):
    if REAL == tl.float64:
        return a / b
    else:
        a, b = tl.broadcast(a, b)
        return tl.div_rn(a, b)  # plain division is approximate


@triton.jit
def exp(a):
    if INTERPRETED:
        return tl.exp(a)
    else:
        return libdevice.exp(a)


@triton.jit
def log(a):
    if INTERPRETED:
        return tl.log(a)
    else:
        return libdevice.log(a)


@triton.jit
def log1p(a):
    if INTERPRETED:
        b = 1.0 + a  # b - 1 is a with the rounding error of this sum; the factor a / (b - 1) corrects for it
        return tl.where(b == 1.0, a, tl.log(b) * (a / tl.where(b == 1.0, 1.0, b - 1.0)))
    else:
        return libdevice.log1p(a)


@triton.jit
def sqrt(a):
    if REAL == tl.float64:
        return tl.sqrt(a)
    else:
        return tl.sqrt_rn(a)


@triton.jit
def tanh(a):
    if INTERPRETED:
        e = tl.exp(-2.0 * tl.abs(a))
        far = (1.0 - e) / (1.0 + e)
        s = a * a
        near = a * (1.0 + s * (-1 / 3 + s * (2 / 15 + s * (-17 / 315 + s * (62 / 2835)))))
        low: tl.constexpr = 0.01 if REAL == tl.float64 else 0.3
        return tl.where(tl.abs(a) < low, near, tl.where(a < 0, -far, far))
    else:
        return libdevice.tanh(a)


@triton.jit
def sigmoid(a):
    return div(const(1.0), 1.0 + exp(-a))


@triton.jit
def softplus(a):
    return maximum(a, const(0.0)) + log1p(exp(-tl.abs(a)))


@triton.jit
def absolute(a):
    return tl.abs(a)


@triton.jit
def sign(a):
    return (a > 0).to(a.dtype) - (a < 0).to(a.dtype)


@triton.jit
def floor(a):
    return tl.floor(a)


@triton.jit
def nearest(a):
    # adding and then subtracting 1.5 * 2^(mantissa bits) rounds to the nearest integer, and ties to the even one
    if REAL == tl.float64:
        big: tl.constexpr = 6755399441055744.0
    else:
        big: tl.constexpr = 12582912.0
    return tl.where(tl.abs(a) < big / 3, (a + big) - big, a)


@triton.jit
def minimum(a, b):
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def maximum(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def clamp(a, low, high):
    return minimum(maximum(a, low), high)
