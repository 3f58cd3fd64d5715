"""The functions from which one compiled step of a whole network is made; see `step.py`.

The text of this file, from the line below on, is loaded after the ops of one precision and before the step that is
printed for a network. Arrays are passed as addresses: passing an array to compiled code would take longer than
computing a small layer.
"""

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from ranvier.backends.numba_cache import kept
from ranvier.backends.numba_ops import kernel, real

# ---------------------------------------------------------------- arrays at an address
NUMBER = types.float32 if real is np.float32 else types.float64
ONE_AXIS, TWO_AXES = types.Array(NUMBER, 1, "C"), types.Array(NUMBER, 2, "C")


@intrinsic
def vector(typing, address, n):
    """Return an array of the n numbers that start at an address."""

    def code(context, build, signature, given):
        address, n = given
        out = make_array(ONE_AXIS)(context, build)
        size = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(NUMBER)))
        data = build.inttoptr(address, ir.PointerType(context.get_data_type(NUMBER)))
        populate_array(out, data=data, shape=[n], strides=[size], itemsize=size, meminfo=None)
        return out._getvalue()

    return ONE_AXIS(types.intp, types.intp), code


@intrinsic
def matrix(typing, address, rows, columns):
    """Return a matrix of the rows * columns numbers that start at an address."""

    def code(context, build, signature, given):
        address, rows, columns = given
        out = make_array(TWO_AXES)(context, build)
        size = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(NUMBER)))
        data = build.inttoptr(address, ir.PointerType(context.get_data_type(NUMBER)))
        strides = [build.mul(columns, size), size]
        populate_array(out, data=data, shape=[rows, columns], strides=strides, itemsize=size, meminfo=None)
        return out._getvalue()

    return TWO_AXES(types.intp, types.intp, types.intp), code


# ---------------------------------------------------------------- the parts of a step
summed = kept(fastmath={"reassoc", "contract"})


@summed
def multiply(x, weight, base, stride, out):
    """Compute out[m] = base[m] + weight x[m]: x [B, K], weight [N, K], out [B, N], base [B, N], or [1, N] with stride
    0.
    """
    for m in range(out.shape[0]):
        for n in range(out.shape[1]):
            total = real(0)
            for k in range(x.shape[1]):
                total += weight[n, k] * x[m, k]
            out[m, n] = base[m * stride, n] + total


@kernel
def hold(param, limits, out):
    """Clamp a parameter (one number, or the same numbers for every sample of the batch) to its limits, and write it to
    `out`.
    """
    for n in range(out.shape[0]):
        out[n] = min(max(param[n % param.shape[0]], limits[0]), limits[1])
    return out
