"""The loop over time that updates traces on a CPU; its rows are printed from one rule (see `numba_traces.py`)."""

from ranvier.backends.numba_ops import const, kernel, read, row, write


# the rows, printed from the rule
def influence_row(t, lo, hi, inputs, before, params, grads, after, found):
    """Compute one step: the states after it, and the factors `found` at it."""


def own_row(lo, hi, found, own, sums):
    """Update the traces of the own arguments of neurons lo..hi, and add their share of the gradients to `sums`."""


def weight_row(n, m, neurons, w, found, at, came, weight, into):
    """Do the same for the w weights of one neuron, which is number n in the tile and number m of all. Its inputs are
    the row `at` of `came`.
    """


def error_row(t, lo, hi, found, reach, into):
    """Go one step back. reach [S, W]: the gradient of all later losses by the traces after the step, then by those
    before it; into[t] becomes the gradient by the input of the weights at this step, later losses included.
    """


def source_row(t, lo, hi, found, reach, into):
    """Do the same without the losses of the steps themselves."""


def signal_row(t, lo, hi, found, signals):
    """Compute the gradients of some arguments at step t."""


# ---------------------------------------------------------------- the loops
@kernel
def traces(lo, hi, tile, steps, batch, channels, places, inputs, initial, params, grads, came, weight, own, into, sums,
           signals, before, found):  # fmt: skip
    """Update the traces of the channels lo..hi step by step, `tile` channels at a time.

    inputs, signals: tuples of [T, N]; grads: of [T, N] or [1, N]; initial [S, N]; came [T R, K]; weight [S N, K]; own
    [Q S, N]; into [channels, K] and sums [Q, N], to which the gradients are added. Scratch: before [2, S, W], found
    [1, J, W].
    """
    neurons, width, now = batch * channels * places, came.shape[1], found[0]
    for c in range(lo, hi, tile):
        d = min(c + tile, hi)
        for b in range(batch):
            first, last = (b * channels + c) * places, (b * channels + d) * places
            read(before[0], initial, first, last)
            for t in range(steps):
                influence_row(t, first, last, inputs, before[t & 1], params, grads, before[(t + 1) & 1], now)
                own_row(first, last, now, own, sums)
                signal_row(t, first, last, now, signals)
                if width == 0:
                    continue
                for n in range(last - first):
                    p, out = n % places, row(into, c + n // places, 0, width)
                    weight_row(n, first + n, neurons, width, now, (t * batch + b) * places + p, came, weight, out)


@kernel
def segment(lo, hi, tile, begin, end, inputs, state, params, grads, own, sums, signals, errors, starts, sources, passed,
            asked, kept, before, found, reach):  # fmt: skip
    """Go through the steps begin..end, and then back, for the neurons lo..hi, `tile` neurons at a time. This computes
    the factors of the products that update the traces of the weights and sum their gradient.

    state [S', N] of the neurons: before the steps, then after them. If `asked`: the gradient of all losses of the
    segment by the input of each step, errors [L, N], and by each trace before the segment, starts [S, N]. If `kept`:
    the derivatives of trace j after the segment by the same, sources[j] [L, N] and passed[j] [S, N]. Scratch:
    before [2, S', W], found [L, J, W], reach [S, W].
    """
    steps = end - begin
    for first in range(lo, hi, tile):
        last = min(first + tile, hi)
        read(before[0], state, first, last)
        for t in range(steps):
            at, now = begin + t, found[t]
            influence_row(at, first, last, inputs, before[t & 1], params, grads, before[(t + 1) & 1], now)
            own_row(first, last, now, own, sums)
            signal_row(at, first, last, now, signals)
        write(state, before[steps & 1], first, last)
        if asked:
            reach[:] = const(0.0)
            for t in range(steps - 1, -1, -1):
                error_row(t, first, last, found[t], reach, errors)
            write(starts, reach, first, last)
        if kept:
            for j in range(len(sources)):
                reach[:] = const(0.0)
                reach[j] = const(1.0)
                for t in range(steps - 1, -1, -1):
                    source_row(t, first, last, found[t], reach, sources[j])
                write(passed[j], reach, first, last)
