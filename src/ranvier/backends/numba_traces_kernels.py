"""The loop over time that updates traces on a CPU; its rows are printed from one rule (see `numba_traces.py`)."""

from ranvier.backends.numba_ops import const, kernel, read, row, write


# the rows: these names stand for functions that are printed from the rule
def influence_row(t, lo, hi, inputs, before, params, grads, after, found):
    """Compute one step: the states after it, and the factors `found` at it."""


def own_row(lo, hi, found, own, sums):
    """Update the traces of the own arguments (such as learned parameters) of the neurons lo..hi, and add to `sums` what
    they contribute to the gradients.
    """


def weight_row(n, m, neurons, w, found, at, came, weight, into):
    """Update the traces of the w weights into one neuron, and add to `into` what they contribute to the gradient. The
    neuron is number n in its tile and number m of all neurons; its inputs are row `at` of `came`.
    """


def error_row(t, lo, hi, found, reach, into):
    """Go one step back in time. reach [S, W] is the gradient of all later losses with respect to the traces. On entry
    these are the traces after the step, on return the traces before it. into[t] becomes the gradient of the losses of
    this and all later steps with respect to the input current of step t.
    """


def source_row(t, lo, hi, found, reach, into):
    """Compute the same as `error_row`, but without the loss of step t itself."""


def signal_row(t, lo, hi, found, signals):
    """Compute the gradients with respect to the arguments in `Call.signals` at step t."""


# ---------------------------------------------------------------- the loops
@kernel
def traces(lo, hi, tile, steps, batch, channels, places, inputs, initial, params, grads, came, weight, own, into, sums,
           signals, before, found):  # fmt: skip
    """Update the traces of the channels lo..hi step by step, `tile` channels at a time.

    inputs, signals: tuples of [T, N]; grads: of [T, N] or [1, N]; initial [S, N]; came [T R, K]; weight [S N, K]; own
    [Q S, N]; into [channels, K] and sums [Q, N], to which the gradients are added. Scratch arrays: before [2, S, W],
    found [1, J, W]. `backends/traces.py` explains these axes; W is the width of a tile, J the number of factors.
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
    """Go forward through the steps begin..end and then back, for the neurons lo..hi, `tile` neurons at a time. This
    computes the factors of two matrix products: one updates the traces of the weights, the other sums their gradient.

    state [M, N]: the M states of the neurons, on entry before the steps, on return after them. L is the number of
    steps. If `asked`: errors [L, N] is the gradient of all losses of the segment with respect to the input current of
    each step, and starts [S, N] with respect to each trace before the segment. If `kept`: sources[j] [L, N] and
    passed[j] [S, N] are the derivatives of trace j after the segment with respect to the same inputs and traces.
    Scratch arrays: before [2, M, W], found [L, J, W], reach [S, W].
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
