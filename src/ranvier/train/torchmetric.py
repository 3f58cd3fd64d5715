"""Ranvier's scores as torchmetrics: summed over batches and processes, for Lightning and for your own loops."""

from typing import Any

import torch
from torch import Tensor

from ranvier.extras import needed
from ranvier.train.metric import integral_accuracy

with needed("a torchmetric"):
    from torchmetrics import Metric


class IntegralAccuracy(Metric):
    """Share of samples for which the readout of the right class, summed over time, is largest.

    Call update(traces `[T, B, C]`, labels `[B]`, lengths=None); compute() returns a number in [0, 1]. The settings are
    those of `metric.integral_accuracy`: with weights, the result is the weighted share.

    >>> accuracy = IntegralAccuracy()
    >>> accuracy.update(torch.tensor([[[0.0, 1.0], [3.0, 1.0]]]), torch.tensor([1, 1]))
    >>> accuracy.compute()
    tensor(0.5000)
    """

    full_state_update = False
    higher_is_better = True

    def __init__(self, time_axis: int = 0, weights: Any = None, ignore_index: int | None = None, **settings: Any):
        super().__init__(**settings)
        self.score = integral_accuracy(time_axis, weights, ignore_index)
        self.add_state("right", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("seen", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, traces: Tensor, labels: Tensor, lengths: Tensor | None = None) -> None:
        right, counts, _ = self.score.judge(traces, labels, lengths)
        counts = torch.ones_like(right) if counts is None else counts
        self.right += (right * counts).sum(dtype=torch.float64)
        self.seen += counts.sum(dtype=torch.float64)

    def compute(self) -> Tensor:
        return (self.right / self.seen).float()  # type: ignore[operator]


class SpikeRate(Metric):
    """Spikes per neuron and step.

    Call update(spikes) with one tensor `[T, B, *features]`, or with a dictionary of such tensors by layer, like the
    result of `regularise.watch`.

    >>> rate = SpikeRate()
    >>> rate.update({"1": torch.ones(4, 2, 3), "2": torch.zeros(4, 2, 3)})
    >>> rate.compute()
    tensor(0.5000)
    """

    full_state_update = False

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        self.add_state("spikes", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("places", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, spikes: Tensor | dict[str, Tensor]) -> None:
        for z in spikes.values() if isinstance(spikes, dict) else (spikes,):
            self.spikes += z.detach().sum(dtype=torch.float64)
            self.places += z.numel()

    def compute(self) -> Tensor:
        return (self.spikes / self.places).float()  # type: ignore[operator]


class SynapticOperations(Metric):
    """Synaptic operations of a network per sample, a mean over batches; see `energy.energy` for a full estimate of the
    energy.

    Call update(net, x `[T, B, *features]`) for each batch.

    >>> import ranvier
    >>> operations = SynapticOperations()
    >>> operations.update(ranvier.Sequential(torch.nn.Linear(3, 5), ranvier.LIF()), torch.ones(2, 1, 3))
    >>> operations.compute()
    tensor(30.)
    """

    full_state_update = False

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        self.add_state("operations", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("samples", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, net: torch.nn.Module, x: Tensor) -> None:
        from ranvier.train.energy import energy

        self.operations += energy(net, x).synaptic_operations * x.shape[1]
        self.samples += x.shape[1]

    def compute(self) -> Tensor:
        return (self.operations / self.samples).float()  # type: ignore[operator]
