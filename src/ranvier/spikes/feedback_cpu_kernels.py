"""The loops over time of a rule whose output returns through a recurrent weight. They are the last part of the module
of that rule.

A tile of the batch runs through all steps before the next tile starts, so its states and its list of events stay in
cache; the weight is read from the L2 cache at each step. Per step, neuron and sample, forward reads 4 bytes and writes
8 (u and the output), and reads one row of the weight per event. Backward reads 8 bytes and writes 4, and reads the
whole weight.

Axes: T steps, B samples, N neurons, S states, R samples of a tile.
"""

import numpy as np

# The module of a rule defines its own values of these names: it leaves out all text above the next line of dashes.
from ranvier.backends.numba_kernels import adjoint_row, advance_row, forward_row
from ranvier.backends.numba_ops import kernel, read, real, write

# ---------------------------------------------------------------- the product of a tile
if real is np.float32:
    from ranvier.spikes.product_kernels import list_tile, multiply_tile, sum_tile

    @kernel
    def multiply(a, b, x, panels, base, out, listed, amounts, ends, edge):
        """Compute out[a:b] = base[a:b] + x[a:b] weight, for x [B, N] of any numbers."""
        multiply_tile(a, b, x, x.shape[1], panels, base, 1, out, edge)

    @kernel
    def add_events(few, a, b, x, panels, base, out, listed, amounts, ends, edge):
        """Compute the same as `multiply`, event-driven if the share of nonzero numbers in x is below `few`."""
        columns = x.shape[1]
        if list_tile(a, b, x, columns, listed, amounts, ends) <= few * (b - a) * columns:
            sum_tile(a, b, columns, panels, base, 1, out, listed, amounts, ends, edge)
        else:
            multiply_tile(a, b, x, columns, panels, base, 1, out, edge)
else:

    @kernel
    def multiply(a, b, x, weight, base, out, listed, amounts, ends, edge):
        for m in range(a, b):
            for n in range(out.shape[1]):
                out[m, n] = base[m, n]
            for k in range(x.shape[1]):
                if x[m, k] != 0:
                    for n in range(out.shape[1]):
                        out[m, n] += x[m, k] * weight[k, n]

    @kernel
    def add_events(few, a, b, x, weight, base, out, listed, amounts, ends, edge):
        multiply(a, b, x, weight, base, out, listed, amounts, ends, edge)


# ---------------------------------------------------------------- the loops over time
@kernel
def feedback_forward(lo, hi, segment, few, x, z, weight, initial, params, ys, y, u, us, final, marks, two,
                     listed, amounts, ends, edge):  # fmt: skip
    """Compute u[t] = x[t] + y[t - 1] weight, and y[t] and the states by the rule, for the samples lo..hi; y[-1] = z [B,
    N].

    x, y, u [T, B, N]; ys: tuple of all outputs [T, B N], where y is a view of the first; us: tuple of u as [T, B N];
    initial, final [S, B N]; marks [segments, S, B N]: the states at the start of each segment. Scratch arrays: two [2,
    S, R N], and the arrays of a tile (see `ranvier.spikes.product_kernels.forward`).
    """
    steps, _, neurons = x.shape
    tile = ends.shape[0]
    for a in range(lo, hi, tile):
        b = min(a + tile, hi)
        left, right = a * neurons, b * neurons
        read(two[0], initial, left, right)
        for t in range(steps):
            before = y[t - 1] if t else z
            add_events(few, a, b, before, weight, x[t], u[t], listed, amounts, ends, edge)
            if t % segment == 0:
                write(marks[t // segment], two[t & 1], left, right)
            forward_row(t, left, right, us, two[t & 1], params, ys, two[(t + 1) & 1])
        write(final, two[steps & 1], left, right)


@kernel
def feedback_backward(lo, hi, segment, us, marks, params, weight, g_y, g_after, g_z, g_zs, g_final, g_u, g_us,
                      g_initial, g_params, trail, carry, listed, amounts, ends, edge):  # fmt: skip
    """Run backward through time for the samples lo..hi: g_z[t] = g_y[t] + g_u[t + 1] weight; from g_z[t], the adjoint
    of the rule computes g_u[t].

    g_y, g_u [T, B, N]; g_after [B, N]: added to the gradient of the last output; g_z [1, B, N]: the gradient of the
    output at the current step; g_zs: tuple of the gradients of all outputs [T, B N], where the first is g_z viewed as
    [1, B N]; g_us: tuple of g_u as [T, B N]; g_final, g_initial [S, B N]; g_params [P, B N], to which the gradients are
    added. Scratch arrays: trail [segment, S, R N], carry [S, R N], and the arrays of a tile.
    """
    steps, _, neurons = g_u.shape
    tile = ends.shape[0]
    for a in range(lo, hi, tile):
        b = min(a + tile, hi)
        left, right = a * neurons, b * neurons
        read(carry, g_final, left, right)
        for m in range(marks.shape[0] - 1, -1, -1):
            start, end = m * segment, min((m + 1) * segment, steps)
            read(trail[0], marks[m], left, right)
            for k in range(end - start - 1):
                advance_row(start + k, left, right, us, trail[k], params, trail[k + 1])
            for t in range(end - 1, start - 1, -1):
                if t + 1 < steps:
                    multiply(a, b, g_u[t + 1], weight, g_y[t], g_z[0], listed, amounts, ends, edge)
                else:
                    for i in range(a, b):
                        for n in range(neurons):
                            g_z[0, i, n] = g_y[t, i, n] + g_after[i, n]
                adjoint_row(t, left, right, us, trail[t - start], params, g_zs, carry, g_us, g_params)
        write(g_initial, carry, left, right)
