"""The modules Synapse, SparseSynapse, EventPropSynapse, BatchDropout and InputNeuron."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.compat.hxtorch.spiking import functional as F
from ranvier.compat.hxtorch.spiking.experiment import Experiment, HXModule
from ranvier.compat.hxtorch.spiking.handle import LIFObservables, SynapseHandle, TensorHandle
from ranvier.compat.hxtorch.spiking.transforms import linear_saturating


def spikes_of(handle: Any) -> Tensor:
    """Return the spikes of a handle: its field `spikes`, or `tensor`."""
    for name in ("spikes", "tensor"):
        if getattr(handle, name, None) is not None:
            return getattr(handle, name)
    raise ValueError(f"this module needs spikes, but its input has none: {handle!r}")


class Synapse(HXModule):
    """A linear map without bias from spikes to graded spikes, with weight [out, in]. transform: a function that
    converts weights to hardware weights.
    """

    def __init__(
        self, in_features: int, out_features: int, experiment: Experiment, device: Any = None, dtype: Any = None,
        transform: Callable[[Tensor], Tensor] = linear_saturating,
    ):  # fmt: skip
        super().__init__(experiment)
        self.in_features, self.out_features, self.transform = in_features, out_features, transform
        self.weight = nn.Parameter(torch.empty(out_features, in_features, device=device, dtype=dtype))
        self.bias = None
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def new_handle(self) -> SynapseHandle:
        return SynapseHandle()

    def forward_func(self, *inputs: Any, hw_data: Any = None) -> SynapseHandle:
        return SynapseHandle(graded_spikes=F.linear(spikes_of(inputs[0]), self.weight))


class EventPropSynapse(Synapse):
    """A synapse with a second output, which EventProp uses in its backward pass."""

    def forward_func(self, *inputs: Any, hw_data: Any = None) -> SynapseHandle:
        return SynapseHandle(graded_spikes=F.EventPropSynapseFunction.apply(spikes_of(inputs[0]), self.weight))


class SparseSynapse(Synapse):
    """A synapse that has only the connections [in, out] that are given."""

    mask: Tensor

    def __init__(self, connections: Tensor, experiment: Experiment, device: Any = None, dtype: Any = None,
                 transform: Callable[[Tensor], Tensor] = linear_saturating):  # fmt: skip
        dense = connections.to_dense() if connections.is_sparse else connections
        super().__init__(dense.shape[0], dense.shape[1], experiment, device, dtype, transform)
        self.register_buffer("mask", dense.bool().T.clone())
        with torch.no_grad():
            self.weight.mul_(self.mask)

    def forward_func(self, *inputs: Any, hw_data: Any = None) -> SynapseHandle:
        return SynapseHandle(graded_spikes=F.linear_sparse(spikes_of(inputs[0]), self.weight, self.mask))  # type: ignore


class BatchDropout(HXModule):
    """In training, switch neurons off with probability `dropout`, for all samples and steps of a run, without
    rescaling.
    """

    def __init__(self, size: int, dropout: float, experiment: Experiment):
        super().__init__(experiment)
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"BatchDropout: dropout must be in [0, 1), got {dropout!r}")
        self.size, self._dropout, self.mask = size, dropout, torch.ones(size, dtype=torch.bool)

    def new_handle(self) -> LIFObservables:
        return LIFObservables()

    def set_mask(self) -> Tensor:
        """Draw the mask for the next run."""
        self.mask = torch.rand(self.size) > self._dropout if self.training else torch.ones(self.size, dtype=torch.bool)
        return self.mask

    def forward(self, *inputs: Any) -> Any:
        if "spikes" not in getattr(inputs[0], "_fields", ()):
            raise TypeError(f"BatchDropout must follow a spiking neuron module, got {inputs[0]!r}")
        return super().forward(*inputs)

    def forward_func(self, *inputs: Any, hw_data: Any = None) -> LIFObservables:
        seen = inputs[0]
        masked = F.batch_dropout(seen.spikes, self.set_mask().to(seen.spikes.device))
        return LIFObservables(
            spikes=masked, current=seen.current, membrane_cadc=seen.membrane_cadc, membrane_madc=seen.membrane_madc
        )


class InputNeuron(HXModule):
    """Return input spikes unchanged, or the spikes that were recorded on the hardware."""

    def __init__(self, size: int, experiment: Experiment):
        super().__init__(experiment)
        self.size = size

    def new_handle(self) -> TensorHandle:
        return TensorHandle()

    def forward_func(self, *inputs: Any, hw_data: Any = None) -> TensorHandle:
        return TensorHandle(tensor=F.input_neuron(spikes_of(inputs[0]), hw_data))
