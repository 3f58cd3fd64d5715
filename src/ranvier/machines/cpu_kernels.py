"""The loops over time for CPUs, and what the words of a rule mean to Numba.

The text of this file, followed by the rows printed from one rule (see `cpu.py`), makes the module that runs that
rule. A row is one tick of one tile of neurons: neurons are its inner, vectorised loop; time is the loop here.
Fused multiply-add and reassociation stay off, so spikes equal those of the reference bit for bit.

Axes: T ticks, N neurons (batch and features together), S states, P parameters with a gradient, W the tile's width.
"""

import math

import numpy as np
from numba import njit

real = np.float32
compiled = njit(nogil=True, error_model="numpy", inline="always")  # inlined before types are inferred: compiles sooner
kernel = njit(nogil=True, error_model="numpy", cache=True)


# ---------------------------------------------------------------- the words
@compiled
def const(c):
    return real(c)


@compiled
def spike(u):
    return real(1) if u >= real(0) else real(0)


@compiled
def spike_strict(u):
    return real(1) if u > real(0) else real(0)


@compiled
def same(a):
    return a


@compiled
def inject(model, measured):
    return measured


@compiled
def where(condition, a, b):
    return a if condition else b


@compiled
def negate(condition):
    return not condition


@compiled
def div(a, b):
    return a / b


if real is np.float32:

    @compiled
    def exp(a):
        # e^a = 2 2^(n - 1) e^r, r in [-ln2/2, ln2/2]: a polynomial vectorises, libm's call does not; error below 1e-7
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
        y = real(0) if a < real(-86.6) else y  # the smallest normal numbers, and beyond
        return real(np.inf) if a > real(88.722) else y

    @compiled
    def tanh(a):
        s = a * a
        near = a * (real(1) + s * (real(-1 / 3) + s * (real(2 / 15) + s * (real(-17 / 315) + s * real(62 / 2835)))))
        far = real(1) - real(2) / (exp(real(2) * a) + real(1))
        return near if abs(a) < real(0.3) else far
else:

    @compiled
    def exp(a):
        return math.exp(a)

    @compiled
    def tanh(a):
        return math.tanh(a)


@compiled
def log(a):
    return real(math.log(a))


@compiled
def sqrt(a):
    return real(math.sqrt(a))


@compiled
def sigmoid(a):
    return real(1) / (real(1) + exp(-a))


@compiled
def softplus(a):
    return max(a, real(0)) + real(math.log1p(exp(-abs(a))))


@compiled
def absolute(a):
    return abs(a)


@compiled
def sign(a):
    return real(a > 0) - real(a < 0)


@compiled
def floor(a):
    return np.floor(a)


@compiled
def nearest(a):
    return np.rint(a)


@compiled
def minimum(a, b):
    return a if a < b else b


@compiled
def maximum(a, b):
    return a if a > b else b


@compiled
def clamp(a, low, high):
    return min(max(a, low), high)


# ---------------------------------------------------------------- the rows: printed from the rule
def forward_row(t, lo, hi, inputs, before, params, outputs, after):
    """One tick: outputs at t, and the states after it from those before it."""


def advance_row(t, lo, hi, inputs, before, params, after):
    """The same tick without its outputs."""


def adjoint_row(t, lo, hi, inputs, before, params, g_outputs, carry, g_inputs, g_params):
    """Its vector-Jacobian product: `carry` [S, W] holds the gradient of the states after, then of those before."""


# ---------------------------------------------------------------- the loops over time
@compiled
def read(tile, whole, lo, hi):
    """tile [S, W] = whole [S, lo:hi]; as loops, since assigning slices takes Numba seconds to compile."""
    for k in range(whole.shape[0]):
        for n in range(hi - lo):
            tile[k, n] = whole[k, lo + n]


@compiled
def write(whole, tile, lo, hi):
    """whole [S, lo:hi] = tile [S, W]."""
    for k in range(whole.shape[0]):
        for n in range(hi - lo):
            whole[k, lo + n] = tile[k, n]


@kernel
def forward(lo, hi, width, steps, inputs, initial, params, outputs, final, scratch):
    """Carry the neurons lo..hi through time, a tile of `width` at once.

    inputs, outputs: tuples of [T, N]; initial, final [S, N]; params: tuple of [1] or [N]; scratch [2, S, width].
    """
    for a in range(lo, hi, width):
        b = min(a + width, hi)
        read(scratch[0], initial, a, b)
        for t in range(steps):
            forward_row(t, a, b, inputs, scratch[t & 1], params, outputs, scratch[(t + 1) & 1])
        write(final, scratch[steps & 1], a, b)


@kernel
def retrace(start, count, lo, hi, inputs, params, trail):
    """The states of `count` ticks from `start` on, from trail[0]; around the end of the trail where it is short."""
    rows = trail.shape[0]
    for k in range(count):
        advance_row(start + k, lo, hi, inputs, trail[k % rows], params, trail[(k + 1) % rows])


@kernel
def backward(lo, hi, width, steps, segment, inputs, initial, params, g_outputs, g_final, g_inputs, g_initial, g_params,
             marks, trail, carry):  # fmt: skip
    """Walk the neurons lo..hi back through time: their states are computed again, tile by tile, into cache.

    inputs, g_outputs, g_inputs: tuples of [T, N], but [1, N] for a gradient of outputs that is the same at every tick;
    initial, g_final, g_initial [S, N]; g_params [P, N], added to.
    Scratch: marks [segments, S, width], the states at the start of each segment; trail [segment or 2, S, width],
    the states within one segment; carry [S, width].
    """
    for a in range(lo, hi, width):
        b = min(a + width, hi)
        read(trail[0], initial, a, b)
        for m in range(marks.shape[0]):  # to the start of the last segment, marking the others
            read(marks[m], trail[0], 0, b - a)
            if m + 1 < marks.shape[0]:
                retrace(m * segment, segment, a, b, inputs, params, trail)
                if segment % trail.shape[0]:
                    read(trail[0], trail[segment % trail.shape[0]], 0, b - a)
        read(carry, g_final, a, b)
        for m in range(marks.shape[0] - 1, -1, -1):
            start, end = m * segment, min((m + 1) * segment, steps)
            read(trail[0], marks[m], 0, b - a)
            retrace(start, end - start - 1, a, b, inputs, params, trail)
            for t in range(end - 1, start - 1, -1):
                adjoint_row(t, a, b, inputs, trail[t - start], params, g_outputs, carry, g_inputs, g_params)
        write(g_initial, carry, a, b)
