"""Layers in a row that run as one: `ranvier.Sequential` puts them together by itself, for CPU tensors.

The results are those of the layers one after the other, but for rounding; what is kept for backward, and what has to
pass through memory, is less. `stage_pictures` has the stages of convolutional nets, `stage_driven` those of linear
layers. Whoever looks at single layers (hooks, `record`, `torch.compile`) sees them one by one.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ranvier.backends import choose
from ranvier.nn.fold import fold, temporal
from ranvier.nn.neuron import Neuron
from ranvier.nn.temporal import Temporal, here

DTYPES = (torch.float32, torch.float64)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

Form = Literal["plain", "channels last", "bits"]  # what a stage may be handed by the one before it


class Stage:
    """Some layers of a net that run as one."""

    layers: Sequence[nn.Module]

    @property
    def takes(self) -> Form:
        """In what form this stage would have the output of the stage before it."""
        return "plain"

    def __call__(self, x: Any, form: Form = "plain") -> Any:
        """x [T, B, *features], or what `takes` says, -> the output of the last layer, in the form asked for."""
        raise NotImplementedError


def unwatched(layers: Sequence[nn.Module]) -> bool:
    """Whether nobody looks at the single layers."""
    return (
        not torch.compiler.is_compiling()
        and getattr(here, "book", None) is None  # the verbs see every layer by itself
        and not any(getattr(m, hooks) for layer in layers for m in layer.modules() for hooks in HOOKS)
    )


def serves(layers: Sequence[nn.Module], x: Any, axes: int) -> bool:
    """Whether a sequence x of so many axes may go through these layers at once."""
    return (
        type(x) is Tensor
        and x.dim() == axes
        and x.dtype in DTYPES
        and x.numel() > 0
        and choose.choose(x).backend == "numba"
        and unwatched(layers)
    )


def one_by_one(layers: Sequence[nn.Module], x: Any) -> Any:
    for module in layers:
        x = module(x) if temporal(module) else fold(module, x)
    return x


def plain_neuron(module: nn.Module | None) -> bool:
    """Whether it is a neuron of one input and one output that is its rule and nothing else."""
    own = "run", "prepare", "initial", "_inputs"
    return (
        isinstance(module, Neuron)
        and len(module.inputs) == 1
        and (kind := type(module)).forward is Temporal.forward
        and all(getattr(kind, n) is getattr(Neuron, n) for n in own)
        and len(module.bound(()).outputs) == 1
    )


def begin(neuron: Neuron, like: Tensor) -> tuple[Tensor, list[Tensor]]:
    """States [S, B, *F] before the first step and parameters, for neurons like those of a step [B, *F]."""
    neuron._inputs(like.unsqueeze(0))  # parameters that do not fit are refused
    states = list(neuron.initial(like).values())
    initial = torch.stack(states) if states else like.new_empty(0, *like.shape)
    return initial, [p.to(like.dtype) for p in neuron.values(like)]
