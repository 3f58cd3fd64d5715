"""SpikingJelly's names, as in its `activation_based`: layer, neuron, functional, learning, surrogate, encoding.

>>> import torch
>>> from ranvier.compat.spikingjelly import functional, layer, neuron
>>> net = torch.nn.Sequential(layer.Linear(3, 4), neuron.LIFNode())
>>> functional.set_step_mode(net, "m")
>>> net(torch.rand(8, 2, 3)).shape
torch.Size([8, 2, 4])
>>> functional.reset_net(net)
"""

from ranvier.compat.spikingjelly import encoding, functional, layer, learning, neuron, surrogate

__all__ = ["encoding", "functional", "layer", "learning", "neuron", "surrogate"]
