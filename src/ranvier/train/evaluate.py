"""Evaluate a trained network on new data: its answers, firing rates, and one sample step by step."""

import os
import platform
import sys
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import torch
from torch import Generator, Tensor, nn

from ranvier.nn.neurons.timed import TimedLIF
from ranvier.nn.padded import ends, masked, only, within
from ranvier.nn.temporal import Temporal
from ranvier.nn.timed import TimedRecurrent
from ranvier.nn.verbs import record
from ranvier.train.answer import answer
from ranvier.train.batches import batches


@dataclass(frozen=True)
class Evaluation:
    """The results of a network on a whole split.

    loss: a mean over samples. predictions and labels `[N]`; both empty if a recipe has no metric. rates: {layer: spikes
    per step of each neuron `[neurons]`}, a mean over samples. shown: the first sample with a right answer, or the first
    of all. wrong: the first samples with a wrong answer, as (x, label, answer).
    """

    predictions: Tensor
    labels: Tensor
    rates: dict[str, Tensor]
    loss: float = 0.0
    samples: int = 0
    shown: "Watched | None" = None
    wrong: list[tuple[Tensor, int, int]] = field(default_factory=list)

    @property
    def judged(self) -> bool:
        """Whether the recipe has a metric, which decides whether answers are right."""
        return bool(len(self.labels))

    @property
    def correct(self) -> int:
        return int((self.predictions == self.labels).sum())

    @property
    def accuracy(self) -> float:
        return self.correct / len(self.labels)


@dataclass(frozen=True)
class Watched:
    """One sample x `[*features]` in the network: {layer: spikes `[T, *features]`} and the readout's traces `[T, ...]`.

    label: its class; None if it has none.
    """

    x: Tensor
    label: int | None
    spikes: dict[str, Tensor]
    traces: Tensor


WRONG = 24  # largest number of samples with a wrong answer that are kept


def evaluate(plan: Any, net: nn.Module, split: Any) -> Evaluation:
    """Return the network's answers on a whole split, and the firing rates of its layers. Afterwards the network is in
    eval mode, on the CPU.
    """
    net.cpu().eval()
    metric, loss = plan.metric(), plan.loss()
    answers: list[Tensor] = []
    truth: list[Tensor] = []
    wrong: list[tuple[Tensor, int, int]] = []
    sums: dict[str, Tensor] = {}
    total, samples, shown = 0.0, 0, None
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # for layers that are random also in eval mode, such as a noisy chip
        for index, batch in enumerate(batches(split, plan.batch, time_first=plan.time_first)):
            x = plan.encode(batch[0], Generator().manual_seed(index))
            lengths = next(iter(batch[2:]), None)
            lengths = ends(net, x) if lengths is None else lengths
            (traces, rest), outputs = answer(net, x, *batch[1:]), _outputs(net, x, lengths)
            total, samples = total + float(loss(traces, *rest)) * len(batch[1]), samples + len(batch[1])
            fired = _spikes_in(net, outputs)
            spikes = {layer: (z.sum(0).flatten(1) / _steps(z, lengths)).sum(0) for layer, z in fired.items()}
            # a layer that has other outputs than 0 and 1 in any batch is not a spiking layer
            sums = {layer: z + sums.get(layer, 0) for layer, z in spikes.items() if layer in sums or not index}
            right = torch.zeros(len(batch[1]), dtype=torch.bool)
            if metric is not None:
                answers.append(metric(traces, *rest)[1])
                truth.append(batch[1])
                right = answers[-1] == truth[-1]
                for i in (~right).nonzero().flatten().tolist()[: WRONG - len(wrong)]:
                    wrong.append((_sample(plan, batch[0], i), int(truth[-1][i]), int(answers[-1][i])))
            if shown is None or (shown[0] < bool(right.any())):
                i = int(right.int().argmax())
                label = int(batch[1][i]) if metric is not None else None
                end = len(x) if lengths is None else int(lengths[i])
                layers = {layer: z[:end, i] for layer, z in fired.items()}
                shown = (bool(right.any()), Watched(_sample(plan, batch[0], i), label, layers, traces[:end, i]))
    empty = torch.empty(0, dtype=torch.int64)
    rates = {layer: z / samples for layer, z in sums.items()}
    known = (torch.cat(answers), torch.cat(truth)) if answers else (empty, empty)
    return Evaluation(*known, rates, total / samples, samples, shown[1] if shown else None, wrong)


def _sample(plan: Any, x: Tensor, index: int) -> Tensor:
    """Return one sample of a batch before it is encoded."""
    return x.select(1 if plan.time_first else 0, index)


def spikes_of(net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return {layer: spikes `[T, B, *features]`} of the layers whose output is only zeros and ones, or timed spikes; 0
    after the end of a recording. Layers that pass on the spikes of others, such as `Dropout`, are left out.
    """
    return _spikes_in(net, _outputs(net, x, ends(net, x)))


def _outputs(net: nn.Module, x: Tensor, lengths: Tensor | None = None) -> dict[str, Tensor]:
    """Return {path: output of each neuron layer}, 0 after the end of a recording; {} for a network without neurons."""
    if not any(isinstance(m, Temporal) for m in net.modules()):
        return {}
    with masked(net, x, lengths) as shown:
        outputs = record(net, shown, "z")
    if lengths is None:
        return outputs
    there = within(lengths, len(x))
    return {path: only(there, z) for path, z in outputs.items()}


def _steps(z: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the number of steps `[B, 1]` of each sample of z `[T, B, ...]`."""
    return torch.full((z.shape[1], 1), len(z)) if lengths is None else lengths.unsqueeze(1)


def _spikes_in(net: nn.Module, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    timed = {path for path in outputs if isinstance(net.get_submodule(path), (TimedLIF, TimedRecurrent))}
    outputs |= {path: (outputs[path] > 0).to(outputs[path]) for path in timed}
    outputs = {path: z for path, z in outputs.items() if not net.get_submodule(path).relays}
    recorded = {path: z for path, z in outputs.items() if bool(((z == 0) | (z == 1)).all())}
    return {f"{type(net.get_submodule(path)).__name__} {path}".strip(): z for path, z in recorded.items()}


def summary(plan: Any, net: nn.Module, evaluation: Evaluation, rows: list[dict[str, float]]) -> dict[str, Any]:
    """Return the figures of a finished run as plain values, for result.json."""
    judged = {"accuracy": evaluation.accuracy, "correct": evaluation.correct} if evaluation.judged else {}
    return {
        **judged,
        "loss": evaluation.loss,
        "samples": evaluation.samples,
        "training_seconds": rows[-1]["seconds"],
        "epochs": len(rows),
        "parameters": sum(weight.numel() for weight in net.parameters()),
        "firing_rate": {layer: round(float(rates.mean()), 4) for layer, rates in evaluation.rates.items()},
        "versions": versions(),
        "machine": machine(),
    }


def versions() -> dict[str, str]:
    """Return the versions of the packages that were used."""
    found = {"python": platform.python_version()}
    for package in ("ranvier", "torch", "numba", "lightning", "numpy"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed" if package not in sys.modules else "from source"
    return found


def machine() -> dict[str, Any]:
    """Return the system, processor, numbers of cores and threads, and the accelerator of this machine."""
    facts = {"system": f"{platform.system()} {platform.machine()}", "processor": _processor()}
    facts |= {"cores": str(os.cpu_count()), "threads": str(torch.get_num_threads())}
    return facts | ({"accelerator": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"
