"""Rows of a picture as a sequence, for a layer whose spikes come back through a linear map."""

import torch
from sklearn.datasets import load_digits
from torch import nn

from ranvier.compat.spikingjelly.activation_based import functional, layer, neuron, surrogate


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        node = neuron.IFNode(v_threshold=0.2, surrogate_function=surrogate.ATan(), detach_reset=True)
        self.body = nn.Sequential(
            layer.Linear(8, 32),
            layer.LinearRecurrentContainer(node, in_features=32, out_features=32, bias=True),
            layer.Linear(32, 10),
            neuron.ParametricLIFNode(v_threshold=0.05, surrogate_function=surrogate.ATan(), detach_reset=True),
        )
        functional.set_step_mode(self, step_mode="m")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x.movedim(1, 0)).mean(0)  # [N, row, 8] -> [T, N, 8]


def main(steps: int = 3) -> list[float]:
    torch.manual_seed(0)
    images, labels = (torch.tensor(v) for v in load_digits(return_X_y=True))
    images = (images / 1.0).float().unflatten(1, (8, 8))
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
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
