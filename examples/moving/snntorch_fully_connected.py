"""A fully connected net of leaky neurons; the loss is the cross-entropy of the membrane, added over steps."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import ranvier.compat.snntorch as snn


class Net(nn.Module):
    def __init__(self, num_steps: int = 25, beta: float = 0.95):
        super().__init__()
        self.num_steps = num_steps
        self.fc1, self.lif1 = nn.Linear(64, 100), snn.Leaky(beta=beta)
        self.fc2, self.lif2 = nn.Linear(100, 10), snn.Leaky(beta=beta)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes, membranes = [], []
        for _ in range(self.num_steps):
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
            membranes.append(mem2)
        return torch.stack(spikes), torch.stack(membranes)


def main(steps: int = 3) -> list[float]:
    torch.manual_seed(0)
    images, labels = (torch.tensor(v) for v in load_digits(return_X_y=True))
    images = (images / 16.0).float()
    net, cross_entropy = Net(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-4, betas=(0.9, 0.999))
    losses = []
    for k in range(steps):
        x, y = images[128 * k : 128 * (k + 1)], labels[128 * k : 128 * (k + 1)]
        _, membranes = net(x)
        loss = sum((cross_entropy(mem, y) for mem in membranes), torch.zeros(()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
