"""A rate network whose ReLU spikes in training, filtered by a learned lowpass, its rates held near 20 Hz."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import ranvier.compat.pytorch_spiking as pytorch_spiking


def main(steps: int = 3, T: int = 10) -> list[float]:
    torch.manual_seed(0)
    images, labels = (torch.tensor(v) for v in load_digits(return_X_y=True))
    images = (images / 16.0).float()
    dense = nn.Linear(64, 128)
    spiking = pytorch_spiking.SpikingActivation(nn.ReLU(), dt=0.01, spiking_aware_training=True)
    pool = pytorch_spiking.TemporalAvgPool()
    readout = nn.Sequential(
        pytorch_spiking.Lowpass(tau=0.1, units=128, dt=0.01, return_sequences=False), nn.Linear(128, 10)
    )
    optimizer = torch.optim.Adam([*dense.parameters(), *readout.parameters()], lr=1e-2)
    losses = []
    for k in range(steps):
        x, y = images[32 * k : 32 * (k + 1)].unsqueeze(1).repeat(1, T, 1), labels[32 * k : 32 * (k + 1)]
        spikes = spiking(dense(x))
        rates = pool(spikes)
        loss = nn.functional.cross_entropy(readout(spikes), y) + 1e-3 * ((rates - 20.0) ** 2).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
