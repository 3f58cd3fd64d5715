"""Spyx's losses, metric and regularisers, with its names and defaults (time_axis=1)."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ranvier.train import loss, metric, regularise


def integral_accuracy(time_axis: int = 1) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(traces, targets) -> (accuracy, predictions): argmax of the sum over time."""
    return metric.integral_accuracy(time_axis)


def integral_crossentropy(smoothing: float = 0.3, time_axis: int = 1) -> Callable[[Tensor, Tensor], Tensor]:
    """(traces, targets) -> cross-entropy of the sum over time. Unlike Spyx, a label out of range raises
    ValueError.
    """
    return loss.integral_crossentropy(smoothing, time_axis)


def mse_spikerate(
    sparsity: float = 0.25, smoothing: float = 0.0, time_axis: int = 1
) -> Callable[[Tensor, Tensor], Tensor]:
    """(traces, targets) -> squared distance of the rate from `sparsity` * T, which is a number of spikes, as in Spyx.

    `ranvier.train.loss.mse_spikerate` compares the rate with a rate.
    """
    rates = loss.mse_spikerate(sparsity, smoothing, time_axis)

    def function(traces: Tensor, targets: Tensor) -> Tensor:
        steps = traces.shape[time_axis] if -traces.dim() <= time_axis < traces.dim() else 1
        return rates(traces / steps, targets) * steps**2

    return function


def silence_reg(min_spikes: float) -> Callable[[Any], Tensor]:
    """(spike counts [B, ...], may be nested) -> penalty on neurons whose mean count is below min_spikes, summed over
    neurons.
    """
    return regularise.silence(min_spikes, reduction="sum")


def sparsity_reg(max_spikes: float, norm: Callable[[Tensor], Tensor] | None = None) -> Callable[[Any], Tensor]:
    """(spike counts [B, ...], may be nested) -> penalty on samples whose mean count is above max_spikes, summed over
    samples.

    norm: an elementwise function of the excess; None is the Huber loss with delta 1.
    """
    return regularise.sparsity(max_spikes, norm, reduction="sum")
