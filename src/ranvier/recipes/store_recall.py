"""One bit of a sequence is marked, and must be recalled at the end: a task that needs memory over about a hundred
steps.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn

from ranvier.data import Split, Splits
from ranvier.nn.linear import Linear
from ranvier.nn.neurons.adaptive import ALIF
from ranvier.nn.neurons.leaky import LI
from ranvier.nn.recurrent import Recurrent
from ranvier.nn.sequential import Sequential
from ranvier.online import Learner
from ranvier.recipes.recipe import Recipe
from ranvier.surrogate import triangular
from ranvier.train import loss, metric

CELLS = 10  # number of input neurons for each of: a bit of 0, a bit of 1, store, recall


@dataclass(frozen=True)
class Net:
    """hidden: number of neurons. beta, rho, readout_beta: decays per step of the membrane, of the adaptation (the
    memory) and of the readout. kappa: rise of the threshold with a spike. slope: that of the surrogate.
    """

    hidden: int = 40
    beta: float = 0.9
    rho: float = 0.995
    kappa: float = 0.1
    readout_beta: float = 0.9
    slope: float = 1.0


@dataclass(frozen=True)
class AtTheEnd:
    """A loss or a metric that uses only the last steps."""

    score: Callable[..., Any]
    steps: int

    def __call__(self, traces: Tensor, labels: Tensor) -> Any:
        return self.score(traces[-self.steps :], labels)


@dataclass(frozen=True)
class StoreRecall(Recipe):
    """Store and recall: which bit was shown together with "store"? There is a bit in every slot; "recall" comes in the
    last slot.

    gradient: one of `ranvier.online.GRADIENTS` ("bptt", "eprop", ...); feedback: how the error reaches the hidden
    neurons ("symmetric", "random", "adaptive"). slots: number of slots; each has `shown` steps, so `steps` must be
    slots * shown. The last slot is the recall; "store" comes in one of the slots before it. max_rate: probability of a
    spike per step for an active cell. Bellec et al., A solution to the learning dilemma for recurrent networks of
    spiking neurons, 2020.
    """

    name: ClassVar[str] = "store-recall"
    gradient: str = "eprop"
    feedback: str = "symmetric"
    data: str = "store-recall"
    encoding: str = "rate"
    slots: int = 6
    shown: int = 20
    steps: int = 120
    samples: int = 640
    max_rate: float = 0.2
    epochs: int = 40
    batch: int = 32
    lr: float = 1e-2
    weight_decay: float = 0.0
    smoothing: float = 0.0
    net: Net = field(default_factory=Net)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.slots < 2 or self.shown < 1 or self.steps != self.slots * self.shown:
            raise ValueError(
                f"steps must be slots * shown = {self.slots * self.shown} with at least 2 slots, got steps={self.steps}"
            )
        if self.encoding != "rate":
            raise ValueError(f"{self.name} needs encoding rate, got {self.encoding}")

    def splits(self, folder: str | Path | None = None) -> Splits:
        """Return x `[N, slots + 1]`, the bit of each slot and the number of the slot that must be stored, and labels,
        the bits of these slots.
        """
        counts = (self.samples, 160, 320)
        return Splits(*(self._draw(n, Generator().manual_seed(40 + k)) for k, n in enumerate(counts)))

    def _draw(self, count: int, draws: Generator) -> Split:
        bits = torch.randint(0, 2, (count, self.slots), generator=draws)
        store = torch.randint(0, self.slots - 1, (count, 1), generator=draws)
        return Split(torch.cat([bits, store], 1).float(), bits.gather(1, store).squeeze(1))

    def build(self) -> nn.Module:
        n = self.net
        neuron = ALIF(beta=n.beta, rho=n.rho, kappa=n.kappa, reset="subtract", surrogate=triangular(n.slope))
        net = Sequential(
            Linear(4 * CELLS, n.hidden, bias=False), Recurrent(neuron, n.hidden),
            Linear(n.hidden, 2), LI(beta=n.readout_beta),
        )  # fmt: skip
        nn.init.normal_(net[0].weight, 0.0, 1.0 / (0.2 * CELLS) ** 0.5 / 2)  # type: ignore[arg-type]
        return Learner(net, self.gradient, self.feedback)

    def encode(self, x: Tensor, generator: Generator) -> Tensor:
        """Encode x `[B, slots + 1]` as spikes `[T, B, 40]`: ten cells each for bit 0, bit 1, store and recall."""
        bits, store = x[:, :-1], x[:, -1].long()
        slot = torch.arange(self.slots, device=x.device)
        asks = (slot == self.slots - 1).expand(len(x), -1)
        parts = [(bits == 0) & ~asks, (bits == 1) & ~asks, slot == store.unsqueeze(1), asks]
        active = torch.stack(parts, 2).to(x.dtype).repeat_interleave(CELLS, 2)  # [B, slots, cells]
        active = active.repeat_interleave(self.shown, 1)
        return (
            (torch.rand(active.shape, generator=generator, dtype=x.dtype, device=x.device) < active * self.max_rate)
            .to(x)
            .transpose(0, 1)
        )

    def loss(self) -> loss.Loss:
        """Return the loss: cross-entropy of the readout's mean over the last slot."""
        return AtTheEnd(loss.mean_crossentropy(self.smoothing), self.shown)

    def metric(self) -> Any:
        return AtTheEnd(metric.integral_accuracy(), self.shown)
