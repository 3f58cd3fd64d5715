"""A convolutional net that takes whole sequences, its first layers an encoder; cross-entropy of the firing rate."""

import torch
from sklearn.datasets import load_digits
from torch import nn

from ranvier.compat.spikingjelly.activation_based import functional, layer, neuron, surrogate


class Net(nn.Module):
    def __init__(self, T: int, channels: int):
        super().__init__()
        self.T = T
        self.conv_fc = nn.Sequential(
            layer.Conv2d(1, channels, 3, padding=1, bias=False),
            layer.BatchNorm2d(channels),
            neuron.IFNode(v_threshold=0.2, surrogate_function=surrogate.ATan()),
            layer.MaxPool2d(2, 2),
            layer.Flatten(),
            layer.Linear(channels * 16, 40, bias=False),
            neuron.IFNode(v_threshold=0.2, surrogate_function=surrogate.ATan()),
            layer.Linear(40, 10, bias=False),
            neuron.IFNode(v_threshold=0.2, surrogate_function=surrogate.ATan()),
        )
        functional.set_step_mode(self, step_mode="m")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv_fc(x.unsqueeze(0).repeat(self.T, 1, 1, 1, 1)).mean(0)


def main(steps: int = 3) -> list[float]:
    torch.manual_seed(0)
    images, labels = (torch.tensor(v) for v in load_digits(return_X_y=True))
    images = (images / 2.0).float().unflatten(1, (1, 8, 8))
    net = Net(T=4, channels=8)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for k in range(steps):
        x, y = images[64 * k : 64 * (k + 1)], labels[64 * k : 64 * (k + 1)]
        loss = nn.functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        functional.reset_net(net)
        losses.append(loss.item())
    return losses
