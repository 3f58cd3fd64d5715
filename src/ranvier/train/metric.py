"""Scores of the traces of a readout layer."""

from dataclasses import dataclass

from torch import Tensor

from ranvier.train.traces import integrate, mean_of, refuse_bad_weights, weigh


@dataclass(frozen=True, eq=False)
class integral_accuracy:
    """The share of samples whose largest readout, summed over time, is the right class.

    Called with traces `[T, B, C]` (time at `time_axis`, classes last), labels `[B]` whole numbers in [0, C) and
    optionally lengths `[B]` in [1, T], it returns (score, a float32 scalar in [0, 1]; predictions `[B]` int64, the
    first class on a tie). A sample of class c counts `weights[c]` times (None: each once; the inverse frequencies of
    the classes give balanced accuracy), one whose label is `ignore_index` not at all; where none counts the score is 0.
    ValueError on wrong axes or labels out of range.

    >>> import torch
    >>> traces = torch.tensor([[[0.0, 1.0], [3.0, 1.0]]])  # [T=1, B=2, C=2]
    >>> integral_accuracy()(traces, torch.tensor([1, 1]))
    (tensor(0.5000), tensor([1, 0]))
    """

    time_axis: int = 0
    weights: list[float] | Tensor | None = None
    ignore_index: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.time_axis, Tensor):
            raise TypeError("integral_accuracy makes a score: call integral_accuracy()(traces, labels)")
        refuse_bad_weights("integral_accuracy", "weights", self.weights)

    def __call__(self, traces: Tensor, labels: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        right, counts, predictions = self.judge(traces, labels, lengths)
        return mean_of(right, counts), predictions

    def judge(
        self, traces: Tensor, labels: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Whether each sample was answered right (float32 `[B]`), how often it counts (None: once), predictions."""
        known, counts = weigh("integral_accuracy", traces, labels, self.weights, self.ignore_index)
        total, _ = integrate("integral_accuracy", traces, known, lengths, self.time_axis)
        predictions = total.argmax(-1)
        return (predictions == labels).float(), None if counts is None else counts.float(), predictions
