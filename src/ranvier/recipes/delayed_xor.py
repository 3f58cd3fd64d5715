"""A task with delayed reward, learned by reward-modulated STDP with eligibility trace (MSTDPET)."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from ranvier.data import Split, rate
from ranvier.nn.neurons.leaky import LIF
from ranvier.nn.recurrent import Recurrent
from ranvier.nn.sequential import Sequential
from ranvier.plasticity import Dense, Lateral, Trace, rewarded
from ranvier.recipes.recipe import Recipe

CELLS = 10  # number of input neurons for each value of each bit
SHOWN = 10  # number of steps for which a cue is shown


@dataclass(frozen=True)
class Net:
    """hidden: number of hidden neurons, each for one pair of values. beta: decay of the output neurons. inhibition:
    strength of the inhibition between the output neurons. total: sum of the weights into each output neuron.
    """

    hidden: int = 40
    beta: float = 0.95
    inhibition: float = 10.0
    total: float = 1.5


@dataclass(frozen=True)
class Learning:
    """rate: change of a weight per reward and event. eligible: decay of the eligibility trace per step. explore:
    standard deviation of the noise on the output neurons during learning.
    """

    rate: float = 0.02
    eligible: float = 0.95
    explore: float = 0.1


@dataclass(frozen=True)
class DelayedXOR(Recipe):
    """Two cues, one after the other, and a reward at the end if the answer was their XOR: learned by MSTDPET.

    gap: number of steps between the two cues. The first cue is delayed by the same number of steps, so both
    arrive together. The answers are learned only from rewards, one per episode, at its last step. lr, weight_decay and
    smoothing are not used.
    """

    name: ClassVar[str] = "delayed-xor"
    data: str = "xor"
    encoding: str = "rate"
    steps: int = 50
    epochs: int = 12
    batch: int = 32
    gap: int = 20
    max_rate: float = 0.6
    net: Net = field(default_factory=Net)
    learning: Learning = field(default_factory=Learning)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data != "xor" or self.encoding != "rate":
            got = f"{self.data} with encoding {self.encoding}"
            raise ValueError(f"{self.name} learns from xor with encoding rate, got {got}")
        if not SHOWN <= self.gap <= self.steps - SHOWN:
            raise ValueError(f"gap must lie between {SHOWN} and steps - {SHOWN} = {self.steps - SHOWN}, got {self.gap}")

    def build(self) -> nn.Module:
        hidden, inputs = self.net.hidden, 4 * CELLS
        early = torch.arange(inputs) < 2 * CELLS  # the cells of the first bit, whose spikes are delayed
        pairs = Dense(inputs, hidden, delay=torch.where(early, self.gap, 0).expand(hidden, inputs))
        n = torch.arange(hidden)  # each hidden neuron gets input from one cell of each bit; all pairs of values occur
        first, second = n % (2 * CELLS), 2 * CELLS + n // (2 * CELLS) % 2 * CELLS + n % CELLS
        pairs.weight.zero_()
        pairs.weight[n, first] = pairs.weight[n, second] = 0.7
        choice = Dense(hidden, 2, distribution="constant", bounds=(0.0, None), total=self.net.total)
        choosing = Recurrent(LIF(beta=self.net.beta, reset="zero"), Lateral(self.net.inhibition))
        return Sequential(pairs, LIF(beta=0.2), choice, choosing)

    def encode(self, x: Tensor, generator: Generator) -> Tensor:
        """Encode bits `[B, 2]` as spikes `[T, B, 40]`: ten cells for each value of each bit; the second bit comes `gap`
        steps later.
        """
        cells = functional.one_hot(x.long(), 2).flatten(1).repeat_interleave(CELLS, 1).to(x.dtype)
        spikes = rate(cells, self.steps, self.max_rate, generator)
        step = torch.arange(self.steps, device=x.device).view(-1, 1, 1)
        begin = torch.tensor([0, self.gap], device=x.device).repeat_interleave(2 * CELLS)
        return spikes * ((step >= begin) & (step < begin + SHOWN))

    def fit(
        self, net: nn.Module, train: Split, validation: Split, folder: Any, callbacks: Sequence[Any] = (),
        **trainer: Any,
    ) -> list[dict[str, float]]:  # fmt: skip
        """Run episodes and change the weights by their rewards; figures and weights are written after every epoch."""
        from ranvier.train.batches import batches as drawn
        from ranvier.train.batches import mix

        if trainer.get("accelerator", "auto") not in ("auto", "cpu"):
            raise ValueError(f"{self.name} learns on the CPU; leave out --accelerator {trainer['accelerator']}")
        consoles = [c.console for c in callbacks if hasattr(c, "console")]
        rows = folder.read_metrics() if folder.metrics.is_file() else []
        if rows:
            folder.read_weights(net)
        expected, start = rows[-1]["expected_reward"] if rows else 0.0, time.perf_counter()
        before, batches = rows[-1]["seconds"] if rows else 0.0, drawn(train, self.batch, self.seed)
        for epoch in range(len(rows), self.epochs):
            batches.set_epoch(epoch)
            rights = []
            for index, (x, labels) in enumerate(batches):
                generator = Generator().manual_seed(mix(self.seed, "train", epoch, index))
                right = self.episodes(net, self.encode(x, generator), labels, expected, generator).float().mean().item()
                expected += 0.1 * (2.0 * right - 1.0 - expected)
                rights.append(right)
            shown = self.encode(validation.x, Generator().manual_seed(mix(self.seed, "validation", epoch)))
            scores = {
                "train_accuracy": sum(rights) / len(rights),
                "validation_accuracy": self.metric()(net(shown), validation.labels)[0].item(),
                "expected_reward": expected,
            }
            rows.append({"epoch": epoch + 1, "seconds": round(before + time.perf_counter() - start, 3), **scores})
            folder.write_weights(net)
            folder.write_metrics(rows)
            for console in consoles:
                console.print(f"epoch {epoch + 1}/{self.epochs}  validation {scores['validation_accuracy']:.2%}")
        return rows

    @torch.no_grad()
    def episodes(self, net: Any, x: Tensor, labels: Tensor, expected: float, generator: Generator) -> Tensor:
        """Run a batch of episodes x `[T, B, 40]` with one reward each, change the weights, and return which answers
        were right.
        """
        pairs, hidden, choice, choosing = net
        h = hidden(pairs(x))
        noise = self.learning.explore * torch.randn(len(x), x.shape[1], 2, generator=generator)
        noise[: self.gap], noise[self.gap + SHOWN + 5 :] = 0, 0  # noise only while both cues are active
        z = choosing(choice(h) + noise)
        count = z.sum(0)
        right = (count.argmax(1) == labels) & (count[:, 0] != count[:, 1])
        reward = torch.zeros(len(x), x.shape[1])
        reward[-1] = right * 2.0 - 1.0 - expected  # +1 or -1, minus the expected reward
        trace = Trace(rho=0.9)
        change = rewarded(h, z, trace(h), trace(z), reward, minus=0.0, decay=self.learning.eligible)
        choice.change(change, self.learning.rate)
        return right
