"""SpikingJelly's names: `layer`, `neuron`, `functional`, `surrogate`, `encoding`, as in its `activation_based`.

>>> import torch
>>> from ranvier.compat.spikingjelly import functional, layer, neuron
>>> net = torch.nn.Sequential(layer.Linear(3, 4), neuron.LIFNode())
>>> functional.set_step_mode(net, "m")
>>> net(torch.rand(8, 2, 3)).shape
torch.Size([8, 2, 4])
>>> functional.reset_net(net)
"""

from ranvier.compat.spikingjelly import encoding, functional, layer, neuron, surrogate

__all__ = ["encoding", "functional", "layer", "neuron", "surrogate"]
