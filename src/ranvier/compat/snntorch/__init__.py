"""snnTorch's names: neurons, `surrogate`, `spikegen`, `functional`, `utils`, `spikeplot`.

A call of a neuron is one step, as in snnTorch; `scan` runs a whole sequence, fused.

>>> import torch
>>> from ranvier.compat import snntorch as snn
>>> lif = snn.Leaky(beta=0.9, spike_grad=snn.surrogate.fast_sigmoid(slope=25))
>>> x, mem, steps = torch.rand(6, 2, 3), lif.init_leaky(), []
>>> for x_t in x:
...     spk, mem = lif(x_t, mem)
...     steps.append(spk)
>>> _ = lif.reset_mem()
>>> bool((lif.scan(x)[0] == torch.stack(steps)).all())
True
"""

from ranvier.compat.snntorch import functional, spikegen, spikeplot, surrogate, utils
from ranvier.compat.snntorch.neurons import Alpha, Lapicque, Leaky, SpikingNeuron, Synaptic
from ranvier.compat.snntorch.recurrent import LeakyParallel, RecurrentOneToOne, RLeaky, RSynaptic

__all__ = [
    "Alpha", "Lapicque", "Leaky", "LeakyParallel", "RLeaky", "RSynaptic", "RecurrentOneToOne", "SpikingNeuron",
    "Synaptic", "functional", "spikegen", "spikeplot", "surrogate", "utils",
]  # fmt: skip
