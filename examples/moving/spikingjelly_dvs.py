"""Frames of events: blocks of convolution, norm, neuron and pool, and groups of outputs that vote."""

import torch
from torch import nn

from ranvier.compat.spikingjelly.activation_based import functional, layer, neuron, surrogate


def frames(batch: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """A bar that wanders right, left, up or down: [T, N, 2, 16, 16], and its direction."""
    labels = torch.randint(4, (batch,), generator=generator)
    x = torch.zeros(8, batch, 2, 16, 16)
    for n, label in enumerate(labels.tolist()):
        for t in range(8):
            at = 2 * t if label % 2 == 0 else 15 - 2 * t
            (x[t, n, 0, :, at] if label < 2 else x[t, n, 0, at]).fill_(1.0)
    return x + (torch.rand(x.shape, generator=generator) < 0.02).float(), labels


class Net(nn.Module):
    def __init__(self, channels: int = 8):
        super().__init__()
        layers: list[nn.Module] = []
        for inputs in (2, channels):
            layers += [
                layer.Conv2d(inputs, channels, kernel_size=3, padding=1, bias=False),
                layer.BatchNorm2d(channels),
                neuron.LIFNode(v_threshold=0.2, surrogate_function=surrogate.ATan(), detach_reset=True),
                layer.MaxPool2d(2, 2),
            ]
        self.conv_fc = nn.Sequential(
            *layers,
            layer.Flatten(),
            layer.Linear(channels * 16, 40),
            neuron.LIFNode(v_threshold=0.2, surrogate_function=surrogate.ATan(), detach_reset=True),
            layer.VotingLayer(10),
        )
        functional.set_step_mode(self, "m")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv_fc(8.0 * x).mean(0)


def main(steps: int = 3) -> list[float]:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(steps):
        x, y = frames(16, generator)
        loss = nn.functional.mse_loss(net(x), nn.functional.one_hot(y, 4).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        functional.reset_net(net)
        losses.append(loss.item())
    return losses
