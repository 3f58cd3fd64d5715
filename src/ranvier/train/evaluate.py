"""What a trained net does on data it has not seen: answers, firing rates, and one sample watched step by step."""

import os
import platform
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import torch
from torch import Generator, Tensor, nn

from ranvier.nn.neurons.timed import TimedLIF
from ranvier.nn.timed import TimedRecurrent
from ranvier.nn.verbs import record


@dataclass(frozen=True)
class Evaluation:
    """predictions and labels `[N]`; rates: {layer: spikes per step of each neuron `[neurons]`}, a mean over samples."""

    predictions: Tensor
    labels: Tensor
    rates: dict[str, Tensor]

    @property
    def correct(self) -> int:
        return int((self.predictions == self.labels).sum())

    @property
    def accuracy(self) -> float:
        return self.correct / len(self.labels)


@dataclass(frozen=True)
class Watched:
    """One sample x `[*features]` on its way: {layer: spikes `[T, *features]`} and the readout's traces `[T, C]`."""

    x: Tensor
    label: int
    spikes: dict[str, Tensor]
    traces: Tensor


def evaluate(plan: Any, net: nn.Module, split: Any) -> Evaluation:
    """The net's answers to a whole split, and how much its layers fire. The net is left in eval mode, on the CPU."""
    net.cpu().eval()
    predictions: list[Tensor] = []
    sums: dict[str, Tensor] = {}
    metric = plan.metric()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # for what stays random in a test: a chip's noise
        batches = zip(split.x.split(plan.batch), split.labels.split(plan.batch), strict=True)
        for index, (x, labels) in enumerate(batches):
            x = plan.encode(x, Generator().manual_seed(index))
            predictions.append(metric(net(x), labels)[1])
            spikes = {layer: z.mean(0).sum(0).flatten() for layer, z in spikes_of(net, x).items()}
            # a layer that was anything but zeros and ones in one batch is no spiking layer
            sums = {layer: z + sums.get(layer, 0) for layer, z in spikes.items() if layer in sums or not index}
    rates = {layer: total / len(split.labels) for layer, total in sums.items()}
    return Evaluation(torch.cat(predictions), split.labels, rates)


def watch(plan: Any, net: nn.Module, split: Any, index: int) -> Watched:
    """Sample number `index` of a split, layer by layer."""
    net.cpu().eval()
    with torch.no_grad():
        x = plan.encode(split.x[index : index + 1], Generator().manual_seed(index))
        spikes = {layer: z[:, 0] for layer, z in spikes_of(net, x).items()}
        return Watched(split.x[index], int(split.labels[index]), spikes, net(x)[:, 0])


def spikes_of(net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """{layer: spikes `[T, B, *features]`} of the layers whose output is nothing but zeros and ones, or timed spikes."""
    outputs = record(net, x, "z")
    timed = {path for path in outputs if isinstance(net.get_submodule(path), (TimedLIF, TimedRecurrent))}
    outputs |= {path: (outputs[path] > 0).to(outputs[path]) for path in timed}
    recorded = {path: z for path, z in outputs.items() if bool(((z == 0) | (z == 1)).all())}
    return {f"{type(net.get_submodule(path)).__name__} {path}".strip(): z for path, z in recorded.items()}


def summary(plan: Any, net: nn.Module, evaluation: Evaluation, rows: list[dict[str, float]]) -> dict[str, Any]:
    """The figures of a finished run as plain values, for result.json."""
    return {
        "accuracy": evaluation.accuracy,
        "correct": evaluation.correct,
        "samples": len(evaluation.labels),
        "training_seconds": rows[-1]["seconds"],
        "epochs": len(rows),
        "parameters": sum(weight.numel() for weight in net.parameters()),
        "firing_rate": {layer: round(float(rates.mean()), 4) for layer, rates in evaluation.rates.items()},
        "versions": versions(),
        "machine": machine(),
    }


def versions() -> dict[str, str]:
    """Versions of what took part."""
    found = {"python": platform.python_version()}
    for package in ("ranvier", "torch", "numba", "lightning", "numpy"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed" if package not in sys.modules else "from source"
    return found


def machine() -> dict[str, Any]:
    """What it ran on, in words."""
    facts = {"system": f"{platform.system()} {platform.machine()}", "processor": _processor()}
    facts |= {"cores": str(os.cpu_count()), "threads": str(torch.get_num_threads())}
    return facts | ({"accelerator": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"
