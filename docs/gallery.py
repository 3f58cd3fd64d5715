"""Draws the pictures of the gallery: run `python docs/gallery.py`, then look at every picture."""

from collections.abc import Iterator
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import torch
from matplotlib import pyplot
from torch import nn

import ranvier as rv
from ranvier import plot
from ranvier.train.energy import energy

HERE = Path(__file__).parent / "gallery"


def trained() -> tuple[nn.Module, torch.Tensor, dict]:
    """Return a small net trained on handwritten digits, one digit as a sequence, and the loss of each epoch."""
    splits = rv.data.digits()
    net = rv.Sequential(nn.Linear(64, 40), rv.ALIF(), nn.Linear(40, 10), rv.LI(beta=0.9))
    adam, loss = torch.optim.Adam(net.parameters(), 5e-3), rv.loss.mean_crossentropy()
    history: dict = {"train": [], "validation": []}
    for _ in range(12):
        for batch in torch.randperm(len(splits.train.x)).split(64):
            adam.zero_grad()
            value = loss(net(splits.train.x[batch].flatten(1).expand(20, -1, -1)), splits.train.labels[batch])
            value.backward()
            adam.step()
        history["train"].append(value.item())
        with torch.no_grad():
            x = splits.validation.x.flatten(1).expand(20, -1, -1)
            history["validation"].append(loss(net(x), splits.validation.labels).item())
    return net, splits.test.x[:1].flatten(1).expand(60, -1, -1), history


def pictures() -> Iterator[tuple[str, object]]:
    torch.manual_seed(0)
    net, x, history = trained()
    spikes, v = rv.record(net, x, "z")["1"][:, 0], rv.record(net, x, "v")["1"][:, 0]
    yield "raster", plot.raster(spikes)
    busy = spikes.sum(0).argsort(descending=True)[:4]
    yield "membranes", plot.membranes(v[:, busy], spikes[:, busy], threshold=1.0)
    yield "histogram", plot.histogram(spikes.mean(0))
    later = spikes[:, busy].roll(1, 0) * (torch.rand(60, 4) > 0.2)
    yield "comparison", plot.comparison(spikes[:, busy], later, names=("measured", "model"))
    yield "traces", plot.traces(net(x)[:, 0].detach(), highlight=int(net(x).sum(0).argmax()))
    yield "curve", plot.curve(history, label="loss")
    axes = plot.fi_curve(rv.LIF(), torch.linspace(0, 0.6, 60))
    plot.fi_curve(rv.ALIF(), torch.linspace(0, 0.6, 60), axes)
    yield "fi_curve", axes
    yield "phase_plane", plot.phase_plane(rv.ALIF(rho=0.98, kappa=0.15), current=0.25)
    yield "weights", plot.weights(net[2].weight)
    yield "fields", plot.fields(net[0].weight, shape=(8, 8), most=24)
    x_test = rv.data.digits().test
    answers = net(x_test.x.flatten(1).expand(20, -1, -1)).sum(0).argmax(1)
    yield "confusion", plot.confusion(torch.bincount(x_test.labels * 10 + answers, minlength=100).view(10, 10))
    yield "network", plot.network(net, rates={"1": spikes.detach().mean()})
    yield "energy_bars", plot.energy_bars(energy(net, x))
    plot.animation(spikes[:24].view(24, 5, 8), HERE / "animation.gif")


def main() -> None:
    HERE.mkdir(exist_ok=True)
    for name, axes in pictures():
        axes.figure.set_size_inches(6.0, 3.6)
        axes.figure.savefig(HERE / f"{name}.png", dpi=100, metadata={"Description": plot.alt_text(axes)})
        pyplot.close(axes.figure)
        print(f"{name}: {plot.alt_text(axes)}")


if __name__ == "__main__":
    main()
