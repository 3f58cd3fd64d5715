"""Neurons that compete for pictures and so learn, each, a prototype: unsupervised digits."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.machines.threads import spread
from ranvier.plasticity.change import normalise
from ranvier.units import decay


def poisson(chance: Tensor, steps: int, seed: int = 0, first: int = 0) -> Tensor:
    """Spikes that come independently at every tick, with a chance of their own per input.

    chance [B, I] in [0, 1], spikes per tick; gives [T, B, I] in {0, 1}. Sample b is drawn from (seed, first + b): the
    same whatever the batch. Exactly the spikes that `Contest` hears.

    >>> import torch
    >>> from ranvier.plasticity import poisson
    >>> poisson(torch.tensor([[0.0, 1.0]]), steps=3).squeeze(1)
    tensor([[0., 1.],
            [0., 1.],
            [0., 1.]])
    """
    from ranvier.plasticity import contest_kernels

    out = torch.zeros(steps, *_chances(chance, None).shape)
    contest_kernels.spikes(chance.float().contiguous().numpy(), steps, seed, first, out.numpy())
    return out


class Contest(nn.Module):
    """Inputs as Poisson spikes, one layer of neurons of which one may spike per tick, STDP, homeostasis.

    Per tick: v = beta v + sum_i weight x_i, without the sum for `refractory` ticks after a spike; of the neurons with
    v >= threshold + theta the one furthest above spikes; it goes to `reset`, its theta rises by `rise`, all others
    lose `inhibition`. Learning: a spike of input i weakens its synapses by `minus` y, a spike of a neuron strengthens
    its synapses by `plus` x, with nearest-spike traces x of the inputs and y of the neurons, decaying by rho per tick;
    weights stay in [0, 1]; after each sample those of a neuron are scaled to sum to `total`. theta decays by `eta`
    per tick. Membranes, traces and refractoriness begin anew with every sample; weight and theta are what is learned.

    inputs I, neurons N: sizes. seed: of the first weights, uniform. total: default inputs / 10.
    After Diehl & Cook, Front. Comput. Neurosci. 9:99, 2015, with the inhibitory layer folded into `inhibition`.

    `learn(chance)` changes the weights, `forward(chance)` does not: both take chance [B, I], spikes per tick of each
    input, in [0, 1], and give counts [B, N], how often each neuron spiked.

    >>> import torch
    >>> from ranvier.plasticity import Contest
    >>> net = Contest(64, 10)
    >>> net.learn(torch.rand(20, 64) * 0.25, steps=100).shape
    torch.Size([20, 10])
    """

    weight: Tensor
    theta: Tensor

    def __init__(
        self,
        inputs: int,
        neurons: int,
        *,
        beta: float = 0.99,
        threshold: float = 13.0,
        reset: float = 5.0,
        refractory: int = 5,
        inhibition: float = 120.0,
        rise: float = 0.05,
        eta: float = 1 - 1e-7,
        rho: float = float(decay(tau=20.0, dt=1.0)),
        plus: float = 1e-2,
        minus: float = 1e-4,
        total: float | None = None,
        seed: int = 0,
    ):
        super().__init__()
        checks = {"beta": (beta, 0, 1), "eta": (eta, 0, 1), "rho": (rho, 0, 1), "plus": (plus, 0, math.inf)}
        checks |= {"minus": (minus, 0, math.inf), "inhibition": (inhibition, 0, math.inf), "rise": (rise, 0, math.inf)}
        for name, (value, low, high) in checks.items():
            if not low <= value <= high:
                raise ValueError(f"Contest: {name} must lie between {low} and {high}, got {value!r}")
        if not 0 <= reset < threshold:
            raise ValueError(f"Contest: wanted 0 <= reset < threshold, got reset {reset!r}, threshold {threshold!r}")
        if not isinstance(refractory, int) or refractory < 0:
            raise ValueError(f"Contest: refractory counts whole ticks, got {refractory!r}")
        self.constants = (beta, threshold, reset, refractory, inhibition, rise)
        self.rates, self.eta, self.rho = (plus, minus), eta, rho
        self.total = inputs / 10 if total is None else total
        weight = torch.rand(neurons, inputs, generator=torch.Generator().manual_seed(seed))
        normalise(weight, self.total)
        self.register_buffer("weight", weight)
        self.register_buffer("theta", torch.zeros(neurons))

    @torch.no_grad()
    def learn(self, chance: Tensor, steps: int = 250, *, rate: float = 1.0, seed: int = 0, first: int = 0) -> Tensor:
        """Present the samples one after the other, learning from each; rate scales `plus` and `minus`."""
        rows = self.weight.T.contiguous()  # [I, N]
        counts = self._run(chance, steps, seed, first, rows, rate)
        self.weight.copy_(rows.T)
        return counts

    @torch.no_grad()
    def forward(self, chance: Tensor, steps: int = 250, *, seed: int = 0, first: int = 0) -> Tensor:
        """Present the samples without learning."""
        return self._run(chance, steps, seed, first, self.weight.T.contiguous(), None)

    def _run(self, chance: Tensor, steps: int, seed: int, first: int, rows: Tensor, rate: float | None) -> Tensor:
        from ranvier.plasticity import contest_kernels

        x = _chances(chance, self.weight.shape[1]).float().contiguous().numpy()
        if rows.device.type != "cpu":
            raise ValueError(f"Contest runs on the CPU, but its weight is on {rows.device}; call net.cpu()")
        counts = torch.zeros(len(x), len(self.theta), dtype=torch.int32)
        out, weight, theta = counts.numpy(), rows.numpy(), self.theta.numpy()
        real = contest_kernels.real
        fade = (self.rho ** torch.arange(steps + 1, dtype=torch.float64)).float().numpy()
        beta, threshold, reset, refractory, inhibition, rise = self.constants
        constants = real(beta), real(threshold), real(reset), refractory, real(inhibition), real(rise)
        rates = tuple(real(r * (rate or 0.0)) for r in self.rates)
        after = real(self.total), real(self.eta**steps), rate is not None

        def work(lo: int, hi: int) -> None:
            given = x[lo:hi], steps, seed, first + lo, weight, theta, constants, rates, fade
            contest_kernels.contest(*given, *after, out[lo:hi])

        if rate is None:
            spread(work, len(x), 16, worth=True)
        else:
            work(0, len(x))  # each sample meets the weights that the one before left
        return counts

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}"


def name(counts: Tensor, labels: Tensor, classes: int) -> Tensor:
    """The class to which each neuron responds most: counts [S, N] of labelled samples [S] -> [N], in 0..classes - 1.

    >>> import torch
    >>> from ranvier.plasticity import name
    >>> name(torch.tensor([[3, 0], [0, 2]]), torch.tensor([1, 0]), classes=2)
    tensor([1, 0])
    """
    return _mean_by(counts, labels, classes).argmax(0)


def vote(counts: Tensor, names: Tensor, classes: int) -> Tensor:
    """How strongly the neurons of each class respond, on average: counts [B, N], names [N] -> [B, classes].

    >>> import torch
    >>> from ranvier.plasticity import vote
    >>> vote(torch.tensor([[3, 1, 0]]), torch.tensor([1, 1, 0]), classes=2)
    tensor([[0., 2.]])
    """
    return _mean_by(counts.T, names, classes).T


def _mean_by(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Mean of the rows of each group: values [S, N], group [S] -> [groups, N]; 0 where a group is empty."""
    member = nn.functional.one_hot(group, groups).T.float()
    return member @ values.float() / member.sum(1, keepdim=True).clamp(min=1)


def _chances(chance: Any, inputs: int | None) -> Tensor:
    if not isinstance(chance, Tensor) or not chance.is_floating_point() or chance.dim() != 2:
        got = tuple(chance.shape) if isinstance(chance, Tensor) else type(chance).__name__
        raise ValueError(f"chance must be a floating-point tensor [B, I] of spikes per tick, got {got}")
    if inputs is not None and chance.shape[1] != inputs:
        raise ValueError(f"chance is {tuple(chance.shape)}, but the net has {inputs} inputs")
    if not bool(((chance >= 0) & (chance <= 1)).all()):
        raise ValueError("chance is a chance per tick, in [0, 1]; scale the input first")
    return chance
