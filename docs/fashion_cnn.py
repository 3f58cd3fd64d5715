"""A small convolutional network for Fashion-MNIST, which can be converted to a spiking network.

python docs/fashion_cnn.py fashion_cnn.safetensors     trains it: some minutes on one core
ranvier convert docs/fashion_cnn.py:build --weights fashion_cnn.safetensors --data fashion-mnist
"""

import sys

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def build() -> nn.Module:
    """Return the network: x [B, 1, 28, 28] -> class scores [B, 10]."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(1568, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def train(model: nn.Module, x: Tensor, labels: Tensor, epochs: int, batch: int = 128, rate: float = 4e-3) -> nn.Module:
    """Train with Adam, whose learning rate rises and falls; every second batch is mirrored."""
    optimiser = torch.optim.Adam(model.parameters(), rate, fused=True)
    updates = epochs * -(-len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=updates)
    for _ in range(epochs):
        for k, some in enumerate(torch.randperm(len(x)).split(batch)):
            loss = F.cross_entropy(model(x[some].flip(-1) if k % 2 else x[some]), labels[some])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval()


def main() -> None:
    from safetensors.torch import save_file

    from ranvier.data import load

    torch.manual_seed(0)
    given = load("fashion-mnist")
    model = train(build(), *given.train, epochs=8)
    with torch.no_grad():
        right = torch.cat([model(x).argmax(1) for x in given.validation.x.split(1000)]) == given.validation.labels
    print(f"validation accuracy {right.float().mean().item():.2%}")
    save_file(model.state_dict(), sys.argv[1] if len(sys.argv) > 1 else "fashion_cnn.safetensors")


if __name__ == "__main__":
    main()
