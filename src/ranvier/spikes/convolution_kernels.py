"""Convolutions of images that are mostly zero, channels last: only those rows of the weight are added up that an event
(a number that is not zero) selects.

Forward: for each row of outputs, the events under its windows are listed once, column by column of the image, and
within a column from the top tap to the bottom tap. The window of an output is then one contiguous part of that list.
For the next output this part starts some columns later, and the rows of the weight are shifted back by as many columns.
So no matrix of windows is built, and an event is listed kh / sh times instead of kh kw / (sh sw) times (kernel kh by
kw, stride sh by sw).

Backward: the gradient of a weight is the sum of the output gradients that its events reach. Rows of output gradients
are copied into a frame of zeros. There, each tap reads the list of events of a channel shifted by a constant. With a
stride, events are also sorted by their place within the stride (row % sh, column % sw), since each place is reached by
other taps.

Both forward and backward, an event reads kh kw / (sh sw) rows of a panel, LANES numbers each, from the L2 cache; the
dense convolution computes as many multiplications for every input, also for zeros. `product_kernels` describes panels
and the speed of reads. N' is the number of output channels, and H' by W' the size of the output.
"""

from ranvier.spikes.product_kernels import (
    HALF,
    LANES,
    add_to,
    by_column,
    inner,
    kernel,
    list_events,
    sum_row,
    unpack_columns,
)
from ranvier.spikes.vector import load, store


@kernel
def list_rows(a, b, x, channels, window, listed, amounts, ends):
    """List the events under the windows of the rows a..b of outputs; those of column c of a row end at ends[row - a, c
    + 1].

    N images have N H' rows of outputs; x [N H W, C] or its bits. An event in column c of the image, under tap k (row of
    the kernel), in channel i, is listed as (c kh + k) C + i.
    """
    height, width = window.inputs
    taps = window.taps[0]
    n = 0
    for row in range(a, b):
        picture, top = row // window.outputs[0], row % window.outputs[0] * window.stride[0] - window.padding[0]
        ends[row - a, 0] = n
        for c in range(width):
            for k in range(max(0, -top), min(taps, height - top)):
                at = (picture * height + top + k) * width + c
                n = list_events(x, at, channels, (c * taps + k) * channels, listed, amounts, n)
            ends[row - a, c + 1] = n


@kernel
def forward(lo, hi, x, channels, window, panels, base, out, listed, amounts, ends, edge):
    """Compute out[p] = base + sum over taps (i, j) and channels c of weight[:, c, i, j] x[the pixel under the tap, c].

    This is done for the outputs p of the rows lo..hi, of N H' rows. x [N H W, C] or its bits, panels of the weight [N',
    kw kh C], base [1, N'], out [N H' W', N']. Scratch arrays: listed, amounts [tile * W kh C + 1]; ends [tile, W + 1];
    edge [4, LANES].

    Traffic: x (or its bits) is read kh / sh times, mostly from cache; the panels once per tile; out is written once.
    The crossover with the dense convolution is near a density of one third.
    """
    width, columns, tile = window.inputs[1], window.outputs[1], ends.shape[0]
    column = window.taps[0] * channels  # rows of a panel for each column of taps
    for a in range(lo, hi, tile):
        b = min(a + tile, hi)
        list_rows(a, b, x, channels, window, listed, amounts, ends)
        for left in range(0, out.shape[1], LANES):
            panel = left // LANES * window.taps[1] * column
            for row in range(a, b):
                for j in range(columns):
                    start = j * window.stride[1] - window.padding[1]
                    begin = ends[row - a, min(max(0, start), width)]
                    end = ends[row - a, min(max(0, start + window.taps[1]), width)]
                    at = panel - start * column
                    sum_row(row * columns + j, left, at, begin, end, panels, base, 0, out, listed, amounts, edge)


@inner
def frame_row(row, window, frame):
    """Return the first row of the stacked frames that row `row` (of the N H rows of the images) contributes to."""
    height = window.inputs[0]
    return row // height * frame[0] + (row % height + window.padding[0]) // window.stride[0]


@kernel
def fill_frame(first, last, left, g, window, before, frame, framed):
    """Write the rows first..last of the stacked frames, [rows * columns, LANES]: the columns of g [N H' W', N'] from
    `left` on, surrounded by zeros.
    """
    rows, columns = frame
    height, width = window.outputs
    wide = min(LANES, g.shape[1] - left)
    for row in range(first, last):
        picture, i = row // rows, row % rows - before[0]
        to, at = (row - first) * columns, (picture * height + i) * width - before[1]
        for j in range(columns):
            if i < 0 or i >= height or j < before[1] or j >= before[1] + width:
                framed[to + j] = 0
            elif wide == LANES:
                store(framed, to + j, 0, load(LANES, g, at + j, left))
            elif wide == HALF:
                store(framed, to + j, 0, load(HALF, g, at + j, left))
            else:
                framed[to + j, :wide] = g[at + j, left:]


@kernel
def sort_rows(a, b, x, channels, window, frame, places, start, index, values, listed, amounts, ends):
    """Sort the events of the rows a..b (of the N H rows of the images) by their place within the stride, then by
    channel. index: the position of each event in the frame, counted from the first row that `a` contributes to; values:
    the value of each event. `by_column` explains `start`.
    """
    width, origin = window.inputs[1], frame_row(a, window, frame)
    n, pixel = 0, 0
    for row in range(a, b):
        down = (row % window.inputs[0] + window.padding[0]) % window.stride[0]
        place = (frame_row(row, window, frame) - origin) * frame[1]
        for c in range(width):
            across = (c + window.padding[1]) % window.stride[1]
            kind = down * window.stride[1] + across
            n = list_events(x, row * width + c, channels, kind * channels, listed, amounts, n)
            places[pixel] = place + (c + window.padding[1]) // window.stride[1]
            ends[pixel] = n
            pixel += 1
    by_column(pixel, start.shape[0] - 1, start, index, values, listed, amounts, ends)
    for j in range(n):
        index[j] = places[index[j]]


@inner
def add_taps(totals, to, wide, channels, kind, window, before, frame, framed, begin, end, index, values):
    """Add the contribution of the events begin..end to the gradient of each tap. These events all have the same channel
    and the same place within the stride.
    """
    down, across = kind // window.stride[1], kind % window.stride[1]
    for up in range(before[0] + 1):
        i = down + up * window.stride[0]
        for back in range(before[1] + 1):
            j = across + back * window.stride[1]
            if i < window.taps[0] and j < window.taps[1]:
                shift = (before[0] - up) * frame[1] + before[1] - back
                at = to + (j * window.taps[0] + i) * channels
                add_to(totals, at, framed, shift, wide, begin, end, index, values)


@kernel
def weight_gradient(
    lo, hi, x, channels, window, before, frame, tile, g, out,
    totals, framed, places, start, index, values, listed, amounts, ends,
):  # fmt: skip
    """Compute out[n, j, i, c] = sum over the outputs p of g[p, n] x[the pixel under tap (i, j) of p, c], for the rows
    lo..hi of x.

    x [N H W, C] or its bits has N H rows; g [N H' W', N'], out [N', kw kh C]. Scratch arrays, for tiles of `tile` rows:
    totals [panels * kw kh C, LANES]; framed [rows * columns, LANES]; places, ends [tile * W]; start [sh sw C + 1];
    index, values, listed, amounts [tile * W C + 1].

    Traffic: x (or its bits) and g are read once; g is written to the frame and read from there; totals are read and
    written once per tile. The crossover with the dense convolution is above a density of two fifths.
    """
    depth = window.taps[0] * window.taps[1] * channels
    totals[:] = 0
    for a in range(lo, hi, tile):
        b = min(a + tile, hi)
        sort_rows(a, b, x, channels, window, frame, places, start, index, values, listed, amounts, ends)
        first, last = frame_row(a, window, frame), frame_row(b - 1, window, frame) + before[0] + 1
        for left in range(0, g.shape[1], LANES):
            fill_frame(first, last, left, g, window, before, frame, framed)
            wide = g.shape[1] - left
            for kind in range(window.stride[0] * window.stride[1]):
                for c in range(channels):
                    k, to = kind * channels + c, left // LANES * depth + c
                    begin, end = start[k - 1] if k else 0, start[k]
                    if end > begin:
                        around = channels, kind, window, before, frame, framed
                        add_taps(totals, to, wide, *around, begin, end, index, values)
    for left in range(0, g.shape[1], LANES):
        unpack_columns(totals, left // LANES * depth, left, out)
