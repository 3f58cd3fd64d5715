"""Scores of the traces of a readout layer."""

from collections.abc import Callable

from torch import Tensor

from ranvier.train.traces import integrate


def integral_accuracy(time_axis: int = 0) -> Callable[..., tuple[Tensor, Tensor]]:
    """The share of samples whose largest readout, summed over time, is the right class.

    Returned function: traces `[T, B, C]` (time at `time_axis`, classes last), labels `[B]` whole numbers in [0, C),
    optionally lengths `[B]` in [1, T] -> (score, a float32 scalar in [0, 1]; predictions `[B]` int64, the first class
    on a tie). ValueError on wrong axes or labels out of range.

    >>> import torch
    >>> traces = torch.tensor([[[0.0, 1.0], [3.0, 1.0]]])  # [T=1, B=2, C=2]
    >>> integral_accuracy()(traces, torch.tensor([1, 1]))
    (tensor(0.5000), tensor([1, 0]))
    """

    def metric(traces: Tensor, labels: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total, _ = integrate("integral_accuracy", traces, labels, lengths, time_axis)
        predictions = total.argmax(-1)
        return (predictions == labels).float().mean(), predictions

    return metric
