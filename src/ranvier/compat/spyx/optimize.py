"""Spyx's training loop. Users of Spyx expect a loop of this form; Ranvier's recipes train with Lightning."""

from collections.abc import Callable, Iterable
from statistics import fmean
from typing import Any

import torch
from torch import nn, optim

Batches = Callable[[], Iterable[Any]]


def fit(
    model: nn.Module,
    tx: optim.Optimizer | Callable[[Iterable[nn.Parameter]], optim.Optimizer],
    loss_fn: Callable[..., torch.Tensor],
    train_iter: Batches,
    *,
    epochs: int,
    eval_iter: Batches | None = None,
    eval_fn: Callable[..., tuple[Any, Any]] | None = None,
    on_epoch_end: Callable[[int, dict[str, float]], None] | None = None,
) -> list[dict[str, float]]:
    """Train a model in place; return for every epoch `train_loss`, and `eval_acc` and `eval_loss` if eval_fn is given.

    tx: a torch optimiser, or a function that makes one from the parameters. loss_fn(model, *batch) -> scalar;
    train_iter() -> the batches of an epoch; eval_fn(model, *batch) -> (accuracy, loss), on the batches of eval_iter().
    A RuntimeError is raised if an iterator yields no batch.
    """
    optimiser = tx if isinstance(tx, optim.Optimizer) else tx(model.parameters())
    history: list[dict[str, float]] = []
    for epoch in range(epochs):
        losses = []
        for batch in train_iter():
            optimiser.zero_grad()
            loss = loss_fn(model, *_several(batch))
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
        row = {"train_loss": _mean(losses, "train_iter")}
        if eval_iter is not None and eval_fn is not None:
            with torch.no_grad():
                pairs = [eval_fn(model, *_several(batch)) for batch in eval_iter()]
            row["eval_acc"] = _mean([accuracy for accuracy, _ in pairs], "eval_iter")
            row["eval_loss"] = _mean([loss for _, loss in pairs], "eval_iter")
        history.append(row)
        if on_epoch_end is not None:
            on_epoch_end(epoch, row)
    return history


def _several(batch: Any) -> tuple:
    return tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)


def _mean(values: Any, name: str) -> float:
    if not values:
        raise RuntimeError(f"fit: {name}() yields no batch; is the batch size above the number of samples?")
    return fmean(map(float, values))
