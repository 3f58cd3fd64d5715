"""A linear layer and the neurons it drives, chunk of time by chunk of time.

One after the other they keep, for all ticks, what the layer gives to the neurons, and on the way back its gradient;
together the latter is there for a chunk of ticks at a time. To a next stage that begins with `ranvier.Linear` spikes
are handed on as bits: they are packed while they are in cache, and take an eighth of a byte each from there on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn

from ranvier.nn.linear import Linear
from ranvier.nn.neuron import Neuron
from ranvier.nn.stage import Form, Stage, begin, one_by_one, plain_neuron, serves, unwatched
from ranvier.spikes.driven import Handed, driven


@dataclass(frozen=True)
class DrivenStage(Stage):
    """A linear layer and a neuron."""

    linear: nn.Linear
    neuron: Neuron

    @classmethod
    def begin(cls, modules: Sequence[nn.Module]) -> Self | None:
        """The stage that these layers begin with, if they do."""
        linear, neuron, *_ = (*modules[:2], None, None)
        if type(linear) not in (nn.Linear, Linear) or not plain_neuron(neuron):
            return None
        return cls(linear, neuron)  # type: ignore[arg-type]

    @property
    def layers(self) -> list[nn.Module]:
        return [self.linear, self.neuron]

    @property
    def takes(self) -> Form:
        bits = type(self.linear) is Linear and self.linear.weight.dtype == torch.float32 and unwatched(self.layers)
        return "bits" if bits else "plain"

    def __call__(self, x: Any, form: Form = "plain") -> Any:
        """x [T, B, K], or its bits, -> [T, B, N]."""
        linear, neuron = self.linear, self.neuron
        like = x.carrier if isinstance(x, Handed) else x
        fits = like.shape[-1] == linear.in_features if isinstance(x, Handed) else self._serves(x)
        if not fits:
            return one_by_one(self.layers, like)  # if it is the width of spikes that does not fit, torch says so
        rule = neuron.bound(())
        initial, params = begin(neuron, linear.weight.detach().new_empty(like.shape[1], linear.out_features))
        hand = form == "bits" and rule.binary and initial.dtype == torch.float32
        return driven(x, linear.weight, linear.bias, initial, params, rule, type(linear) is Linear, hand)

    def _serves(self, x: Any) -> bool:
        return (
            serves(self.layers, x, axes=3)
            and x.dtype == self.linear.weight.dtype
            and x.shape[2] == self.linear.in_features
            and not (len(x) > 1 and x.stride(0) == 0)  # the same at every tick: the layer runs once
            and not torch.is_autocast_enabled("cpu")
        )
