"""The continuous network itself, in float64: spike times by root finding, gradients by the implicit function."""

import torch
from torch import Tensor


def kernel(t: Tensor, tau_mem: float, tau_syn: float) -> Tensor:
    """The membrane's response to a unit jump of the current, 0 before it."""
    s = t.clamp(min=0.0)
    c = tau_syn / (tau_syn - tau_mem)
    return torch.where(t > 0, c * (torch.exp(-s / tau_syn) - torch.exp(-s / tau_mem)), 0.0 * t)


def slope(t: Tensor, tau_mem: float, tau_syn: float) -> Tensor:
    s = t.clamp(min=0.0)
    c = tau_syn / (tau_syn - tau_mem)
    return torch.where(t > 0, c * (torch.exp(-s / tau_mem) / tau_mem - torch.exp(-s / tau_syn) / tau_syn), 0.0 * t)


class Cell:
    """One neuron: inputs at `times` with `weights`, its own spikes so far."""

    def __init__(self, times: Tensor, weights: Tensor, tau_mem: float, tau_syn: float, last: float):
        self.times, self.weights, self.taus, self.last = times, weights, (tau_mem, tau_syn), last
        self.spikes: list[Tensor] = []

    def membrane(self, t: Tensor) -> Tensor:
        """v at times t [K]; differentiable by weights, input times and own spikes."""
        v = kernel(t[:, None] - self.times, *self.taus) @ self.weights
        for s in self.spikes:
            v = v - torch.where(t > s, torch.exp(-(t - s).clamp(min=0.0) / self.taus[0]), 0.0 * t)
        return v

    def steep(self, t: Tensor) -> Tensor:
        v = slope(t[:, None] - self.times, *self.taus) @ self.weights
        for s in self.spikes:
            v = v + torch.where(t > s, torch.exp(-(t - s).clamp(min=0.0) / self.taus[0]) / self.taus[0], 0.0 * t)
        return v

    def fire(self, grid: int = 4000) -> list[Tensor]:
        """All spikes, each time differentiable."""
        t = torch.linspace(0.0, self.last, grid, dtype=torch.float64)
        while True:
            with torch.no_grad():
                after = t > (self.spikes[-1] + 1e-9 if self.spikes else -1.0)
                above = ((self.membrane(t) > 1.0) & after).nonzero()
                if not len(above):
                    return self.spikes
                k = int(above[0])
                low, high = t[max(k - 1, 0)].clone(), t[k].clone()
                if self.spikes:
                    low = torch.maximum(low, self.spikes[-1] + 1e-9)
                for _ in range(45):
                    middle = (low + high) / 2
                    low, high = (low, middle) if self.membrane(middle[None])[0] > 1.0 else (middle, high)
            # one step of Newton at the root: its value moves by nothing, its derivative is that of the root
            gap = self.membrane(high[None])[0] - 1.0
            self.spikes.append(high - (gap - gap.detach()) / self.steep(high[None])[0].detach())

    def peak(self, grid: int = 4000) -> Tensor:
        """The largest membrane; its derivative is taken at that place."""
        with torch.no_grad():
            t = torch.linspace(0.0, self.last, grid, dtype=torch.float64)
            t = torch.cat([t, self.times])  # a kink where an input arrives may be the top
            k = t[self.membrane(t).argmax()]
            fine = torch.linspace(-1, 1, 2001, dtype=torch.float64) * self.last / grid + k
            fine = fine[(fine >= 0) & (fine <= self.last)]
            best = fine[self.membrane(fine).argmax()]
        return self.membrane(best[None])[0]


def network(
    times: Tensor, w1: Tensor, w2: Tensor, tau_mem: float, tau_syn: float, last: float, readout: str
) -> tuple[Tensor, Tensor]:
    """times [inputs] of one sample -> scores [classes], and how often each hidden neuron fired."""
    hidden = [Cell(times, w, tau_mem, tau_syn, last).fire() for w in w1]
    counts = torch.tensor([len(h) for h in hidden])
    spikes = torch.stack([s for h in hidden for s in h])
    source = torch.repeat_interleave(torch.arange(len(w1)), counts)
    cells = [Cell(spikes, w[source], tau_mem, tau_syn, last) for w in w2]
    if readout == "max":
        return torch.stack([c.peak() for c in cells]), counts
    first = [c.fire() for c in cells]
    late = torch.tensor(last, dtype=torch.float64)
    return -torch.stack([f[0] if f else late for f in first]) / 0.2, counts
