"""The loops over time for images whose spikes are pooled immediately, and the pooling itself.

The text of this file, from the line below on, is loaded after `numba_kernels.py` and before the rows printed from one
rule (see `pooled.py`).

An image is [H, W, C], channels last; N = B H W C neurons. A tile is one row of windows: its height is that of a window.
The spikes of a tile at one step stay in the cache; only the pooled values are written to memory. Rows and columns
outside all windows give no output and get no gradient.
"""

from ranvier.backends.numba_kernels import compiled
from ranvier.backends.numba_ops import kernel, read, real

# ---------------------------------------------------------------- the rows: printed from the rule


def tile_forward(t, lo, hi, at, x, before, params, z, after):
    """Compute one step of the neurons lo..hi: output z [W], and the states after it. `at` is the index of the
    parameters of the first neuron.
    """


def tile_output(t, lo, hi, at, x, before, params, z):
    """Compute the same step without its states."""


def tile_advance(t, lo, hi, at, x, before, params, after):
    """Compute the same step without its output."""


def tile_adjoint(t, lo, hi, at, x, before, params, g_z, carry, g_x, g_params):
    """Compute the vector-Jacobian product of one step: on entry `carry` [S, W] is the gradient of the states after the
    step, on return the gradient of the states before it.
    """


# ---------------------------------------------------------------- pools: z [WINDOW, W, C] -> y [W / WINDOW, C]
WINDOW = 2  # `pooled.py` sets the size before this is compiled, so that loops over a window are unrolled


@compiled
def pool_max(z, y, width, channels):
    """Write the maximum of each window to y."""
    for w in range(width // WINDOW):
        out, first = w * channels, w * WINDOW * channels
        for c in range(channels):
            best = z[first + c]
            for k in range(1, WINDOW * WINDOW):
                other = z[(k // WINDOW * width + k % WINDOW) * channels + first + c]
                best = other if other > best else best
            y[out + c] = best


@compiled
def unpool_max(z, y, g, g_z, left, width, channels):
    """Write the gradient of each window to the first of its maxima in g_z; left [C] is a scratch array."""
    for w in range(width // WINDOW):
        out, first = w * channels, w * WINDOW * channels
        for c in range(channels):
            left[c] = g[out + c]
        for k in range(WINDOW * WINDOW):  # outside the loop over channels, which then vectorises
            place = (k // WINDOW * width + k % WINDOW) * channels + first
            for c in range(channels):
                given = left[c] * real(z[place + c] == y[out + c])  # a product: a branch would often be mispredicted
                g_z[place + c] = given
                left[c] -= given


@compiled
def pool_mean(z, y, width, channels):
    """Write the mean of each window to y."""
    for w in range(width // WINDOW):
        out, first = w * channels, w * WINDOW * channels
        for c in range(channels):
            total = real(0)
            for k in range(WINDOW * WINDOW):
                total += z[(k // WINDOW * width + k % WINDOW) * channels + first + c]
            y[out + c] = total / real(WINDOW * WINDOW)


@compiled
def unpool_mean(z, y, g, g_z, left, width, channels):
    """Divide the gradient of each window equally among its inputs in g_z."""
    for w in range(width // WINDOW):
        out, first = w * channels, w * WINDOW * channels
        for k in range(WINDOW * WINDOW):
            place = (k // WINDOW * width + k % WINDOW) * channels + first
            for c in range(channels):
                g_z[place + c] = g[out + c] / real(WINDOW * WINDOW)


pool, unpool = pool_max, unpool_max  # `pooled.py` sets the kind when it loads this text


# ---------------------------------------------------------------- the loops over time
@kernel
def forward_pooled(lo, hi, steps, picture, tiles, given, width, channels, x, initial, params, pooled, states, z):
    """Run the tiles lo..hi through all steps; an image of `picture` neurons has `tiles` tiles.

    x [T or 1, N]; initial [S, G]; params: tuple of [1] or [G]; pooled [T, B H' W' C], for H' rows of W' windows. A tile
    has `count` neurons. G = given * count: values are given for all tiles of an image (given = tiles), or for one tile
    and used for all (given = 1). Scratch arrays: states [2, S, count], z [count].
    """
    count, out = WINDOW * width * channels, width // WINDOW * channels
    for u in range(lo, hi):
        at = u % tiles % given * count
        a = u // tiles * picture + u % tiles * count
        read(states[0], initial, at, at + count)
        for t in range(steps):
            tile_forward(t, a, a + count, at, x, states[t & 1], params, z, states[(t + 1) & 1])
            pool(z, pooled[t, u * out : (u + 1) * out], width, channels)


@kernel
def backward_pooled(lo, hi, steps, picture, tiles, given, width, channels, x, initial, params, pooled, g_pooled, g_x,
                    g_initial, totals, g_params, trail, carry, z, g_z, left):  # fmt: skip
    """Run backward through time for the tiles lo..hi. Their states and spikes are computed again and stay in cache.

    g_x has the shape of x and is zero outside all windows; gradients are added to g_initial [S, G] and totals [P, G].
    Totals are float64: the steps of one sample are summed in the precision of x, the samples in float64. Scratch
    arrays: g_params [P, G], zero before and after; trail [T, S, count], carry [S, count], z and g_z [count] (g_z is
    zero outside all windows), left [C].
    """
    count, out = WINDOW * width * channels, width // WINDOW * channels
    still = g_x.shape[0] < steps  # x is one image for all steps, so its gradients are summed
    for u in range(lo, hi):
        at = u % tiles % given * count
        a = u // tiles * picture + u % tiles * count
        end = a + count if u % tiles + 1 < tiles else (u // tiles + 1) * picture
        for t in range(g_x.shape[0]):
            for n in range(a if still else a + count, end):
                g_x[t, n] = real(0)
        read(trail[0], initial, at, at + count)
        for t in range(steps - 1):
            tile_advance(t, a, a + count, at, x, trail[t], params, trail[t + 1])
        for k in range(carry.shape[0]):
            for n in range(count):
                carry[k, n] = real(0)
        for t in range(steps - 1, -1, -1):
            y, g = pooled[t, u * out : (u + 1) * out], g_pooled[t, u * out : (u + 1) * out]
            if WINDOW > 1:
                tile_output(t, a, a + count, at, x, trail[t], params, z)
                unpool(z, y, g, g_z, left, width, channels)
            else:
                for n in range(count):
                    g_z[n] = g[n]
            tile_adjoint(t, a, a + count, at, x, trail[t], params, g_z, carry, g_x, g_params)
        for k in range(carry.shape[0]):
            for n in range(count):
                g_initial[k, at + n] += carry[k, n]
        for k in range(totals.shape[0]):
            for n in range(at, at + count):
                totals[k, n] += g_params[k, n]
                g_params[k, n] = real(0)


@kernel
def add_affine(lo, hi, channels, g_x, x, centre, slope, offset):
    """Add slope (x - centre) + offset to the rows lo..hi of g_x [M, C]. x is [M, C]; centre, slope and offset are [C]
    each.
    """
    for m in range(lo, hi):
        g, row = g_x[m, :channels], x[m, :channels]
        for c in range(channels):
            g[c] += slope[c] * (row[c] - centre[c]) + offset[c]


@kernel
def moments(lo, hi, channels, x, sums):
    """Write sums [blocks, 2, C] of x - x[0] and of its square over the rows of the blocks lo..hi, in float64.

    x [M, C] is divided into blocks of M / blocks rows. Each block has its own sums, so the result does not depend on
    which thread computes which block.
    """
    rows = -(-x.shape[0] // sums.shape[0])
    first = x[0, :channels]
    for b in range(lo, hi):
        total, squares = sums[b, 0, :channels], sums[b, 1, :channels]
        for m in range(b * rows, min((b + 1) * rows, x.shape[0])):
            row = x[m, :channels]
            for c in range(channels):
                d = float(row[c]) - float(first[c])
                total[c] += d
                squares[c] += d * d
