"""A convolutional net with hidden states and a chosen surrogate; cross-entropy of the spike rate."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import ranvier.compat.snntorch as snn
from ranvier.compat.snntorch import functional as SF
from ranvier.compat.snntorch import surrogate, utils


def forward_pass(net: nn.Module, data: torch.Tensor, num_steps: int) -> torch.Tensor:
    utils.reset(net)
    return torch.stack([net(data)[0] for _ in range(num_steps)])


def main(steps: int = 3) -> list[float]:
    torch.manual_seed(0)
    images, labels = (torch.tensor(v) for v in load_digits(return_X_y=True))
    images = (images / 2.0).float().unflatten(1, (1, 8, 8))
    beta, spike_grad = 0.5, surrogate.fast_sigmoid(slope=25)
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.MaxPool2d(2),
        snn.Leaky(beta=beta, spike_grad=spike_grad, init_hidden=True),
        nn.Flatten(),
        nn.Linear(12 * 16, 10),
        snn.Leaky(beta=beta, spike_grad=spike_grad, init_hidden=True, output=True),
    )
    loss_fn = SF.ce_rate_loss()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2, betas=(0.9, 0.999))
    losses = []
    for k in range(steps):
        x, y = images[128 * k : 128 * (k + 1)], labels[128 * k : 128 * (k + 1)]
        loss = loss_fn(forward_pass(net, x, 12), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
