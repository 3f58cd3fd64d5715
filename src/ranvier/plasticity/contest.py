"""Neurons that compete for images, so that each learns a prototype: unsupervised learning of digits."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.backends.threads import spread
from ranvier.nn.temporal import Temporal, check_sequence
from ranvier.plasticity.change import normalise
from ranvier.units import decay


class Contest(Temporal):
    """A layer of neurons of which at most one spikes per step; each learns from the inputs before its own spikes.

    Per step: v = beta v + sum_i weight[i] x[i], but without the sum for `refractory` steps after a spike. Of all
    neurons with v >= threshold + theta, only the one that exceeds its threshold most spikes: its v is set to `reset`,
    its theta rises by `rise`, and `inhibition` is subtracted from v of all others. Learning: a spike of an input
    weakens its synapses by minus * y, and a spike of a neuron strengthens its synapses by plus * x. Here x and y are
    nearest-spike traces of the inputs and of the neurons, which decay by rho per step. Weights stay in [0, 1]; after
    each sample the weights of a neuron are scaled so that they sum to `total`. theta decays by `eta` per step. The
    learned values, weight [N, I] and theta [N], are in the state_dict. The state is v and wait (the remaining
    refractory steps).

    inputs, neurons: the sizes I and N. seed: for the random initial weights, which are uniformly distributed. total: I
    / 10 by default. The model follows Diehl & Cook, Front. Comput. Neurosci. 9:99, 2015, but `inhibition` replaces
    their inhibitory layer.

    Spikes x [T, B, I] (float; 0 means no spike) -> spikes z [T, B, N], without gradient. Calling the layer does not
    change weight and theta; `learn` does.

    >>> import torch
    >>> from ranvier.plasticity import Contest
    >>> net = Contest(64, 10)
    >>> net.learn((torch.rand(100, 20, 64) < 0.2).float()).shape
    torch.Size([100, 20, 10])
    """

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
            raise ValueError(f"Contest: refractory counts whole steps, got {refractory!r}")
        self.constants = (beta, threshold, reset, refractory, inhibition, rise)
        self.rates, self.eta, self.rho = (plus, minus), eta, rho
        self.total = inputs / 10 if total is None else total
        weight = torch.rand(neurons, inputs, generator=torch.Generator().manual_seed(seed))
        normalise(weight, self.total)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.register_buffer("theta", torch.zeros(neurons))

    @torch.no_grad()
    def learn(self, x: Tensor, rate: float = 1.0) -> Tensor:
        """Present the samples of x [T, B, I] one after the other, each from the resting state, and learn from each.

        rate: a factor for `plus` and `minus`. Returns the spikes z [T, B, N]. Samples are learned in order, so the
        result does not depend on how they are grouped into batches.
        """
        self._check(x)
        rows = self.weight.T.contiguous()  # [I, N]
        z, _ = self._present(x, rows, self._begin(x), rate)
        self.weight.copy_(rows.T)
        return z

    @torch.no_grad()
    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        self._check(x)
        z, state = self._present(x, self.weight.T.contiguous(), self._begin(x) if state is None else state, None)
        return z, state, {n: z for n in names}

    def _begin(self, x: Tensor) -> dict[str, Tensor]:
        shape = x.shape[1], len(self.theta)
        kinds = {"v": torch.float32, "wait": torch.int32}
        return {name: torch.zeros(shape, dtype=kind, device="cpu") for name, kind in kinds.items()}

    def _check(self, x: Any) -> None:
        check_sequence(self, x)
        if x.dim() != 3 or x.shape[2] != self.weight.shape[1]:
            raise ValueError(f"Contest: input must be [T, B, {self.weight.shape[1]}], got shape {tuple(x.shape)}")
        if x.device.type != "cpu" or self.weight.device.type != "cpu":
            raise ValueError(f"Contest runs on the CPU, but x is on {x.device} and weight on {self.weight.device}")

    def _present(self, x: Tensor, rows: Tensor, state: dict, rate: float | None) -> tuple[Tensor, dict[str, Tensor]]:
        from ranvier.plasticity import contest_kernels

        real, (steps, batch), learning = contest_kernels.real, x.shape[:2], rate is not None
        state = {k: v.clone() for k, v in state.items()}
        if state["v"].shape != (batch, len(self.theta)):
            raise ValueError(
                f"Contest: state 'v' is {tuple(state['v'].shape)}, wanted {(batch, len(self.theta))}; "
                f"pass state=None to begin a new batch"
            )
        z = torch.zeros(steps, batch, len(self.theta), dtype=torch.float32, device="cpu")
        arrays = [a.numpy() for a in (x.float().contiguous(), z, rows, self.theta, state["v"], state["wait"])]
        fade = (self.rho ** torch.arange(steps + 1, dtype=torch.float64, device="cpu")).float().numpy()
        beta, threshold, reset, refractory, inhibition, rise = self.constants
        constants = real(beta), real(threshold), real(reset), refractory, real(inhibition), real(rise)
        rates = tuple(real(r * (rate or 0.0)) for r in self.rates)
        after = real(self.total), real(self.eta**steps), learning

        def work(lo: int, hi: int) -> None:
            contest_kernels.contest(lo, hi, *arrays, constants, rates, fade, *after)  # type: ignore

        if learning:  # in order: each sample starts from the weights after the previous one
            work(0, batch)
        else:
            spread(work, batch, 1, worth=batch * steps > 1000)
        return z.to(x.dtype), state

    def explain(self, x: Any) -> str:
        return "cpu: Numba, spike by spike; learning takes one sample at a time, listening many"

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}"


def name(counts: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the class to which each neuron responds most: spike counts [S, N] of S samples and their labels [S] ->
    [N], in 0..classes - 1.

    >>> import torch
    >>> from ranvier.plasticity import name
    >>> name(torch.tensor([[3, 0], [0, 2]]), torch.tensor([1, 0]), classes=2)
    tensor([1, 0])
    """
    return (votes(labels, classes) @ counts.float()).argmax(0)


def votes(names: Tensor, classes: int) -> Tensor:
    """Return the weight of a linear layer that counts votes: names [N] (the class of each neuron) -> weight [classes,
    N], which takes the mean over the neurons of each class.

    A class without neurons gets no votes.

    >>> import torch
    >>> from ranvier.plasticity import votes
    >>> votes(torch.tensor([1, 1, 0]), classes=2)
    tensor([[0.0000, 0.0000, 1.0000],
            [0.5000, 0.5000, 0.0000]])
    """
    member = nn.functional.one_hot(names, classes).T.float()
    return member / member.sum(1, keepdim=True).clamp(min=1)
