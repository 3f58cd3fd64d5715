"""A training step of a recurrent net, 700-256-20, T=100, batch 64, on input of 5 % density and on dense input.

Limit: its matrix products alone (input and feedback at every tick; forward and both gradients), as torch does them.
"""

import torch
from measure import interleaved, median
from torch import nn

import ranvier as rv


def main(quick: bool = False) -> None:
    steps, batch = (20, 16) if quick else (100, 64)
    net = rv.Sequential(rv.Linear(700, 256), rv.Recurrent(rv.LIF(), 256), rv.Linear(256, 20), rv.LI())
    labels, loss = torch.randint(20, (batch,)), rv.loss.integral_crossentropy()

    def train(x):
        net.zero_grad()
        loss(net(x), labels).backward()

    print("| input | threads | fused ms | eager loop ms | ratio | products alone ms |")
    print("|---|---|---|---|---|---|")
    spikes = (torch.rand(steps, batch, 700) < 0.05).float()
    for name, x in (("5 % spikes", spikes), ("dense", torch.rand(steps, batch, 700))):
        for threads in (1, 2):
            torch.set_num_threads(threads)

            def eager(x=x):
                with rv.machine("reference"):
                    train(x)

            (fused,) = interleaved(lambda x=x: train(x), repeats=3 if quick else 7)
            slow, limit = median(eager, 2, 1), median(lambda x=x: products(x), 3)
            print(
                f"| {name} | {threads} | {fused * 1e3:.0f} | {slow * 1e3:.0f} | {slow / fused:.1f}x "
                f"| {limit * 1e3:.0f} |",
                flush=True,
            )


def products(x: torch.Tensor) -> None:
    """The dense products of one step, nothing else."""
    steps, batch, width = x.shape
    first, back, g = torch.rand(256, width), torch.rand(256, 256), torch.rand(steps, batch, 256)
    nn.functional.linear(x, first)
    for t in range(steps):
        g[t] @ back
        g[t] @ back
    flat = g.view(-1, 256)
    flat.t() @ flat
    flat.t() @ x.view(-1, width)
