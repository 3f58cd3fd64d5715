"""What conversion costs on real data."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ranvier.convert import convert, quantised, report

pytestmark = pytest.mark.slow
DOCS = Path(__file__).parents[2] / "docs"


def script(name):
    """A script of the docs as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def fashion():
    from ranvier.data import load

    try:
        return load("fashion-mnist")
    except FileNotFoundError as lacking:
        pytest.skip(str(lacking))


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def train(model, x, labels, epochs, rate):
    optimiser = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=epochs * -(-len(x) // 64))
    for _ in range(epochs):
        for some in torch.randperm(len(x)).split(64):
            moved = torch.roll(x[some], torch.randint(-1, 2, (2,)).tolist(), (2, 3))
            loss = F.cross_entropy(model(moved), labels[some])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval()


def test_digits():
    pytest.importorskip("sklearn")
    from ranvier.data import load

    torch.manual_seed(0)
    splits = load("digits")
    model = train(cnn(), *splits.train, epochs=30, rate=4e-3)
    found = report(convert(model, splits.train.x[:512]), model, *splits.test, steps=(4, 32, 128))
    print(found)
    assert found.trained >= 0.975
    assert found.accuracy[32] > found.trained - 0.01 and found.accuracy[128] > found.trained - 0.003

    fewer = train(quantised(model, splits.train.x[:512], levels=4), *splits.train, epochs=5, rate=1e-3)
    soon = report(convert(fewer, splits.train.x[:512]), fewer, *splits.test, steps=(4, 8, 32))
    print(soon)
    assert soon.accuracy[4] > 0.96 and soon.accuracy[32] > found.trained - 0.01


def test_fashion_mnist_rates_and_spikes(fashion):
    page = script("rates_and_spikes")
    rows = page.measure(epochs=1)
    print(page.table(rows))
    right = {k: v["accuracy"] for k, v in rows.items()}
    swapped = [right[f"swapped to spikes, dt = {dt}"] for dt in ("0.001", "0.01", "0.1", "1")]
    assert swapped == sorted(swapped) and swapped[-1] > right["rates, no spikes"] - 1 > 80
    assert right["spiking-aware, dt = 0.01"] > swapped[1] + 5


def test_fashion_mnist_convolutions(fashion):
    """The network of `ranvier convert` in the docs, trained for a third as long."""
    page = script("fashion_cnn")
    torch.manual_seed(0)
    model = page.train(page.build(), *fashion.train, epochs=3)
    with torch.no_grad():
        right = torch.cat([model(x).argmax(1) for x in fashion.test.x.split(500)]) == fashion.test.labels
    assert right.float().mean() >= 0.9
    x, labels = (some[:1500] for some in fashion.test)
    found = report(convert(model, fashion.train.x[:512]), model, x, labels, steps=(32, 128))
    print(found)
    assert found.accuracy[32] > found.trained - 0.01 and found.accuracy[128] > found.trained - 0.005  # 7 of 1,500
