"""The loop over time that updates traces on a CPU; its rows are printed from one rule (see `numba_traces.py`)."""

from ranvier.backends.numba_ops import kernel, read, row


# the rows, printed from the rule
def influence_row(t, lo, hi, inputs, before, params, grads, after, found):
    """Compute one step: the states after it, and the factors `found` at it."""


def own_row(lo, hi, found, own, sums):
    """Update the traces of the own arguments of neurons lo..hi, and add their share of the gradients to `sums`."""


def weight_row_4(n, m, neurons, w, t, found, at, stride, came, weight, into):
    """Do the same for the w weights of one neuron, which is number n in the tile and number m of all, at steps t to t +
    3 of the segment. The inputs of these steps are the rows at, at + stride, ... of `came`.
    """


def weight_row_1(n, m, neurons, w, t, found, at, stride, came, weight, into):
    """Do the same for step t alone."""


def signal_row(t, lo, hi, found, signals):
    """Compute the gradients of some arguments at step t."""


# ---------------------------------------------------------------- the loop
@kernel
def traces(lo, hi, tile, steps, batch, channels, places, inputs, initial, params, grads, came, weight, own, into, sums,
           signals, before, found):  # fmt: skip
    """Update the traces of the channels lo..hi through all steps, `tile` channels at a time.

    inputs, signals: tuples of [T, N]; grads: of [T, N] or [1, N]; initial [S, N]; came [T R, K]; weight [S N, K]; own
    [Q S, N]; into [channels, K] and sums [Q, N], to which the gradients are added. Scratch: before [2, S, W], found
    [segment, J, W].
    """
    segment, neurons, width, stride = found.shape[0], batch * channels * places, came.shape[1], batch * places
    for c in range(lo, hi, tile):
        d = min(c + tile, hi)
        for b in range(batch):
            first, last = (b * channels + c) * places, (b * channels + d) * places
            read(before[0], initial, first, last)
            for begin in range(0, steps, segment):
                end = min(begin + segment, steps)
                for t in range(begin, end):
                    now = found[t - begin]
                    influence_row(t, first, last, inputs, before[t & 1], params, grads, before[(t + 1) & 1], now)
                    own_row(first, last, now, own, sums)
                    signal_row(t, first, last, now, signals)
                if width == 0:
                    continue
                for n in range(last - first):
                    p, out = n % places, row(into, c + n // places, 0, width)
                    t, left, at = 0, end - begin, (begin * batch + b) * places + p
                    while left - t >= 4:
                        weight_row_4(n, first + n, neurons, width, t, found, at, stride, came, weight, out)
                        t, at = t + 4, at + 4 * stride
                    while t < left:
                        weight_row_1(n, first + n, neurons, width, t, found, at, stride, came, weight, out)
                        t, at = t + 1, at + stride
