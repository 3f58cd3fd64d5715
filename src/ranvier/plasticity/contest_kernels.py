"""The contest of `contest.py`, compiled: events instead of zeros, so that its cost is that of the spikes.

Axes: I inputs, N neurons, T ticks. The weights lie as [I, N]: the row of an input that spikes is added in one sweep.
"""

import math

import numpy as np
from numba import njit

real = np.float32
compiled = njit(nogil=True, error_model="numpy", cache=True)


@compiled
def uniform(state):
    """The next number in [0, 1) of xorshift64*; state [1] uint64."""
    s = state[0]
    s ^= s >> np.uint64(12)
    s ^= s << np.uint64(25)
    s ^= s >> np.uint64(27)
    state[0] = s
    return float((s * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(11)) * 2.0**-53


@compiled
def begin(state, seed, sample):
    """A state of its own for every sample, whatever was drawn before (splitmix64)."""
    s = np.uint64(seed) * np.uint64(0xD1B54A32D192ED03) + np.uint64(sample + 1) * np.uint64(0x9E3779B97F4A7C15)
    s = (s ^ (s >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    s = (s ^ (s >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state[0] = (s ^ (s >> np.uint64(31))) | np.uint64(1)


@compiled
def gap(state, scale):
    """Ticks without a spike before the next one: geometric, scale = 1 / log(1 - chance)."""
    return int(min(math.log(1.0 - uniform(state)) * scale, 1e9))


@compiled
def draw(chance, steps, state, starts, events, who, when):
    """A spike of input i at each of `steps` ticks with chance[i]; those of tick t are events[starts[t]:starts[t + 1]].

    Draws the gaps between spikes rather than every tick. Scratch: who, when [I T].
    """
    starts[:] = 0
    count = 0
    for i in range(chance.shape[0]):
        if chance[i] > 0:
            scale = 1.0 / math.log1p(-min(float(chance[i]), 1.0 - 1e-12))
            t = gap(state, scale)
            while t < steps:
                who[count], when[count] = i, t
                starts[t + 1] += 1
                count += 1
                t += 1 + gap(state, scale)
    for t in range(steps):
        starts[t + 1] += starts[t]
    for k in range(count - 1, -1, -1):  # backwards, so that `starts` ends as the beginning of each tick
        starts[when[k] + 1] -= 1
        events[starts[when[k] + 1]] = who[k]
    for t in range(steps):
        starts[t] = starts[t + 1]
    starts[steps] = count


@compiled
def charge(v, wait, current, bar, beta):
    """One tick of all membranes; how many stand at or above their bar. Who waits gets no current, so stays below."""
    above = 0
    for n in range(v.shape[0]):
        v[n] = v[n] * beta + (current[n] if wait[n] == 0 else real(0))
        wait[n] = max(wait[n] - 1, 0)
        above += v[n] >= bar[n]
    return above


@compiled
def present(starts, events, steps, weight, theta, constants, rates, fade, learning, count, scratch):
    """One sample. Writes how often each neuron spiked into count [N] and, if learning, weight [I, N] and theta [N].

    constants: beta, threshold, reset, refractory, inhibition, rise; rates: plus, minus. fade [T + 1]: what is left of
    a trace after so many ticks.
    """
    beta, threshold, reset, refractory, inhibition, rise = constants
    plus, minus = rates
    v, current, bar, wait, spoke, talkers, heard = scratch  # [N] each, heard [I]: ticks of the last spikes
    v[:], wait[:], count[:], heard[:], talking = 0, 0, 0, -1, 0
    for n in range(v.shape[0]):
        bar[n] = threshold + theta[n]
    for t in range(steps):
        current[:] = 0
        for k in range(starts[t], starts[t + 1]):
            row = weight[events[k]]
            heard[events[k]] = t
            for n in range(row.shape[0]):
                current[n] += row[n]
            if learning:  # presynaptic spike: weaken towards the neurons that spoke before
                for n in talkers[:talking]:
                    row[n] = max(row[n] - minus * fade[t - spoke[n]], real(0))
        if charge(v, wait, current, bar, beta) == 0:
            continue
        winner = np.argmax(v - bar)
        for n in range(v.shape[0]):
            v[n] -= inhibition
        v[winner], wait[winner], spoke[winner] = reset, refractory, t
        if count[winner] == 0:
            talkers[talking] = winner
            talking += 1
        count[winner] += 1
        if learning:
            theta[winner] += rise
            bar[winner] += rise
            for i in range(heard.shape[0]):  # postsynaptic spike: strengthen from the inputs heard lately
                if heard[i] >= 0:
                    weight[i, winner] = min(weight[i, winner] + plus * fade[t - heard[i]], real(1))


@compiled
def normalise(weight, total, count):
    """Scale the weights into every neuron that has spiked to sum to `total`; no others have changed."""
    for n in range(weight.shape[1]):
        if count[n] > 0:
            scale = total / max(weight[:, n].sum(), real(1e-12))
            for i in range(weight.shape[0]):
                weight[i, n] *= scale


@compiled
def contest(chance, steps, seed, first, weight, theta, constants, rates, fade, total, keep, learning, counts):
    """Present samples chance [B, I] one after the other; counts [B, N] of spikes. keep: what is left of theta after
    a sample. Samples are drawn from (seed, first + their index)."""
    (inputs, neurons), samples = weight.shape, chance.shape[0]
    state, starts, room = np.zeros(1, np.uint64), np.zeros(steps + 1, np.int64), inputs * steps
    events, who, when = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int32)
    scratch = (
        np.empty(neurons, real), np.empty(neurons, real), np.empty(neurons, real), np.empty(neurons, np.int32),
        np.empty(neurons, np.int32), np.empty(neurons, np.int32), np.empty(inputs, np.int32),
    )  # fmt: skip
    for b in range(samples):
        begin(state, seed, first + b)
        draw(chance[b], steps, state, starts, events, who, when)
        present(starts, events, steps, weight, theta, constants, rates, fade, learning, counts[b], scratch)
        if learning:
            normalise(weight, total, counts[b])
            for n in range(neurons):
                theta[n] *= keep


@compiled
def spikes(chance, steps, seed, first, out):
    """The spikes that `contest` would draw, written as ones into out [T, B, I], which is zero."""
    room = chance.shape[1] * steps
    state, starts = np.zeros(1, np.uint64), np.zeros(steps + 1, np.int64)
    events, who, when = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int32)
    for b in range(chance.shape[0]):
        begin(state, seed, first + b)
        draw(chance[b], steps, state, starts, events, who, when)
        for t in range(steps):
            for k in range(starts[t], starts[t + 1]):
                out[t, b, events[k]] = 1
