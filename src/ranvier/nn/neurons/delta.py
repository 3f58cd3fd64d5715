"""An encoder that spikes when a signal changes, as event cameras do."""

from ranvier.nn.neuron import Neuron, Param, State
from ranvier.ops import spike


class Delta(Neuron):
    """An encoder that spikes when its signal has changed by `threshold` since the last spike. It has one output for
    increases and one for decreases.

    up = 1 where x - level >= threshold;  down = 1 where level - x >= threshold;  level = level + threshold (up - down).

    x [T, B, *features] is a signal; returns (up, down), spikes of the same shape. Lichtsteiner, Posch & Delbruck, A
    128x128 120 dB 15 us latency asynchronous temporal contrast vision sensor, IEEE JSSC 43, 2008.

    >>> import torch
    >>> up, down = Delta(threshold=0.5)(torch.tensor([0.0, 0.6, 0.6, 0.0]).view(4, 1, 1))
    >>> up.flatten(), down.flatten()
    (tensor([0., 1., 0., 0.]), tensor([0., 0., 0., 1.]))
    """

    threshold: Param = Param(0.1, "change that makes a spike")
    level = State(0.0, "the signal as reconstructed from the spikes")

    @staticmethod
    def rule(x, level, threshold):
        up = spike(x - level - threshold)
        down = spike(level - x - threshold)
        return (up, down), level + threshold * (up - down)
