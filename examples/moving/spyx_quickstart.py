"""Spyx's quickstart: a hidden layer of LIF neurons and a leaky readout. Beside it, in `original/`, the flax program."""

import numpy as np
import torch

from ranvier.compat.spyx import axn, fn, nn


def draws(steps: int) -> tuple[list, list]:
    """Weights, and a batch for each step: one of the first three channels fires often, which one?"""
    random = np.random.RandomState(0)
    weights = [random.randn(8, 32).astype("float32"), random.randn(32, 3).astype("float32") / 3]
    batches = []
    for _ in range(steps):
        labels = random.randint(3, size=32)
        chance = np.full((32, 8), 0.05)
        chance[np.arange(32), labels] = 0.5
        batches.append(((random.rand(16, 32, 8) < chance).astype("float32"), labels))
    return weights, batches


def main(steps: int = 3) -> list[float]:
    weights, batches = draws(steps)
    model = nn.Sequential(
        torch.nn.Linear(8, 32, bias=False),
        nn.LIF((32,), beta=0.9, activation=axn.triangular()),
        torch.nn.Linear(32, 3, bias=False),
        nn.LI((3,)),
    )
    for layer, weight in zip((model.layers[0], model.layers[2]), weights, strict=True):
        layer.weight.data = torch.from_numpy(weight.T.copy())
    criterion = fn.integral_crossentropy(time_axis=0)
    adam = torch.optim.Adam(model.parameters(), lr=2e-3)
    losses = []
    for x, labels in batches:
        loss = criterion(nn.run(model, torch.from_numpy(x))[0], torch.from_numpy(labels))
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    return losses
