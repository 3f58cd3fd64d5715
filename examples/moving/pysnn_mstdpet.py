"""Two layers of leaky neurons under reward-modulated STDP: rewarded, then punished. Gives the mean weight."""

import torch

from ranvier.compat.pysnn.connection import Linear
from ranvier.compat.pysnn.learning import MSTDPET
from ranvier.compat.pysnn.network import SNNNetwork
from ranvier.compat.pysnn.neuron import Input, LIFNeuron

BATCH, INPUTS, OUTPUTS, DT, REFRACTORY = 4, 12, 3, 1, 3


class Net(SNNNetwork):
    def __init__(self):
        super().__init__()
        dynamics = (0.0, 0.3, 1.0, DT, REFRACTORY, 0.8, 0.8)
        self.input = Input((BATCH, 1, INPUTS), DT, 1.0, 0.8)
        self.linear1, self.neuron1 = Linear(INPUTS, 8, BATCH, DT, 0), LIFNeuron((BATCH, 1, 8), 0.5, *dynamics)
        self.linear2, self.neuron2 = Linear(8, OUTPUTS, BATCH, DT, 0), LIFNeuron((BATCH, 1, OUTPUTS), 1.0, *dynamics)
        self.add_layer("first", self.linear1, self.neuron1)
        self.add_layer("second", self.linear2, self.neuron2)

    def forward(self, x):
        spikes, trace = self.input(x)
        spikes, trace = self.neuron1(self.linear1(spikes, trace)[0])
        return self.neuron2(self.linear2(spikes, trace)[0])


def main(steps: int = 3, T: int = 50) -> list[float]:
    torch.manual_seed(0)
    net = Net()
    rule = MSTDPET(net.layer_state_dict(), a_pre=1.0, a_post=1.0, lr=0.01, e_trace_decay=0.8)
    weights = []
    for k in range(steps):
        for x in torch.rand(T, BATCH, 1, INPUTS) > 0.6:
            net(x)
            rule.update_state()
            rule.step(1.0 if k % 2 == 0 else -1.0)
        net.reset_state()
        rule.reset_state()
        weights.append((net.linear1.weight.mean() + net.linear2.weight.mean()).item())
    return weights
