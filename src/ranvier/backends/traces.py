"""Eligibility traces, which are updated forward in time together with the neurons, and the gradients computed from
them.

At each step every backend computes the following for neuron n, which has states s, own arguments p (such as learned
parameters), and inputs a[k] that reach it through a weight w[k]:

    gradient of w[k]  +=  sum_s signal_s weight[s, n, k] + signal_x a[k]
    weight[s, n, k]    =  sum_r partial_sr weight[r, n, k] + partial_sx a[k]

where weight[s, n, k] is the trace of w[k] for state s; `own` is the same for each p, with 1 in place of a[k].
`derive/influence.py` defines the factors. The N neurons are ordered as [batch, channels, places]. The inputs of the
weights are R rows of K numbers, ordered as [batch, places]. All places of a channel share its weights: a linear layer
has one place, and in a convolution one row is one patch.
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
    """The order of the neurons: N = batch channels places."""

    batch: int
    channels: int
    places: int = 1

    @property
    def neurons(self) -> int:
        return self.batch * self.channels * self.places


class Traces(NamedTuple):
    """Eligibility traces: weight [S, N, K] of the K weights into each neuron, and own [Q, S, N] of the Q own arguments.
    S is the number of states in `Influence.states`.

    If the traces of weights are zero before a call and not needed after it, they may be left out: then weight is [S, N,
    0].
    """

    weight: Tensor
    own: Tensor

    def clone(self) -> "Traces":
        return Traces(self.weight.clone(), self.own.clone())

    def kept(self, width: int) -> bool:
        """Whether there is a trace for each of the `width` weights of a neuron."""
        return self.weight.shape[2] == width

    @classmethod
    def zeros(cls, learned: Influence, layout: Layout, width: int, like: Tensor) -> "Traces":
        """Return traces of zero, as before the first step, with the dtype and device of `like`."""
        states, neurons = len(learned.states), layout.neurons
        return cls(like.new_zeros(states, neurons, width), like.new_zeros(len(learned.own), states, neurons))


def _product(g: Tensor, x: Tensor) -> Tensor:
    """Return g^T x."""
    return g.t() @ x


@dataclass(frozen=True)
class Call:
    """Some steps of some neurons; all tensors are flat and of one dtype.

    inputs [T, N] each, initial [S, N], params [1] or [N] each, grads (of the outputs) [T, N] each, or [1, N] if it is
    the same at all steps. came [T, R, K]: the inputs that the weights multiply, with K = 0 if no weights are learned.
    signals: the arguments whose gradient at each step is wanted. product: the function that computes g^T x from g [M,
    N] and x [M, K]. learns: whether gradients are wanted; if not, only the traces are updated.
    """

    learned: Influence
    inputs: Sequence[Tensor]
    initial: Tensor
    params: Sequence[Tensor]
    grads: Sequence[Tensor]
    came: Tensor
    layout: Layout
    signals: tuple[str, ...] = ()
    product: Callable[[Tensor, Tensor], Tensor] = _product
    learns: bool = True


class Learned(NamedTuple):
    """The gradients of a call: weight [channels, K], summed over steps, batch and places; own [Q, N], summed over
    steps; and signals [T, N] each, one gradient per step.
    """

    weight: Tensor
    own: Tensor
    signals: list[Tensor]


Carries = Callable[[Call, Traces], Learned]  # updates the traces in place
KERNELS = {
    "reference": "ranvier.backends.reference_traces",
    "numba": "ranvier.backends.numba_traces",
    "triton": "ranvier.backends.triton_traces",
}


def carry_traces(backend: Backend, call: Call, traces: Traces) -> Learned:
    """Update the traces in place through all steps of a call, and return the gradients."""
    carries: Carries = import_module(KERNELS[backend.name]).carry_traces
    if not traces.kept(call.came.shape[2]) and backend.name != "numba":
        states, neurons, _ = traces.weight.shape
        traces = Traces(call.initial.new_zeros(states, neurons, call.came.shape[2]), traces.own)
    return carries(call, traces)


def silent(call: Sequence[Tensor], like: Tensor) -> list[Tensor]:
    """Return output gradients of zero, [1, N] for each output in `call`: they update the traces, but nothing is
    learned.
    """
    return [torch.zeros(1, y.shape[1], dtype=like.dtype, device=like.device) for y in call]
