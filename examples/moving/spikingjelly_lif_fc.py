"""One layer of LIF neurons on Poisson spikes, read out by firing rate: step by step."""

import torch
from sklearn.datasets import load_digits
from torch import nn

from ranvier.compat.spikingjelly.activation_based import encoding, functional, layer, neuron, surrogate


def main(steps: int = 3, T: int = 20) -> list[float]:
    torch.manual_seed(0)
    images, labels = (torch.tensor(v) for v in load_digits(return_X_y=True))
    images = (images / 16.0).float()
    net = nn.Sequential(
        layer.Flatten(), layer.Linear(64, 10, bias=False), neuron.LIFNode(tau=2.0, surrogate_function=surrogate.ATan())
    )
    encoder = encoding.PoissonEncoder()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = []
    for k in range(steps):
        x, y = images[64 * k : 64 * (k + 1)], labels[64 * k : 64 * (k + 1)]
        rate = sum(net(encoder(x)) for _ in range(T)) / T
        loss = nn.functional.mse_loss(rate, nn.functional.one_hot(y, 10).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        functional.reset_net(net)
        losses.append(loss.item())
    return losses
