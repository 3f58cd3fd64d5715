"""Integrate and fire: no leak."""

from typing import Literal

from ranvier.nn.neuron import Learn, Neuron, Option, Param, State
from ranvier.nn.reset import Reset, detaching, resetting
from ranvier.ops import spike


class IF(Neuron):
    """Integrate-and-fire.

    v = v + x;  z = 1 where v >= threshold;  then the reset ("subtract", "zero" or "none").

    x [T, B, *features] input current per step; returns spikes z of the same shape. Lapicque 1907.

    >>> import torch, ranvier
    >>> ranvier.IF()(torch.full((4, 1, 1), 0.5)).flatten()
    tensor([0., 1., 0., 1.])
    """

    threshold: Param = Param(1.0, "membrane at which a spike is fired")
    v = State(0.0, "membrane")
    reset: Option[Reset] = resetting()
    detach_reset: Option[bool] = detaching()
    learn: Learn[Literal["threshold"]] = Learn()

    @staticmethod
    def rule(x, v, threshold, reset):
        v = v + x
        z = spike(v - threshold)
        return z, reset(v, z, threshold)
