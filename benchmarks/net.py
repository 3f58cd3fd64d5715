"""A training step of 784-512-10, T=25, batch 128, on rate-coded input: what one step of digits costs.

Against the same net as plain loops over ticks, on torch's layers. Limit: the dense products of the step as torch does
them, of which products by events need only a part. Spikes are compared with the reference's before anything is timed.
"""

from functools import partial

import torch
from measure import interleaved
from torch import nn
from torch.nn import functional

import ranvier as rv

STEPS, BATCH = 25, 128


class Spike(torch.autograd.Function):
    """1 where u >= 0, with the slope of the arc tangent."""

    @staticmethod
    def forward(ctx, u):
        ctx.save_for_backward(u)
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx, g):
        (u,) = ctx.saved_tensors
        return g / (1 + (torch.pi * u).square())


def loop(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The net tick by tick: a LIF, then a leaky readout."""
    hidden, readout = net[0], net[2]
    current = functional.linear(x.flatten(0, 1), hidden.weight, hidden.bias).unflatten(0, x.shape[:2])
    v, m, trace = torch.zeros_like(current[0]), torch.zeros(x.shape[1], 10), []
    for x_t in current.unbind(0):
        v = 0.9 * v + x_t
        z = Spike.apply(v - 1)
        v = v - z
        m = 0.9 * m + functional.linear(z, readout.weight, readout.bias)
        trace.append(m)
    return torch.stack(trace)


def main(quick: bool = False) -> None:
    print("| density | threads | ranvier ms | plain loop ms | ratio | dense products alone ms |")
    print("|---|---|---|---|---|---|")
    net = rv.Sequential(rv.Linear(784, 512), rv.LIF(beta=0.9), rv.Linear(512, 10), rv.LI(beta=0.9))
    labels, loss = torch.randint(10, (BATCH,)), rv.loss.integral_crossentropy()
    with torch.no_grad():
        net[0].weight.mul_(2)  # so that hidden neurons spike
    for share in (0.1,) if quick else (0.05, 0.1, 0.2):
        x = (torch.rand(STEPS, BATCH, 784) < share).float()
        assert (net(x) - loop(net, x)).norm() <= 1e-2 * net(x).norm(), "the nets differ"

        def step(forward, x=x):
            net.zero_grad()
            loss(forward(x), labels).backward()

        rows, wide, g = x.view(-1, 784), net[0].weight.detach(), torch.rand(STEPS * BATCH, 512)
        for threads in (1, 2):
            torch.set_num_threads(threads)
            ours, plain, limit = interleaved(
                lambda step=step: step(net),
                lambda step=step: step(partial(loop, net)),
                lambda rows=rows, wide=wide, g=g: (rows @ wide.t(), g.t() @ rows),
                repeats=3 if quick else 9,
            )
            print(
                f"| {share} | {threads} | {ours * 1e3:.1f} | {plain * 1e3:.1f} | {plain / ours:.1f}x "
                f"| {limit * 1e3:.1f} |",
                flush=True,
            )
