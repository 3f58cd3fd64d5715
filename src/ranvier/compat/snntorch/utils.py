"""snnTorch's `utils`."""

from typing import Any

import torch
from torch import nn


def reset(net: nn.Module) -> None:
    """Set the states of all neurons of the network to zero, and detach them from the graph."""
    from ranvier.compat.snntorch.neurons import SpikingNeuron

    for module in net.modules():
        if isinstance(module, SpikingNeuron):
            module.reset_mem()


def data_subset(dataset: Any, subset: int, idx: int = 0) -> Any:
    """Divide a data set with `data` and `targets` into `subset` parts, and keep part number idx, in place. Return the
    data set.
    """
    if subset > 1:
        step = len(dataset.data) // subset
        dataset.data = dataset.data[step * idx : step * (idx + 1)]
        dataset.targets = dataset.targets[step * idx : step * (idx + 1)]
    return dataset


def valid_split(ds_train: Any, ds_val: Any, split: float, seed: int = 0) -> tuple[Any, Any]:
    """Move a share `split` of the training data to validation; both data sets are changed in place and returned."""
    if not 0.0 <= split <= 1.0:
        raise ValueError(f"valid_split: split must lie between 0 and 1, got {split!r}")
    order = torch.randperm(len(ds_train.data), generator=torch.Generator().manual_seed(seed))
    at = int(len(order) * split)
    data, targets = ds_train.data, torch.as_tensor(ds_train.targets)
    ds_val.data, ds_val.targets = data[order[:at]], targets[order[:at]]
    ds_train.data, ds_train.targets = data[order[at:]], targets[order[at:]]
    return ds_train, ds_val
