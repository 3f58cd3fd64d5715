"""snnTorch's losses and accuracies. Spikes and membranes are [T, B, N], targets [B] are class numbers.

>>> import torch
>>> spk = torch.zeros(5, 1, 3)
>>> spk[:, 0, 1] = 1.0
>>> float(accuracy_rate(spk, torch.tensor([1])))
1.0
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss, one_hot


def _grouped(spk: Tensor, num_classes: Any) -> Tensor:
    """Population code: consecutive neurons of a class are added, [..., N] -> [..., num_classes]."""
    if not num_classes or spk.shape[-1] % num_classes:
        raise ValueError(f"population_code: num_classes must divide the {spk.shape[-1]} outputs, got {num_classes!r}")
    return spk.unflatten(-1, (num_classes, -1)).sum(-1)


def accuracy_rate(spk_out: Tensor, targets: Tensor, population_code: bool = False, num_classes: Any = False) -> Any:
    """The share of samples whose class spikes most often."""
    counts = (_grouped(spk_out, num_classes) if population_code else spk_out).sum(0)
    return (counts.argmax(1) == targets).double().mean().cpu().numpy()[()]


def accuracy_temporal(spk_out: Tensor, targets: Tensor) -> Any:
    """The share of samples whose class spikes first. An output that never spikes counts as a spike at the last step."""
    fired = spk_out > 0
    first = torch.where(fired.any(0), fired.float().argmax(0), len(spk_out) - 1)
    return (first.argmin(1) == targets).double().mean().cpu().numpy()[()]


class LossFunctions:
    """Base class of the losses: `loss(spk_out, targets)`."""

    def __init__(self, reduction: str = "mean", weight: Tensor | None = None):
        self.reduction, self.weight = reduction, weight

    def _cross(self, scores: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(scores, targets, self.weight, reduction=self.reduction)

    def _square(self, values: Tensor, wanted: Tensor, targets: Tensor) -> Tensor:
        if self.weight is None:
            return mse_loss(values, wanted, reduction=self.reduction)
        each = mse_loss(values, wanted, reduction="none") * self.weight[targets].unsqueeze(-1)
        return {"mean": each.mean, "sum": each.sum, "none": lambda: each}[self.reduction]()

    def __call__(self, spk_out: Tensor, targets: Tensor) -> Tensor:
        raise NotImplementedError


class ce_rate_loss(LossFunctions):
    """Cross-entropy of every step, averaged over steps; its shape is [1], as in snnTorch."""

    def __init__(
        self,
        population_code: bool = False,
        num_classes: Any = False,
        reduction: str = "mean",
        weight: Tensor | None = None,
    ):
        super().__init__(reduction, weight)

    def __call__(self, spk_out: Tensor, targets: Tensor) -> Tensor:
        return torch.stack([self._cross(z, targets) for z in spk_out.unbind(0)]).mean(0).reshape(-1)


class ce_count_loss(LossFunctions):
    """Cross-entropy of the spike counts."""

    def __init__(
        self,
        population_code: bool = False,
        num_classes: Any = False,
        reduction: str = "mean",
        weight: Tensor | None = None,
    ):
        super().__init__(reduction, weight)
        self.population_code, self.num_classes = population_code, num_classes

    def __call__(self, spk_out: Tensor, targets: Tensor) -> Tensor:
        counts = _grouped(spk_out, self.num_classes) if self.population_code else spk_out
        return self._cross(counts.sum(0), targets)


class ce_max_membrane_loss(LossFunctions):
    """Cross-entropy of the highest membrane over time."""

    def __call__(self, spk_out: Tensor, targets: Tensor) -> Tensor:
        return self._cross(spk_out.max(0).values, targets)


class mse_count_loss(LossFunctions):
    """Squared distance of the spike counts from int(T * correct_rate) for the right class, and from
    int(T * incorrect_rate) for the others, divided by T.
    """

    def __init__(
        self,
        correct_rate: float = 1,
        incorrect_rate: float = 0,
        population_code: bool = False,
        num_classes: Any = False,
        reduction: str = "mean",
        weight: Tensor | None = None,
    ):
        super().__init__(reduction, weight)
        self.correct_rate, self.incorrect_rate = correct_rate, incorrect_rate
        self.population_code, self.num_classes = population_code, num_classes

    def __call__(self, spk_out: Tensor, targets: Tensor) -> Tensor:
        steps, outputs = len(spk_out), spk_out.shape[-1]
        counts = (_grouped(spk_out, self.num_classes) if self.population_code else spk_out).sum(0)
        most = steps * outputs / counts.shape[-1]  # the largest number of spikes of a class
        on, off = (float(int(most * rate)) for rate in (self.correct_rate, self.incorrect_rate))
        wanted = torch.where(one_hot(targets, counts.shape[-1]).bool(), on, off).to(counts.dtype)
        return self._square(counts, wanted, targets) / steps


class mse_membrane_loss(LossFunctions):
    """Squared distance of the membranes from on_target for the right class, and from off_target for the others,
    averaged over steps; its shape is [1].
    """

    def __init__(
        self,
        time_var_targets: bool = False,
        on_target: float = 1,
        off_target: float = 0,
        reduction: str = "mean",
        weight: Tensor | None = None,
    ):
        super().__init__(reduction, weight)
        self.time_var_targets, self.on_target, self.off_target = time_var_targets, on_target, off_target

    def __call__(self, spk_out: Tensor, targets: Tensor) -> Tensor:
        each = targets if self.time_var_targets else targets.unsqueeze(0).expand(len(spk_out), -1)
        losses = []
        for mem, target in zip(spk_out.unbind(0), each.unbind(0), strict=True):
            wanted = torch.where(one_hot(target, mem.shape[-1]).bool(), float(self.on_target), float(self.off_target))
            losses.append(self._square(mem, wanted.to(mem.dtype), target))
        return torch.stack(losses).mean(0).reshape(-1)


class l1_rate_sparsity:
    """Lambda times the number of spikes."""

    def __init__(self, Lambda: float = 1e-5):
        self.Lambda = Lambda

    def __call__(self, spk_out: Tensor) -> Tensor:
        return self.Lambda * spk_out.sum()
