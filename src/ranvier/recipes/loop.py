"""The Yin-Yang data set on a simulated analog chip: the chip computes the forward pass, a model the gradients."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn

from ranvier import hardware
from ranvier.data import Splits
from ranvier.nn.neurons.physical import PhysicalLI, PhysicalLIF
from ranvier.nn.sequential import Sequential
from ranvier.recipes.recipe import Recipe, refuse_unused, to_config
from ranvier.surrogate import superspike
from ranvier.train import loss


@dataclass(frozen=True)
class Net:
    """hidden: number of hidden neurons. tau: time constant of membranes and synapses in seconds. slope: that of the
    surrogate. copies: number of synapses for every input; together they have a larger range and a smaller relative
    deviation than one six-bit synapse.
    """

    hidden: int = 200
    tau: float = 6e-6
    slope: float = 5.0
    copies: int = 5


@dataclass(frozen=True)
class Chip:
    """loop: True to train with the chip, False to train only the model. mismatch: relative standard deviation of every
    parameter. noise: standard deviation of the noise of the converter, in its units. seed: determines the chip.
    readout: the chip's weight for a weight of 1 of the model's readout; with a higher one, weights are rounded less and
    membranes are read with less noise, until they saturate.
    """

    loop: bool = True
    mismatch: float = 0.2
    noise: float = 1.0
    seed: int = 7
    readout: float = 50.0


@dataclass(frozen=True)
class YinYangInTheLoop(Recipe):
    """The Yin-Yang data set on a simulated analog chip with 20 % mismatch, trained with the chip in the loop."""

    name: ClassVar[str] = "yinyang-in-the-loop"
    data: str = "yinyang"
    steps: int = 76
    dt: float = 5e-7
    early: float = 2e-6
    late: float = 26e-6
    sharpness: float = 20.0
    epochs: int = 60
    batch: int = 40
    lr: float = 1e-2
    smoothing: float = 0.0
    weight_decay: float = 0.0
    net: Net = field(default_factory=Net)
    chip: Chip = field(default_factory=Chip)

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_unused(self, "encoding")

    def build(self) -> nn.Module:
        inputs, hidden = 5 * self.net.copies, self.net.hidden
        taus: dict[str, Any] = {"tau_mem": self.net.tau, "tau_syn": self.net.tau, "dt": self.dt}
        first, second = nn.Linear(inputs, hidden, bias=False), nn.Linear(hidden, 3, bias=False)
        nn.init.normal_(first.weight, 0.8 / self.net.copies, 0.5 / self.net.copies)
        nn.init.normal_(second.weight, 0.0, 0.1)
        lif = PhysicalLIF(surrogate=superspike(self.net.slope), detach_reset=True, **taus)
        model = Sequential(first, lif, second, PhysicalLI(**taus))
        if not self.chip.loop:
            return model
        chip = hardware.SimulatedChip(
            [inputs, hidden, 3], tau_mem=self.net.tau, tau_syn=self.net.tau, dt=self.dt, mismatch=self.chip.mismatch,
            noise=self.chip.noise, seed=self.chip.seed,
        )  # fmt: skip
        layers: Any = [model[1], model[3]]
        return hardware.InTheLoop(model, chip, hardware.calibrate(chip, layers, self.chip.readout))

    def beside(self, splits: Splits, folder: Any, callbacks: Sequence[Any] = (), **trainer: Any) -> dict[str, float]:
        """Train the same network without the chip (in the folder `software`), then copy its weights to the chip."""
        if not self.chip.loop:
            return {}
        from ranvier.train.engine import new_net
        from ranvier.train.evaluate import evaluate, summary
        from ranvier.train.folder import Folder

        alone = replace(self, chip=replace(self.chip, loop=False))
        place = Folder(folder.path / "software")
        place.path.mkdir(exist_ok=True)
        place.write_config(to_config(alone))
        model, on_chip = (new_net(plan, splits.train.x[:1]) for plan in (alone, self))
        rows = alone.fit(model, splits.train, splits.validation, place, callbacks, **trainer)
        answers = evaluate(alone, model, splits.test)
        place.write_result(summary(alone, model, answers, rows))
        on_chip.model.load_state_dict(model.state_dict())  # type: ignore[union-attr]
        moved = evaluate(self, on_chip, splits.test)
        return {"trained and tested in software": answers.accuracy, "those weights on the chip": moved.accuracy}

    def encode(self, x: Tensor, generator: Generator) -> Tensor:
        """Encode x `[B, 4]` in [0, 1] as spikes `[T, B, 5 * copies]`: each coordinate is a spike time between `early`
        and `late`; the fifth input is a bias spike. Each copy is late by another part of a step before it is rounded
        to a step, so the copies together encode times more finely than dt.
        """
        parts = [k / self.net.copies * self.dt for k in range(self.net.copies)]
        times = [(self.early + part, self.late + part) for part in parts]
        bins = [hardware.coordinate_bins(x, self.steps, *each, self.dt, self.early) for each in times]
        return torch.cat(bins, 2)

    def loss(self) -> loss.Loss:
        """Return the loss: cross-entropy of the readout's mean over time, multiplied by `sharpness`."""
        return loss.integral_crossentropy(self.smoothing, temperature=self.steps / self.sharpness)
