"""Products with a matrix that is mostly zero: only the rows that an event selects are added up.

An event is a number that is not zero. The events of a tile of rows are listed once, by their columns. Then every row of
the result is the sum of the listed rows of the other factor, LANES columns at a time. The running sums stay in
registers. The other factor is stored as *panels*: LANES of its columns packed side by side, so that one panel fits the
L2 cache. Spikes are listed from their bits, which were packed, 64 in a word, in the pass that counts them.

Traffic per row: K inputs (or K bits) once, and N numbers of a panel per event instead of per input. Reading a row from
the L2 cache is two to four times slower than multiplying it, so the event-driven product is faster up to a density of
about 0.3.

A factor with at most SLIM columns is one panel of SLIM columns, which fits the L1 cache: its events are not sorted.
If at most half of the last panel is filled, only its first HALF columns are read.
"""

import numpy as np
from numba.core import types
from numba.extending import overload

from ranvier.backends.numba_cache import kept
from ranvier.spikes.vector import LANES, first, fma, load, nonzero64, splat, store, zeros

kernel = kept()
# for functions that are called several times per row
inner = kept(forceinline=True)
ONE = np.uint64(1)
HALF, QUARTER, SLIM = LANES // 2, LANES // 4, 32
LINE = 16  # numbers in a cache line


def list_events(x, m, columns, left, listed, amounts, n):
    """Append the columns where row m is not zero to listed[n:], and the values there to amounts[n:]; return the new n.

    x: numbers [M, K], or bits [M, words] (64 in a word), where a set bit has the value 1. `left` is added to each
    listed column.
    """
    raise NotImplementedError("runs in kernels only")


@overload(list_events)
def _of_its_kind(x, m, columns, left, listed, amounts, n):
    return _list_bits if x.dtype == types.uint64 else _list_numbers


def _list_numbers(x, m, columns, left, listed, amounts, n):
    for k in range(0, columns, 64):
        rest = columns - k
        if m * columns + k + 64 <= x.size:  # 64 numbers may be read, also beyond the row: all of them are in x
            word = nonzero64(x, m, k)
            if rest < 64:
                word &= (ONE << np.uint64(rest)) - ONE
            while word:
                at = k + first(word)
                listed[n] = left + at
                amounts[n] = x[m, at]
                word &= word - ONE
                n += 1
        else:
            for at in range(k, columns):
                if x[m, at] != 0:
                    listed[n] = left + at
                    amounts[n] = x[m, at]
                    n += 1
    return n


def _list_bits(x, m, columns, left, listed, amounts, n):
    for w in range(x.shape[1]):
        word = x[m, w]
        while word:
            listed[n] = left + 64 * w + first(word)
            amounts[n] = np.float32(1)
            word &= word - ONE
            n += 1
    return n


@kernel
def pack_columns(matrix, panels):
    """Copy a weight [N, K], stored as in a linear layer, to panels: panels[c K + k, i] = matrix[c lanes + i, k]."""
    rows, columns = matrix.shape
    lanes, whole = panels.shape[1], columns // LINE * LINE
    for left in range(0, rows, lanes):
        at, wide = left // lanes * columns, min(lanes, rows - left)
        panel = panels[at : at + columns]
        for near in range(0, whole, LINE):
            for i in range(wide):
                for k in range(LINE):
                    panel[near + k, i] = matrix[left + i, near + k]
        for i in range(wide):
            for k in range(whole, columns):
                panel[k, i] = matrix[left + i, k]
        panel[:, wide:] = 0


@kernel
def unpack_columns(panels, at, left, out):
    """Copy the panel that starts at row `at` back to the rows of a matrix: out[left + i, k] = panels[at + k, i]."""
    rows, columns = out.shape
    wide, whole = min(panels.shape[1], rows - left), columns // LINE * LINE
    for near in range(0, whole, LINE):
        for i in range(wide):
            for k in range(LINE):
                out[left + i, near + k] = panels[at + near + k, i]
    for i in range(wide):
        for k in range(whole, columns):
            out[left + i, k] = panels[at + k, i]


@kernel
def list_tile(a, b, x, columns, listed, amounts, ends):
    """List the events of the rows a..b, row after row; those of row m end at ends[m - a]. Return their number."""
    n = 0
    for m in range(a, b):
        n = list_events(x, m, columns, 0, listed, amounts, n)
        ends[m - a] = n
    return n


@inner
def sum_row(m, left, at, begin, end, panels, base, stride, out, listed, amounts, edge):
    """Compute out[m, left:] = base[m, left:] + the sum of some rows of a panel: those listed in begin..end. The panel
    starts at row `at` of `panels`.
    """
    wide = out.shape[1] - left
    if wide >= LANES:
        store(out, m, left, _sum(load(LANES, base, m * stride, left), at, begin, end, panels, listed, amounts))
    elif wide == HALF:
        store(out, m, left, _sum_half(load(HALF, base, m * stride, left), at, begin, end, panels, listed, amounts))
    else:
        for i in range(wide):
            edge[0, i] = base[m * stride, left + i]
        if wide < HALF:
            store(edge, 0, 0, _sum_half(load(HALF, edge, 0, 0), at, begin, end, panels, listed, amounts))
        else:
            store(edge, 0, 0, _sum(load(LANES, edge, 0, 0), at, begin, end, panels, listed, amounts))
        for i in range(wide):
            out[m, left + i] = edge[0, i]


@inner
def _sum(total, at, begin, end, panels, listed, amounts):
    for j in range(begin, end):
        total = fma(splat(LANES, amounts[j]), load(LANES, panels, at + listed[j], 0), total)
    return total


@inner
def _sum_half(total, at, begin, end, panels, listed, amounts):
    for j in range(begin, end):
        total = fma(splat(HALF, amounts[j]), load(HALF, panels, at + listed[j], 0), total)
    return total


@kernel
def sum_tile(a, b, columns, panels, base, stride, out, listed, amounts, ends, edge):
    """Compute out[m] = base[m] + the sum of the panel rows that are listed for m, for m in a..b."""
    for left in range(0, out.shape[1], LANES):
        begin = 0
        for m in range(a, b):
            end = ends[m - a]
            sum_row(m, left, left // LANES * columns, begin, end, panels, base, stride, out, listed, amounts, edge)
            begin = end


@kernel
def multiply_tile(a, b, x, columns, panels, base, stride, out, edge):
    """Compute out[m] = base[m] + x[m] weight for m in a..b without skipping zeros. The sums of four rows by a quarter
    of a panel stay in registers.
    """
    width = out.shape[1]
    for left in range(0, width, LANES):
        at, wide = left // LANES * columns, min(LANES, width - left)
        for m in range(a, b, 4):
            p, q, r = min(m + 1, b - 1), min(m + 2, b - 1), min(m + 3, b - 1)
            for c in range(0, wide, QUARTER):
                s, t, u, v = zeros(QUARTER), zeros(QUARTER), zeros(QUARTER), zeros(QUARTER)
                for k in range(columns):
                    row = load(QUARTER, panels, at + k, c)
                    s = fma(splat(QUARTER, x[m, k]), row, s)
                    t = fma(splat(QUARTER, x[p, k]), row, t)
                    u = fma(splat(QUARTER, x[q, k]), row, u)
                    v = fma(splat(QUARTER, x[r, k]), row, v)
                store(edge, 0, c, s)
                store(edge, 1, c, t)
                store(edge, 2, c, u)
                store(edge, 3, c, v)
            for j in range(min(4, b - m)):
                for i in range(wide):
                    out[m + j, left + i] = base[(m + j) * stride, left + i] + edge[j, i]


@kernel
def forward(lo, hi, x, columns, panels, base, stride, out, listed, amounts, ends, edge):
    """Compute out[m] = base[m] + x[m] weight for m in lo..hi: x [M, K] numbers or bits, panels of the weight [K, N],
    out [M, N].

    base [M, N], or [1, N] with stride 0. Scratch arrays: listed, amounts [tile * K + 1]; ends [tile]; edge [4, LANES].
    """
    for a in range(lo, hi, ends.shape[0]):
        b = min(a + ends.shape[0], hi)
        list_tile(a, b, x, columns, listed, amounts, ends)
        sum_tile(a, b, columns, panels, base, stride, out, listed, amounts, ends, edge)


@kernel
def forward_slim(lo, hi, x, columns, panel, base, stride, out, listed, amounts, ends, edge):
    """Compute the same as `forward`, for a weight with at most SLIM columns: one panel [K, SLIM]."""
    for a in range(lo, hi, ends.shape[0]):
        b = min(a + ends.shape[0], hi)
        list_tile(a, b, x, columns, listed, amounts, ends)
        begin = 0
        for m in range(a, b):
            total = zeros(SLIM)
            for j in range(begin, ends[m - a]):
                total = fma(splat(SLIM, amounts[j]), load(SLIM, panel, listed[j], 0), total)
            begin = ends[m - a]
            store(edge, 0, 0, total)
            for i in range(out.shape[1]):
                out[m, i] = base[m * stride, i] + edge[0, i]


@kernel
def by_column(rows, columns, start, index, values, listed, amounts, ends):
    """Sort the listed events of `rows` rows by column, into index (the row of each event) and values (its value). The
    events of column k end at position start[k].
    """
    start[:] = 0
    for j in range(ends[rows - 1]):
        start[listed[j] + 1] += 1
    for k in range(columns):
        start[k + 1] += start[k]
    begin = 0
    for m in range(rows):
        for j in range(begin, ends[m]):
            k = listed[j]
            index[start[k]] = m
            values[start[k]] = amounts[j]
            start[k] += 1
        begin = ends[m]


@inner
def add_to(totals, k, packed, shift, wide, begin, end, index, values):
    """Add to totals[k] the sum of values[j] packed[index[j] + shift] over j in begin..end; only the first `wide`
    numbers of each row are used.
    """
    if wide > HALF:
        total = load(LANES, totals, k, 0)
        for j in range(begin, end):
            total = fma(splat(LANES, values[j]), load(LANES, packed, shift + index[j], 0), total)
        store(totals, k, 0, total)
    else:
        half = load(HALF, totals, k, 0)
        for j in range(begin, end):
            half = fma(splat(HALF, values[j]), load(HALF, packed, shift + index[j], 0), half)
        store(totals, k, 0, half)


@kernel
def add_gradient(lo, hi, x, columns, g, totals, packed, start, index, values, listed, amounts, ends):
    """Add to totals the panels of x^T g for the columns lo..hi of g [M, N], where lo is a multiple of LANES; x as in
    `forward`.

    Rows are processed in tiles: their events are sorted by column, so that each row of the result is summed at once.
    totals [panels * K, LANES]. Scratch arrays: packed [tile, LANES]; start [K + 1]; index, values, listed, amounts
    [tile * K + 1]; ends [tile].
    """
    tile = ends.shape[0]
    for a in range(0, g.shape[0], tile):
        b = min(a + tile, g.shape[0])
        list_tile(a, b, x, columns, listed, amounts, ends)
        by_column(b - a, columns, start, index, values, listed, amounts, ends)
        for left in range(lo, hi, LANES):
            at, wide = left // LANES * columns, min(LANES, hi - left)
            for m in range(a, b):
                for i in range(wide):
                    packed[m - a, i] = g[m, left + i]
            begin = 0
            for k in range(columns):
                if start[k] > begin:
                    add_to(totals, at + k, packed, 0, wide, begin, start[k], index, values)
                begin = start[k]


@kernel
def add_gradient_slim(lo, hi, x, columns, g, totals, packed, start, index, values, listed, amounts, ends):
    """Compute the same as `add_gradient`, for a g with at most SLIM columns: one panel [K, SLIM]; lo is 0, and hi is
    the number of columns.
    """
    tile = ends.shape[0]
    for a in range(0, g.shape[0], tile):
        b = min(a + tile, g.shape[0])
        list_tile(a, b, x, columns, listed, amounts, ends)
        begin = 0
        for m in range(a, b):
            for i in range(hi):
                packed[0, i] = g[m, i]
            row = load(SLIM, packed, 0, 0)
            for j in range(begin, ends[m - a]):
                store(totals, listed[j], 0, fma(splat(SLIM, amounts[j]), row, load(SLIM, totals, listed[j], 0)))
            begin = ends[m - a]


@kernel
def unpack_panels(panels, out):
    """Copy all panels back to the rows of a matrix [N, K]."""
    rows, columns = out.shape
    for left in range(0, rows, panels.shape[1]):
        unpack_columns(panels, left // panels.shape[1] * columns, left, out)
