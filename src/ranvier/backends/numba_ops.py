"""The ops of a rule for Numba, and functions that access rows of arrays. They are compiled once for all rules.

The text of this file is loaded once for each precision, with `real` set to it (see `numba_backend.py`).
"""

import math
import operator

import numpy as np
from llvmlite import ir
from numba.core import errors, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from ranvier.backends.numba_cache import kept

real = np.float32
op = kept(forceinline=True)
kernel = kept()


# ---------------------------------------------------------------- the ops
const, div, absolute, floor, nearest = real, operator.truediv, abs, np.floor, np.rint


@op
def spike(u):
    return real(1) if u >= real(0) else real(0)


@op
def spike_strict(u):
    return real(1) if u > real(0) else real(0)


@op
def same(a):
    return a


@op
def inject(model, measured):
    return measured


@op
def where(condition, a, b):
    return a if condition else b


@op
def negate(condition):
    return not condition


if real is np.float32:

    @op
    def exp(a):
        # e^a = 2 2^(n - 1) e^r with |r| <= ln2 / 2, where a polynomial approximates e^r. This code vectorises; a call
        # to libm does not. Relative error below 1e-7; results below 2.4e-38 are 0.
        n = np.floor(a * real(1.44269504) + real(0.5))
        r = (a - n * real(0.693359375)) - n * real(-2.12194440e-4)
        p = real(1.9875691500e-4)
        p = p * r + real(1.3981999507e-3)
        p = p * r + real(8.3334519073e-3)
        p = p * r + real(4.1665795894e-2)
        p = p * r + real(1.6666665459e-1)
        p = p * r + real(5.0000001201e-1)
        p = p * r * r + r + real(1)
        half = np.int32((np.int32(n) + np.int32(126)) << np.int32(23)).view(np.float32)
        y = p * half * real(2)
        y = real(0) if a < real(-86.6) else y
        return real(np.inf) if a > real(88.722) else y

    @op
    def tanh(a):
        s = a * a
        near = a * (real(1) + s * (real(-1 / 3) + s * (real(2 / 15) + s * (real(-17 / 315) + s * real(62 / 2835)))))
        far = real(1) - real(2) / (exp(real(2) * a) + real(1))
        return near if abs(a) < real(0.3) else far
else:

    @op
    def exp(a):
        return math.exp(a)

    @op
    def tanh(a):
        return math.tanh(a)


@op
def log(a):
    return real(math.log(a))


@op
def sqrt(a):
    return real(math.sqrt(a))


@op
def sigmoid(a):
    return real(1) / (real(1) + exp(-a))


@op
def softplus(a):
    return max(a, real(0)) + real(math.log1p(exp(-abs(a))))


@op
def sign(a):
    return real(a > 0) - real(a < 0)


@op
def minimum(a, b):
    return a if a < b or a != a else b  # a != a: NaN stays NaN


@op
def maximum(a, b):
    return a if a > b or a != a else b


@op
def clamp(a, low, high):
    return minimum(maximum(a, low), high)


# ---------------------------------------------------------------- rows and tiles: C-contiguous, with two axes
@intrinsic
def row(typing, array, k, lo, hi):
    """Return array[k, lo:hi] without checking bounds; this compiles faster than a slice in Numba.

    An empty line of assembly hides the start of the row from LLVM. Otherwise LLVM would test before the loop over all
    steps whether rows overlap. The rows of consecutive states do overlap, so LLVM would choose the loop that is not
    vectorised.
    """
    if not isinstance(array, types.Array) or (array.ndim, array.layout) != (2, "C"):
        raise errors.TypingError(f"a row of a C-contiguous array with two axes was wanted, got one of {array}")
    part = types.Array(array.dtype, 1, "C", readonly=not array.mutable)

    def code(context, build, signature, given):
        whole, k, lo, hi = make_array(array)(context, build, given[0]), *given[1:]
        at = build.add(build.mul(k, build.extract_value(whole.shape, 1)), lo)
        at = build.asm(ir.FunctionType(at.type, [at.type]), "", "=r,0", [at], side_effect=False)
        out, size = make_array(part)(context, build), whole.itemsize
        data = build.gep(whole.data, [at])
        populate_array(out, data=data, shape=[build.sub(hi, lo)], strides=[size], itemsize=size, meminfo=None)
        return out._getvalue()

    return part(array, types.intp, types.intp, types.intp), code


@kernel
def read(tile, whole, lo, hi):
    """Copy whole [S, lo:hi] to tile [S, W]."""
    for k in range(whole.shape[0]):
        for n in range(hi - lo):
            tile[k, n] = whole[k, lo + n]


@kernel
def write(whole, tile, lo, hi):
    """Copy tile [S, W] to whole [S, lo:hi]."""
    for k in range(whole.shape[0]):
        for n in range(hi - lo):
            whole[k, lo + n] = tile[k, n]
