"""Draws docs/raster.png: ten digits shown one after the other to a small trained network."""

from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import torch
from torch import nn

import ranvier as rv
from ranvier import plot

STEPS = 15  # per digit


def main() -> None:
    torch.manual_seed(0)
    splits = rv.data.digits()
    x, labels = splits.train.x.flatten(1), splits.train.labels
    net = rv.Sequential(nn.Linear(64, 96), rv.ALIF(), nn.Linear(96, 10), rv.LI(beta=0.8))
    optimiser, loss = torch.optim.AdamW(net.parameters(), 5e-3), rv.loss.integral_crossentropy()
    for _ in range(15):
        for batch in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            loss(net(x[batch].expand(STEPS, -1, -1)), labels[batch]).backward()
            optimiser.step()
    test = splits.test
    shown = torch.stack([test.x[test.labels == digit][1].flatten() for digit in range(10)])  # one sample of each digit
    current = shown.repeat_interleave(STEPS, 0).unsqueeze(1)  # [T, 1, 64]
    spikes, membranes = rv.record(net, current, "z")["1"][:, 0], net(current)[:, 0].detach()
    plt.rcParams.update({"axes.labelsize": 12, "xtick.labelsize": 11, "ytick.labelsize": 11})
    figure, axes = plt.subplots(
        3, 1, figsize=(7, 4.6), sharex=True, height_ratios=[0.9, 3, 1.6], layout="constrained", facecolor="white"
    )
    for digit, pixels in enumerate(shown):
        box = (digit * STEPS + 4, digit * STEPS + STEPS - 4, 0, 1)
        axes[0].imshow(pixels.view(8, 8), cmap="gray_r", extent=box, aspect="auto")
    axes[0].set(ylim=(0, 1))
    axes[0].axis("off")
    plot.raster(spikes, axes[1], most=96, linewidths=2.0, linelengths=1.2)
    axes[1].set(ylabel="neuron", xlabel="")
    for digit in range(10):
        axes[2].plot(membranes[:, digit], lw=1.4)
        at = digit * STEPS + STEPS - 3
        winner = int(membranes[at].argmax())
        axes[2].annotate(str(winner), (at, membranes[at, winner]), ha="center", va="bottom", fontsize=13, weight="bold")
    axes[2].set(ylabel="readout", xlabel="step", xlim=(-0.5, 10 * STEPS - 0.5))
    axes[2].spines[["top", "right"]].set_visible(False)
    figure.savefig(Path(__file__).with_name("raster.png"), dpi=160)


if __name__ == "__main__":
    main()
