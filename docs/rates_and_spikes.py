"""Trains the networks of docs/rates-and-spikes.md, and writes its table and its figure.

python docs/rates_and_spikes.py            ten epochs each, about five minutes on one core
python docs/rates_and_spikes.py --epochs 1 --to /tmp    a short run, written to another folder
"""

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import ranvier as rv
from ranvier.convert import MeanOverTime, SpikingActivation, rate_penalty, steps_of
from ranvier.data import load

HERE = Path(__file__).parent
STEPS, TARGET = 10, 20.0  # number of steps per picture; target rate in Hz


class LastLevel(nn.Module):
    """A low-pass filter whose output is its value after the last step."""

    def __init__(self):
        super().__init__()
        self.filter = rv.Lowpass(tau=0.1, dt=0.01, learn=("tau", "level"), shape=128)

    def forward(self, x: Tensor) -> Tensor:
        return self.filter(x)[-1]


class Net(nn.Module):
    """784-128-10: x [B, 784] -> class scores [B, 10], and the spikes between [T, B, 128]."""

    def __init__(self, dt: float, aware: bool, pool: nn.Module):
        super().__init__()
        self.hidden, self.out, self.pool = nn.Linear(784, 128), nn.Linear(128, 10), pool
        self.spikes = SpikingActivation(nn.ReLU(), dt, aware=aware)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        current = self.hidden(x)
        z = self.spikes(current.expand(STEPS, *current.shape))
        return self.out(self.pool(z)), z


def train(net: Net, x: Tensor, labels: Tensor, epochs: int, penalty: float = 0.0) -> Net:
    optimiser = torch.optim.Adam(net.parameters(), fused=True)
    for _ in range(epochs):
        for now, wanted in zip(x.split(32), labels.split(32), strict=True):
            scores, z = net(now)
            loss = F.cross_entropy(scores, wanted)
            if penalty:
                loss = loss + penalty * rate_penalty(z, TARGET)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return net


@torch.no_grad()
def test(net: Net, x: Tensor, labels: Tensor, spikes: bool = True) -> dict[str, float]:
    """Return the accuracy in %, and the mean and highest rate of the 128 neurons in Hz."""
    net.train(not spikes)
    scores, rates = zip(*((s, z.mean(0)) for s, z in map(net, x.split(1000))), strict=True)
    net.train()
    rate = torch.cat(rates)
    right = (torch.cat(scores).argmax(1) == labels).float().mean().item()
    return {"accuracy": 100 * right, "mean rate": rate.mean().item(), "highest rate": rate.max().item()}


def measure(epochs: int) -> dict[str, dict[str, float]]:
    splits = load("fashion-mnist")
    x = torch.cat([splits.train.x, splits.validation.x]).flatten(1)  # the published setting trains on all 60,000
    labels = torch.cat([splits.train.labels, splits.validation.labels])
    seen = splits.test.x.flatten(1), splits.test.labels
    rows = {}

    def begin(**settings) -> Net:
        torch.manual_seed(0)
        return Net(**settings)

    rates = train(begin(dt=1.0, aware=False, pool=MeanOverTime()), x, labels, epochs)
    rows["rates, no spikes"] = test(rates, *seen, spikes=False)
    for dt in (1.0, 0.1, 0.01, 0.001):
        with steps_of(rates, dt):
            rows[f"swapped to spikes, dt = {dt:g}"] = test(rates, *seen)
    aware = dict(dt=0.01, aware=True, pool=MeanOverTime())
    rows["spiking-aware, dt = 0.01"] = test(train(begin(**aware), x, labels, epochs), *seen)
    penalised = train(begin(**aware), x, labels, epochs, 1e-3)
    rows["spiking-aware, with a target rate of 20 Hz"] = test(penalised, *seen)
    low = train(begin(dt=0.01, aware=True, pool=LastLevel()), x, labels, epochs)
    rows["spiking-aware, with a low-pass filter instead of the mean"] = test(low, *seen)
    return rows


def table(rows: dict[str, dict[str, float]]) -> str:
    lines = ["| | test accuracy | mean rate | highest rate |", "|---|---:|---:|---:|"]
    for name, row in rows.items():
        lines.append(f"| {name} | {row['accuracy']:.2f} % | {row['mean rate']:.2f} Hz | {row['highest rate']:.0f} Hz |")
    return "\n".join(lines)


def draw(rows: dict[str, dict[str, float]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    swapped = {float(k.split("=")[1]): v["accuracy"] for k, v in rows.items() if k.startswith("swapped")}
    ax.semilogx(list(swapped), list(swapped.values()), "o-", label="trained on rates, swapped to spikes")
    ax.axhline(rows["rates, no spikes"]["accuracy"], color="0.6", linestyle=":", label="rates, no spikes")
    ax.plot(0.01, rows["spiking-aware, dt = 0.01"]["accuracy"], "s", label="spiking-aware training")
    low = rows["spiking-aware, with a low-pass filter instead of the mean"]
    ax.plot(0.01, low["accuracy"], "^", label="with a low-pass filter")
    ax.set(xlabel="dt: length of a step in seconds (10 steps per picture)", ylabel="test accuracy (%)", ylim=(0, 100))
    ax.legend(loc="lower right", frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    plt.rcParams["svg.hashsalt"] = "ranvier"
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--to", type=Path, default=HERE, help="folder of the page")
    given = parser.parse_args()
    rows = measure(given.epochs)
    print(table(rows))
    (given.to / "rates-and-spikes.json").write_text(json.dumps(rows, indent=1) + "\n")
    draw(rows, given.to / "rates-and-spikes.svg")


if __name__ == "__main__":
    main()
