"""The loops over time for CPUs.

The text of this file, followed by the rows printed from one rule (see `numba_backend.py`), makes the module that runs
that rule. A row is one step of one tile of neurons. Its inner, vectorised loop runs over neurons; the loops of this
file run over time. Fused multiply-add and reassociation stay off, so spikes equal those of the reference bit for bit.

Axes: T steps, N neurons (batch and features together), S states, P parameters with a gradient, W width of a tile.
"""

from numba import njit

from ranvier.backends.numba_ops import kernel, read, write  # (the module of a rule imports all ops)

compiled = njit(nogil=True, error_model="numpy", inline="always")  # inlined before types are inferred: compiles faster


# ---------------------------------------------------------------- the rows: printed from the rule
def forward_row(t, lo, hi, inputs, before, params, outputs, after):
    """Compute one step: outputs at t, and the states after the step from the states before it."""


def advance_row(t, lo, hi, inputs, before, params, after):
    """Compute the same step without its outputs."""


def adjoint_row(t, lo, hi, inputs, before, params, g_outputs, carry, g_inputs, g_params):
    """Compute the vector-Jacobian product of one step: on entry `carry` [S, W] is the gradient of the states after the
    step, on return the gradient of the states before it.
    """


# ---------------------------------------------------------------- the loops over time
@kernel
def forward(lo, hi, width, steps, inputs, initial, params, outputs, final, scratch):
    """Run the neurons lo..hi through all steps, one tile of `width` neurons at a time.

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
    """Run backward through time for the neurons lo..hi. Their states are computed again, tile by tile, and stay in
    cache.

    inputs, g_outputs, g_inputs: tuples of [T, N], but [1, N] for a gradient of outputs that is the same at every step;
    initial, g_final, g_initial [S, N]; g_params [P, N], to which the gradients are added. Scratch arrays: marks
    [segments, S, width], the states at the start of each segment except the last; trail [segment or 2, S, width], the
    states within one segment; carry [S, width].
    """
    last, rows = marks.shape[0] - 1, trail.shape[0]
    for a in range(lo, hi, width):
        b = min(a + width, hi)
        read(trail[0], initial, a, b)
        read(carry, g_final, a, b)
        for k in range(2 * last + 1):  # forward to the last segment, saving the states at each start, then back
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
