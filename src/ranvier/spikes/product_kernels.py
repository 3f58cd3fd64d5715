"""Products with a matrix that is mostly zero: add up only the rows that an event selects.

A tile of rows is listed once (which columns are not zero), then every row of the result is the sum of the listed rows
of the other factor, eight at a time so that the result is read and written an eighth as often.

Traffic per row: its K inputs once, and N numbers of the weight per event instead of per input; at density d that is d
of the dense product's additions, which run at the speed of the second cache instead of the multipliers' (about a
quarter of it): the crossover lies near d = 0.25.
"""

import numpy as np
from numba import njit

kernel = njit(nogil=True, error_model="numpy", cache=True)


@kernel
def add_rows(target, rows, lo, hi, values, index, first, last):
    """target [hi - lo] += sum over j in first..last of values[j] * rows[index[j], lo:hi]."""
    j = first
    n = hi - lo
    while j + 8 <= last:
        a, b, c, d = (
            rows[index[j], lo:hi],
            rows[index[j + 1], lo:hi],
            rows[index[j + 2], lo:hi],
            rows[index[j + 3], lo:hi],
        )
        e, f, g, h = (
            rows[index[j + 4], lo:hi],
            rows[index[j + 5], lo:hi],
            rows[index[j + 6], lo:hi],
            rows[index[j + 7], lo:hi],
        )
        p, q, r, s = values[j], values[j + 1], values[j + 2], values[j + 3]
        t, u, v, w = values[j + 4], values[j + 5], values[j + 6], values[j + 7]
        for k in range(n):
            near = (p * a[k] + q * b[k]) + (r * c[k] + s * d[k])
            far = (t * e[k] + u * f[k]) + (v * g[k] + w * h[k])
            target[k] += near + far
        j += 8
    while j + 2 <= last:
        a, b = rows[index[j], lo:hi], rows[index[j + 1], lo:hi]
        p, q = values[j], values[j + 1]
        for k in range(n):
            target[k] += p * a[k] + q * b[k]
        j += 2
    if j < last:
        a, p = rows[index[j], lo:hi], values[j]
        for k in range(n):
            target[k] += p * a[k]


@kernel
def count(x):
    """How many numbers of x [M, K] are not zero."""
    total = 0
    for m in range(x.shape[0]):
        row = x[m]
        here = np.int32(0)
        for k in range(x.shape[1]):
            here += np.int32(row[k] != 0)
        total += here
    return total


@kernel
def list_events(row, index, values):
    """Where row [K] is not zero, and what stands there; gives how many. Eight zeros are passed over at once."""
    events, whole = 0, row.shape[0] // 8 * 8
    pairs = row[:whole].view(np.int64)
    for block in range(whole // 8):
        at = 4 * block
        if pairs[at] | pairs[at + 1] | pairs[at + 2] | pairs[at + 3]:
            for k in range(8 * block, 8 * block + 8):
                index[events] = k  # without a branch: what is zero is overwritten
                values[events] = row[k]
                events += int(row[k] != 0)
    for k in range(whole, row.shape[0]):
        index[events] = k
        values[events] = row[k]
        events += int(row[k] != 0)
    return events


@kernel
def forward(lo, hi, panel, x, weight, base, stride, out, listed, amounts, ends):
    """out[m] = base[m] + x[m] weight for the rows lo..hi: x [M, K], weight [K, N], out [M, N].

    A tile of rows is listed, then added up panel by panel of columns: a panel of the weight stays in the second cache.
    base [M, N], or [1, N] with stride 0. Scratch: listed, amounts [tile * K + 1]; ends [tile].
    """
    for a in range(lo, hi, ends.shape[0]):
        b = min(a + ends.shape[0], hi)
        total = 0
        for m in range(a, b):
            total += list_events(x[m], listed[total:], amounts[total:])
            ends[m - a] = total
        for left in range(0, out.shape[1], panel):
            right = min(left + panel, out.shape[1])
            first = 0
            for m in range(a, b):
                target, start = out[m, left:right], base[m * stride, left:right]
                for n in range(right - left):
                    target[n] = start[n]
                add_rows(target, weight, left, right, amounts, listed, first, ends[m - a])
                first = ends[m - a]


@kernel
def weight_gradient(lo, hi, x, g, out, start, index, values, listed, amounts, ends):
    """out[k, lo:hi] = sum over m of x[m, k] g[m, lo:hi]: x [M, K], g [M, N], out [K, N], zero at first.

    Rows are taken in tiles: their events are listed row by row, then sorted by column, so that a row of the result is
    summed in one go. Scratch: start [K + 1]; index, values, listed, amounts [tile * K + 1]; ends [tile].
    """
    columns = x.shape[1]
    for a in range(0, x.shape[0], ends.shape[0]):
        b = min(a + ends.shape[0], x.shape[0])
        total = 0
        for m in range(a, b):
            total += list_events(x[m], listed[total:], amounts[total:])
            ends[m - a] = total
        start[:] = 0
        for j in range(total):
            start[listed[j] + 1] += 1
        for k in range(columns):
            start[k + 1] += start[k]
        first = 0
        for m in range(a, b):
            for j in range(first, ends[m - a]):
                k = listed[j]
                index[start[k]] = m
                values[start[k]] = amounts[j]
                start[k] += 1
            first = ends[m - a]
        first = 0
        for k in range(columns):  # start[k] is now where the list of column k ends
            if start[k] > first:
                add_rows(out[k, lo:hi], g, lo, hi, values, index, first, start[k])
            first = start[k]
