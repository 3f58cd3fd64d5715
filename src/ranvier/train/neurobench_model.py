"""NeuroBench's measures of a network, computed by the package `neurobench` or, with equal results, by `measures`.

Yik et al., The neurobench framework for benchmarking neuromorphic computing algorithms and systems, Nature
Communications 16, 2025.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ranvier.extras import needed
from ranvier.nn.neuron import Neuron
from ranvier.nn.recurrent import Recurrent

FIRING = (Neuron, Recurrent)
WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def neurobench(net: nn.Module) -> Any:
    """Return the network as a model for `neurobench.benchmarks.Benchmark`, whose batches are [B, T, *features].

    Neurons and recurrent layers count as activations, linear layers and convolutions as connections. The model returns
    the outputs of all steps [B, T, *outputs]. Needs the extra `neurobench`; without it, `measures` computes the same
    numbers.
    """
    with needed("train.neurobench"):
        from neurobench.models import NeuroBenchModel  # type: ignore[import-not-found]

    class Model(NeuroBenchModel):
        def __init__(self) -> None:
            super().__init__()
            self.net = net.eval()
            for kind in FIRING:
                self.add_activation_module(kind)

        def __call__(self, batch: Tensor) -> Tensor:
            with torch.no_grad():
                return self.net(batch.transpose(0, 1).contiguous()).transpose(0, 1)

        def __net__(self) -> nn.Module:
            return self.net

    return Model()


@dataclass(frozen=True)
class Measures:
    """NeuroBench's figures of a network.

    footprint: bytes of parameters and buffers. connection_sparsity: share of weights that are 0. activation_sparsity:
    share of the neurons' outputs that are 0, over all steps. The last three count operations per sample, summed over
    its steps. macs: products of a weight and an input that are both not 0. acs: the same in layers whose inputs are
    all spikes (-1, 0, 1), where adding is enough. dense: products if zeros are not skipped.
    """

    footprint: int
    connection_sparsity: float
    activation_sparsity: float
    macs: float
    acs: float
    dense: float


def measures(net: nn.Module, x: Tensor) -> Measures:
    """Measure a network on x [T, B, *features], as the package `neurobench` does.

    >>> import torch, ranvier
    >>> net = ranvier.Sequential(torch.nn.Linear(3, 4), ranvier.LIF(), torch.nn.Linear(4, 2), ranvier.LI())
    >>> found = ranvier.train.measures(net, torch.ones(10, 2, 3))
    >>> found.footprint, found.acs >= 10 * 12, found.dense
    (116, True, 200.0)
    """
    counts = {"macs": 0, "acs": 0, "dense": 0, "silent": 0, "outputs": 0}

    def weighed(layer: Any, given: tuple) -> None:
        one = given[0].detach()
        met, ones = (one != 0).double(), torch.ones_like(one, dtype=torch.double)
        binary = bool(((one == 0) | (one.abs() == 1)).all())
        counts["acs" if binary else "macs"] += int(_sums(layer, met, layer.weight != 0))
        counts["dense"] += int(_sums(layer, ones, torch.ones_like(layer.weight)))

    def fired(layer: nn.Module, given: tuple, y: Any) -> None:
        counts["silent"] += int((y == 0).sum())
        counts["outputs"] += y.numel()

    training, layers = net.training, list(_layers(net))
    weighted = [m for m in net.modules() if isinstance(m, WEIGHTED)]
    hooks = [m.register_forward_pre_hook(weighed) for m in weighted]
    hooks += [m.register_forward_hook(fired) for m in layers]
    try:
        with torch.no_grad():
            net.eval()(x)
    finally:
        net.train(training)
        for hook in hooks:
            hook.remove()
    weights = sum(m.weight.numel() for m in weighted)
    zeros = sum(int((m.weight == 0).sum()) for m in weighted)
    held = [*net.parameters(), *net.buffers()]
    samples = x.shape[1]
    return Measures(
        sum(t.numel() * t.element_size() for t in held),
        zeros / weights if weights else 0.0,
        counts["silent"] / counts["outputs"] if counts["outputs"] else 0.0,
        counts["macs"] / samples, counts["acs"] / samples, counts["dense"] / samples,
    )  # fmt: skip


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """Yield neurons and recurrent layers; of nested ones, only the outermost."""
    if isinstance(module, FIRING):
        yield module
    else:
        for child in module.children():
            yield from _layers(child)


CONVOLVES: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Conv1d: functional.conv1d, nn.Conv2d: functional.conv2d, nn.Conv3d: functional.conv3d,
}  # fmt: skip


def _sums(layer: Any, x: Tensor, weight: Tensor) -> Tensor:
    """Return the sum of the layer's outputs without bias. If inputs and weights are 0 or 1, this is the number of
    products that are not zero.
    """
    if isinstance(layer, nn.Linear):
        return (x.flatten(0, -2) @ weight.double().T).sum()
    convolve = next(f for kind, f in CONVOLVES.items() if isinstance(layer, kind))
    return convolve(x, weight.double(), None, layer.stride, layer.padding, layer.dilation, layer.groups).sum()
