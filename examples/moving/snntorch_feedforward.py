"""Two layers of leaky neurons, step by step with the membranes handed on: how often the outputs spike."""

import torch
from torch import nn

import ranvier.compat.snntorch as snn
from ranvier.compat.snntorch import spikegen


def main(steps: int = 3) -> list[float]:
    torch.manual_seed(0)
    fc1, fc2 = nn.Linear(64, 100), nn.Linear(100, 10)
    lif1, lif2 = snn.Leaky(beta=0.99), snn.Leaky(beta=0.99)
    spikes = []
    for _ in range(steps):
        mem1, mem2 = lif1.init_leaky(), lif2.init_leaky()
        train = spikegen.rate(torch.rand(64), num_steps=100).unsqueeze(1)
        recorded = []
        for step in range(100):
            spk1, mem1 = lif1(fc1(train[step]), mem1)
            spk2, mem2 = lif2(fc2(spk1), mem2)
            recorded.append(spk2)
        spikes.append(torch.stack(recorded).mean().item())
    return spikes
