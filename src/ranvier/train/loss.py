"""Losses on the traces of a readout layer. Each maker returns `loss(traces, labels, lengths=None) -> scalar`."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from ranvier.train.traces import integrate

Loss = Callable[..., Tensor]


def integral_crossentropy(smoothing: float = 0.0, time_axis: int = 0, temperature: float = 1.0) -> Loss:
    """Cross-entropy of the readout summed over time.

    With `s = sum_t traces / temperature` and `q = (1 - smoothing) * onehot + smoothing / C`:
    `loss = mean over the batch of -sum_c q_c * log_softmax(s)_c`.

    Returned function: traces `[T, B, C]` (time at `time_axis`, classes last), labels `[B]` whole numbers in [0, C),
    optionally lengths `[B]` in [1, T] (traces beyond a sample's length do not count) -> scalar. `smoothing` in [0, 1];
    `temperature` > 0 keeps long sums soft: T makes the sum a mean. ValueError on wrong axes or labels out of range.

    >>> loss = integral_crossentropy()
    >>> loss(torch.zeros(20, 4, 10), torch.tensor([0, 1, 2, 3]))  # undecided: log(10)
    tensor(2.3026)
    """
    _refuse_bad_share("integral_crossentropy", "smoothing", smoothing)
    if not 0.0 < temperature < float("inf"):
        raise ValueError(f"integral_crossentropy: temperature must be positive, got {temperature}")

    def loss(traces: Tensor, labels: Tensor, lengths: Tensor | None = None) -> Tensor:
        total, _ = integrate("integral_crossentropy", traces, labels, lengths, time_axis)
        logits, classes = (total / temperature).flatten(0, -2), labels.flatten().long()
        return functional.cross_entropy(logits, classes, label_smoothing=smoothing)

    return loss


def mse_spikerate(sparsity: float = 0.25, smoothing: float = 0.0, time_axis: int = 0) -> Loss:
    """Mean squared error between the readout's firing rate and a wanted rate.

    With `r = mean_t traces` (spikes per tick, in [0, 1]) and `q` as in `integral_crossentropy`:
    `loss = mean over batch and classes of (r - sparsity * q)^2`: the right class should fire at `sparsity`.

    Returned function: traces `[T, B, C]` spikes (time at `time_axis`, classes last), labels `[B]` whole numbers in
    [0, C), optionally lengths `[B]` (a rate is over a sample's own length) -> scalar. Both settings in [0, 1].

    >>> traces = torch.tensor([[1.0, 0.0], [0.0, 0.0]]).unsqueeze(1)  # [T=2, B=1, C=2]
    >>> mse_spikerate(sparsity=0.5)(traces, torch.tensor([0]))
    tensor(0.)
    """
    _refuse_bad_share("mse_spikerate", "sparsity", sparsity)
    _refuse_bad_share("mse_spikerate", "smoothing", smoothing)

    def loss(traces: Tensor, labels: Tensor, lengths: Tensor | None = None) -> Tensor:
        total, ticks = integrate("mse_spikerate", traces, labels, lengths, time_axis)
        classes = total.shape[-1]
        wanted = functional.one_hot(labels.long(), classes).to(total.dtype) * (1 - smoothing) + smoothing / classes
        return torch.mean((total / ticks - sparsity * wanted) ** 2)

    return loss


def _refuse_bad_share(function: str, name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{function}: {name} must lie in [0, 1], got {value}")
