"""Traces carried forward in time beside the neurons they belong to, and the gradients contracted from them.

What every backend does at each step, for neuron n with states s, own arguments p and inputs a[k] behind a weight:

    gradient of w[k]  +=  sum_s signal_s weight[s, n, k] + signal_x a[k]
    weight[s, n, k]    =  sum_r partial_sr weight[r, n, k] + partial_sx a[k]

and the same for each p with `own` in place of `weight`. `derive/influence.py` says what the factors are. Neurons lie
as [batch, channels, places] in a row of N; what comes in lies as [batch, places] in R rows of K numbers, and all
places of a channel share its weights: of a linear layer places is 1, of a convolution one row is one patch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import NamedTuple

import torch
from torch import Tensor

from ranvier.backends.backend import Backend
from ranvier.derive.influence import Influence


class Layout(NamedTuple):
    """How the neurons lie: N = batch channels places."""

    batch: int
    channels: int
    places: int = 1

    @property
    def neurons(self) -> int:
        return self.batch * self.channels * self.places


class Traces(NamedTuple):
    """weight [S, N, K]: of each weight into each neuron; own [Q, S, N]: of each own argument. S: `Influence.states`."""

    weight: Tensor
    own: Tensor

    def clone(self) -> "Traces":
        return Traces(self.weight.clone(), self.own.clone())

    @classmethod
    def zeros(cls, learned: Influence, layout: Layout, width: int, like: Tensor) -> "Traces":
        """Traces before the first step; like: a tensor of their dtype and device."""
        states, neurons = len(learned.states), layout.neurons
        return cls(like.new_zeros(states, neurons, width), like.new_zeros(len(learned.own), states, neurons))


@dataclass(frozen=True)
class Call:
    """Some steps of some neurons, all tensors flat and of one dtype.

    inputs [T, N] each, initial [S, N], params [1] or [N] each, grads (of the outputs) [T, N] each, or [1, N] if it is
    the same at all steps; came [T, R, K]: what came in behind the weights, K = 0 where no weights are learned.
    signals: the arguments whose gradient at each step is asked for.
    """

    learned: Influence
    inputs: Sequence[Tensor]
    initial: Tensor
    params: Sequence[Tensor]
    grads: Sequence[Tensor]
    came: Tensor
    layout: Layout
    signals: tuple[str, ...] = ()


class Learned(NamedTuple):
    """weight [channels, K] and own [Q, N]: gradients, summed over steps (weights also over batch and places); signals:
    [T, N] each."""

    weight: Tensor
    own: Tensor
    signals: list[Tensor]


Carries = Callable[[Call, Traces], Learned]  # the traces are carried on in place
KERNELS = {
    "reference": "ranvier.backends.reference_traces",
    "numba": "ranvier.backends.numba_traces",
    "triton": "ranvier.backends.triton_traces",
}


def carry_traces(backend: Backend, call: Call, traces: Traces) -> Learned:
    """Carry the traces through all steps of a call, in place; the gradients that come out of them."""
    carries: Carries = import_module(KERNELS[backend.name]).carry_traces
    return carries(call, traces)


def silent(call: Sequence[Tensor], like: Tensor) -> list[Tensor]:
    """Gradients of zero for outputs like these: traces are carried on, nothing is learned."""
    return [torch.zeros(1, y.shape[1], dtype=like.dtype, device=like.device) for y in call]
