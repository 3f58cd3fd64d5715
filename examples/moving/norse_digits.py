"""Pictures as currents that make neurons spike, a hidden layer, and the highest membrane of a readout."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import ranvier.compat.norse.torch as norse


class Net(nn.Module):
    def __init__(self, seq_length: int = 32):
        super().__init__()
        self.encoder = norse.ConstantCurrentLIFEncoder(seq_length)
        self.body = norse.SequentialState(
            nn.Linear(64, 100, bias=False), norse.LIFCell(norse.LIFParameters(v_th=torch.tensor(0.4))),
            nn.Linear(100, 10, bias=False), norse.LICell(),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state, voltages = None, []
        for spikes in self.encoder(4.0 * x):
            v, state = self.body(spikes, state)
            voltages.append(v)
        return nn.functional.log_softmax(torch.stack(voltages).max(0).values, dim=1)


def main(steps: int = 3) -> list[float]:
    torch.manual_seed(0)
    images, labels = (torch.tensor(v) for v in load_digits(return_X_y=True))
    images = (images / 16.0).float()
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = []
    for k in range(steps):
        x, y = images[64 * k : 64 * (k + 1)], labels[64 * k : 64 * (k + 1)]
        loss = nn.functional.nll_loss(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
