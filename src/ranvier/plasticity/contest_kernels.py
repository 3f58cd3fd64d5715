"""The compiled code of `contest.py`. Its cost depends on the number of spikes; the decay of a trace is computed only
when the trace is used.

Axes: T steps, I inputs, N neurons. The weights are stored as [I, N], so that the weights of an input that spikes are
contiguous in memory.
"""

import numpy as np

from ranvier.backends.numba_cache import kept

real = np.float32
compiled = kept()


@compiled
def charge(v, wait, current, bar, beta):
    """Compute one step of all membranes; return how many are at or above their threshold (`bar`). A neuron in its
    refractory period (wait > 0) gets no current.
    """
    above = 0
    for n in range(v.shape[0]):
        v[n] = v[n] * beta + (current[n] if wait[n] == 0 else real(0))
        wait[n] = max(wait[n] - 1, 0)
        above += v[n] >= bar[n]
    return above


@compiled
def present(b, x, z, weight, theta, v, wait, constants, rates, fade, learning, count, scratch):
    """Run sample b: spikes x [T, B, I] -> spikes z [T, B, N]. z must be zero on entry; v and wait [N] continue from
    their values.

    If learning, weight [I, N] and theta [N] change. constants: beta, threshold, reset, refractory, inhibition, rise;
    rates: plus, minus. fade [T + 1]: fade[k] is the decay of a trace over k steps. count [N]: number of spikes.
    """
    beta, threshold, reset, refractory, inhibition, rise = constants
    plus, minus = rates
    current, bar, spoke, talkers, heard = scratch  # spoke [N], heard [I]: steps of last spikes
    talking, heard[:] = 0, -1
    for n in range(v.shape[0]):
        bar[n] = threshold + theta[n]
    for t in range(x.shape[0]):
        current[:] = 0
        for i in range(x.shape[2]):
            if x[t, b, i] == 0:
                continue
            row = weight[i]
            heard[i] = t
            for n in range(row.shape[0]):
                current[n] += row[n]
            if learning:  # presynaptic spike: weaken synapses to neurons that fired before
                for n in talkers[:talking]:
                    row[n] = max(row[n] - minus * fade[t - spoke[n]], real(0))
        if charge(v, wait, current, bar, beta) == 0:
            continue
        winner = np.argmax(v - bar)
        for n in range(v.shape[0]):
            v[n] -= inhibition
        v[winner], wait[winner], spoke[winner], z[t, b, winner] = reset, refractory, t, 1
        if count[winner] == 0:
            talkers[talking] = winner
            talking += 1
        count[winner] += 1
        if learning:
            theta[winner] += rise
            bar[winner] += rise
            for i in range(heard.shape[0]):  # postsynaptic spike: strengthen synapses of recent input spikes
                if heard[i] >= 0:
                    weight[i, winner] = min(weight[i, winner] + plus * fade[t - heard[i]], real(1))


@compiled
def normalise(weight, total, count):
    """Scale the weights into every neuron that has spiked so that they sum to `total`; no other weights have
    changed.
    """
    for n in range(weight.shape[1]):
        if count[n] > 0:
            scale = total / max(weight[:, n].sum(), real(1e-12))
            for i in range(weight.shape[0]):
                weight[i, n] *= scale


@compiled
def contest(lo, hi, x, z, weight, theta, v, wait, constants, rates, fade, total, keep, learning):
    """Run the samples lo..hi one after the other; sample b starts from v[b] and wait[b]. keep: the decay of theta over
    one sample.
    """
    (inputs, neurons), count = weight.shape, np.empty(weight.shape[1], np.int32)
    scratch = (
        np.empty(neurons, real), np.empty(neurons, real), np.empty(neurons, np.int32), np.empty(neurons, np.int32),
        np.empty(inputs, np.int32),
    )  # fmt: skip
    for b in range(lo, hi):
        count[:] = 0
        present(b, x, z, weight, theta, v[b], wait[b], constants, rates, fade, learning, count, scratch)
        if learning:
            normalise(weight, total, count)
            for n in range(neurons):
                theta[n] *= keep
