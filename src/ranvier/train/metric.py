"""Metrics, computed from the traces of a readout layer."""

from dataclasses import dataclass

from torch import Tensor

from ranvier.train.traces import integrate, mean_of, refuse_bad_weights, weigh


@dataclass(frozen=True, eq=False)
class integral_accuracy:
    """The share of samples for which the readout of the right class, summed over time, is largest.

    Call it with traces `[T, B, C]` (time at `time_axis`, classes last), labels `[B]` whole numbers in [0, C) and
    optionally lengths `[B]` in [1, T]; it returns (score, a float32 scalar in [0, 1]; predictions `[B]` int64, the
    first class on a tie). A sample of class c counts `weights[c]` times (None: each counts once; the inverse
    frequencies of the classes give balanced accuracy). A sample with the label `ignore_index` does not count; if no
    sample counts, the score is 0. Wrong axes and labels out of range raise a ValueError.

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
            raise TypeError(
                "integral_accuracy: make the metric first, then call it: integral_accuracy()(traces, labels)"
            )
        refuse_bad_weights("integral_accuracy", "weights", self.weights)

    def __call__(self, traces: Tensor, labels: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        right, counts, predictions = self.judge(traces, labels, lengths)
        return mean_of(right, counts), predictions

    def judge(
        self, traces: Tensor, labels: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return whether each sample was classified correctly (float32 `[B]`), how often it counts (None: once), and
        the predictions.
        """
        known, counts = weigh("integral_accuracy", traces, labels, self.weights, self.ignore_index)
        total, _ = integrate("integral_accuracy", traces, known, lengths, self.time_axis)
        predictions = total.argmax(-1)
        return (predictions == labels).float(), None if counts is None else counts.float(), predictions
