"""SpikingJelly's names: the package `activation_based`, and `clock_driven`, its former name.

>>> import torch
>>> from ranvier.compat.spikingjelly.activation_based import functional, layer, neuron
>>> net = torch.nn.Sequential(layer.Linear(3, 4), neuron.LIFNode())
>>> functional.set_step_mode(net, "m")
>>> net(torch.rand(8, 2, 3)).shape
torch.Size([8, 2, 4])
>>> functional.reset_net(net)
"""

from ranvier.compat.spikingjelly import activation_based, cext, clock_driven
from ranvier.compat.spikingjelly.activation_based import (
    base,
    encoding,
    functional,
    layer,
    learning,
    neuron,
    surrogate,
)

__all__ = [
    "activation_based",
    "base",
    "cext",
    "clock_driven",
    "encoding",
    "functional",
    "layer",
    "learning",
    "neuron",
    "surrogate",
]
