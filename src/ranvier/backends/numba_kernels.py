"""The loops over time for CPUs.

The text of this file, followed by the rows printed from one rule (see `numba_backend.py`), makes the module that runs
that rule. A row is one step of one tile of neurons: neurons are its inner, vectorised loop; time is the loop here.
Fused multiply-add and reassociation stay off, so spikes equal those of the reference bit for bit.

Axes: T steps, N neurons (batch and features together), S states, P parameters with a gradient, W the tile's width.
"""

from numba import njit

from ranvier.backends.numba_ops import kernel, read, write  # in a rule's module: of its precision, and all words

compiled = njit(nogil=True, error_model="numpy", inline="always")  # inlined before types are inferred: compiles sooner


# ---------------------------------------------------------------- the rows: printed from the rule
def forward_row(t, lo, hi, inputs, before, params, outputs, after):
    """One step: outputs at t, and the states after it from those before it."""


def advance_row(t, lo, hi, inputs, before, params, after):
    """The same step without its outputs."""


def adjoint_row(t, lo, hi, inputs, before, params, g_outputs, carry, g_inputs, g_params):
    """Its vector-Jacobian product: `carry` [S, W] holds the gradient of the states after, then of those before."""


# ---------------------------------------------------------------- the loops over time
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
def backward(lo, hi, width, steps, segment, inputs, initial, params, g_outputs, g_final, g_inputs, g_initial, g_params,
             marks, trail, carry):  # fmt: skip
    """Walk the neurons lo..hi back through time: their states are computed again, tile by tile, into cache.

    inputs, g_outputs, g_inputs: tuples of [T, N], but [1, N] for a gradient of outputs that is the same at every step;
    initial, g_final, g_initial [S, N]; g_params [P, N], added to.
    Scratch: marks [segments, S, width], the states at the start of each but the last; trail [segment or 2, S, width],
    the states within one segment; carry [S, width].
    """
    last, rows = marks.shape[0] - 1, trail.shape[0]
    for a in range(lo, hi, width):
        b = min(a + width, hi)
        read(trail[0], initial, a, b)
        read(carry, g_final, a, b)
        for k in range(2 * last + 1):  # to the last segment, marking where each begins, and back again
            m, back = min(k, 2 * last - k), k >= last
            start, end = m * segment, min((m + 1) * segment, steps)
            if k < last:
                read(marks[m], trail[0], 0, b - a)
            elif k > last:
                read(trail[0], marks[m], 0, b - a)
            for j in range(end - start - back):
                advance_row(start + j, a, b, inputs, trail[j % rows], params, trail[(j + 1) % rows])
            if back:
                for t in range(end - 1, start - 1, -1):
                    adjoint_row(t, a, b, inputs, trail[t - start], params, g_outputs, carry, g_inputs, g_params)
            elif segment % rows:
                read(trail[0], trail[segment % rows], 0, b - a)
        write(g_initial, carry, a, b)
