"""Steps that all losses and metrics share: check traces and labels, sum over time, weigh samples."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Size, Tensor


def integrate(
    name: str, traces: Tensor, labels: Tensor, lengths: Tensor | None, time_axis: int
) -> tuple[Tensor, Tensor]:
    """Return the traces summed over time, up to each sample's length, and the number of steps in the sum.

    traces `[T, *batch, C]` (time at `time_axis`), labels `[*batch]` whole numbers in [0, C), lengths `[*batch]` in
    [1, T] or None for T everywhere -> (sum `[*batch, C]`, steps `[*batch, 1]`). Errors start with `name`.
    """
    traces, counted = admit(name, traces, labels, lengths, time_axis)
    if counted is None or lengths is None:
        return traces.sum(0), traces.new_full((*traces.shape[1:-1], 1), len(traces))
    # torch.where instead of a product, because NaN or inf in the padding must have no effect
    return torch.where(counted, traces, 0.0).sum(0), lengths.unsqueeze(-1).to(traces.dtype)


def admit(
    name: str, traces: Tensor, labels: Tensor, lengths: Tensor | None, time_axis: int
) -> tuple[Tensor, Tensor | None]:
    """Return checked traces with time first `[T, *batch, C]`, and which steps count `[T, *batch, 1]` (None: all of
    them).
    """
    traces = traces.movedim(_time_axis(name, traces, time_axis), 0)
    steps, batch, classes = traces.shape[0], traces.shape[1:-1], traces.shape[-1]
    _refuse_bad_labels(name, labels, batch, classes)
    return traces, None if lengths is None else within(name, lengths, batch, steps).unsqueeze(-1)


def within(name: str, lengths: Tensor, batch: Size, steps: int) -> Tensor:
    """Return which of `steps` steps are within each sample's length `[*batch]` in [1, T]: `[T, *batch]`, bool."""
    _refuse_bad_lengths(name, lengths, batch, steps)
    return torch.arange(steps, device=lengths.device).view(-1, *[1] * len(batch)) < lengths


def weigh(
    name: str, traces: Tensor, labels: Tensor, weights: Sequence[float] | Tensor | None, ignore: int | None
) -> tuple[Tensor, Tensor | None]:
    """Return labels `[*batch]` as int64, with 0 where they are ignored, and how often each sample counts (None:
    once).
    """
    _refuse_bad_kind(name, labels)
    known = labels.long()
    counts = None
    if ignore is not None:
        counts = (known != ignore).to(traces.dtype)
        known = torch.where(known == ignore, 0, known)
    if weights is not None:
        classes = traces.shape[-1]
        table = torch.as_tensor(weights, dtype=traces.dtype, device=traces.device)
        if len(table) != classes:
            raise ValueError(f"{name}: there are {len(table)} weights for {classes} classes; pass one for each class")
        _refuse_bad_range(name, known, classes)
        counts = table[known] * (1.0 if counts is None else counts)
    return known, counts


def mean_of(each: Tensor, counts: Tensor | None) -> Tensor:
    """Return the mean of `each`, where each entry counts `counts` times; 0 if none counts."""
    if counts is None:
        return each.mean()
    total = counts.sum()
    # torch.where instead of a product, because entries that do not count may be NaN or inf
    return torch.where(counts > 0, each * counts, 0.0).sum() / torch.where(total > 0, total, 1.0)


def refuse_bad_weights(function: str, name: str, weights: Any) -> None:
    """Raise an error unless weights are None or one finite number >= 0 per class, not all 0."""
    if weights is None:
        return
    try:
        table = torch.as_tensor(weights, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{function}: {name} must be one number per class, got {weights!r}") from None
    if table.dim() != 1 or not (table.isfinite().all() and (table >= 0).all() and (table > 0).any()):
        raise ValueError(
            f"{function}: {name} must be one finite number >= 0 per class, not all 0, got {table.tolist()}"
        )


def _time_axis(name: str, traces: Tensor, time_axis: int) -> int:
    shape, axes = list(traces.shape), traces.ndim
    if axes < 2:
        raise ValueError(f"{name}: traces are {shape}; wanted time, batch and classes, as [T, B, C]")
    if not -axes <= time_axis < axes or time_axis % axes == axes - 1:
        raise ValueError(f"{name}: time_axis={time_axis} is no time axis of traces {shape}, whose last axis is classes")
    return time_axis % axes


def _refuse_bad_kind(name: str, labels: Tensor) -> None:
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"{name}: labels must be whole numbers, got {labels.dtype}; for one-hot labels use .argmax(-1)")


def _refuse_bad_labels(name: str, labels: Tensor, batch: Size, classes: int) -> None:
    _refuse_bad_kind(name, labels)
    if labels.shape != batch:
        got, wanted = list(labels.shape), list(batch)
        raise ValueError(
            f"{name}: labels are {got}, the traces' batch is {wanted}; pass one class for each sample, and traces "
            f"[T, B, classes] with time first (or pass time_axis)"
        )
    _refuse_bad_range(name, labels, classes)


def _refuse_bad_range(name: str, labels: Tensor, classes: int) -> None:
    low, high = _range(labels, valid=(0, classes - 1))
    if low < 0 or high >= classes:
        raise ValueError(f"{name}: labels must lie in [0, {classes - 1}] for {classes} classes, got {low} to {high}")


def _refuse_bad_lengths(name: str, lengths: Tensor, batch: Size, steps: int) -> None:
    if lengths.shape != batch:
        raise ValueError(f"{name}: lengths are {list(lengths.shape)}, the batch is {list(batch)}; pass one per sample")
    low, high = _range(lengths, valid=(1, steps))
    if low < 1 or high > steps:
        raise ValueError(f"{name}: lengths must lie in [1, {steps}], got {low} to {high}")


def _range(values: Tensor, valid: tuple[int, int]) -> tuple[int, int]:
    # a compiled graph cannot branch on values, and an empty batch has none
    if torch.compiler.is_compiling() or not values.numel():
        return valid
    low, high = values.aminmax()
    return int(low), int(high)
