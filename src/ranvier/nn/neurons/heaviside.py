"""A spiking layer without a state."""

from typing import Literal

from ranvier.nn.neuron import Learn, Neuron, Param
from ranvier.ops import spike


class Heaviside(Neuron):
    """A step with a surrogate gradient and no state: z = 1 where x >= threshold.

    x [T, B, *features] -> spikes of the same shape. McCulloch & Pitts 1943.

    >>> import torch, ranvier
    >>> ranvier.Heaviside()(torch.tensor([0.5, 1.0]).reshape(2, 1, 1)).flatten()
    tensor([0., 1.])
    """

    threshold: Param = Param(1.0, "input at which a spike is fired")
    learn: Learn[Literal["threshold"]] = Learn()

    @staticmethod
    def rule(x, threshold):
        return spike(x - threshold), ()
