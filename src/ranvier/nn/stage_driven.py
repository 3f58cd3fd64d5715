"""A linear layer and the neurons it drives, recurrent ones too, chunk of time by chunk of time.

One after the other they keep, for all steps, what the layer gives to the neurons, and on the way back its gradient;
together the latter is there for a chunk of steps at a time. To a next stage that begins with `ranvier.Linear` spikes
are handed on as bits: they are packed while they are in cache, and take an eighth of a byte each from there on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn

from ranvier.nn.linear import Linear
from ranvier.nn.neuron import Neuron
from ranvier.nn.recurrent import Recurrent
from ranvier.nn.stage import Form, Stage, begin, one_by_one, plain_neuron, serves, unwatched
from ranvier.spikes.carried import Neurons, Returning
from ranvier.spikes.driven import Handed, driven


@dataclass(frozen=True)
class DrivenStage(Stage):
    """A linear layer and a neuron, whose spikes may return through a linear layer without bias."""

    linear: nn.Linear
    neuron: Neuron
    back: nn.Linear | None
    layers: Sequence[nn.Module]

    @classmethod
    def begin(cls, modules: Sequence[nn.Module]) -> Self | None:
        """The stage that these layers begin with, if they do."""
        linear, neuron, *_ = (*modules[:2], None, None)
        back = None
        if type(neuron) is Recurrent:
            neuron, back = neuron.neuron, neuron.feedback
            if type(back) is not nn.Linear or back.bias is not None or not neuron.states:
                return None
        if type(linear) not in (nn.Linear, Linear) or not plain_neuron(neuron):
            return None
        return cls(linear, neuron, back, modules[:2])  # type: ignore[arg-type]

    @property
    def takes(self) -> Form:
        bits = type(self.linear) is Linear and self.linear.weight.dtype == torch.float32 and unwatched(self.layers)
        return "bits" if bits else "plain"

    def __call__(self, x: Any, form: Form = "plain") -> Any:
        """x [T, B, K], or its bits, -> [T, B, N]."""
        linear, neuron, back = self.linear, self.neuron, self.back
        like = x.carrier if isinstance(x, Handed) else x
        rule, fits = neuron.bound(()), like.shape[-1] == linear.in_features
        packs = rule.binary and linear.weight.dtype == torch.float32
        if not (fits if isinstance(x, Handed) else self._serves(x, packs)):
            return one_by_one(self.layers, like)  # if it is the width of spikes that does not fit, torch says so
        initial, learned = begin(neuron, linear.weight.detach().new_empty(like.shape[1], linear.out_features))
        kind, learned = (Neurons, learned) if back is None else (Returning, [*learned, back.weight])
        hand, events = packs and form == "bits", type(linear) is Linear
        return driven(x, linear.weight, linear.bias, initial, learned, rule, kind, events, hand)

    def _serves(self, x: Any, packs: bool) -> bool:
        linear, back = self.linear, self.back
        return (
            serves(self.layers, x, axes=3)
            and x.dtype == linear.weight.dtype
            and x.shape[2] == linear.in_features
            and not (len(x) > 1 and x.stride(0) == 0)  # the same at every step: the layer runs once
            and not torch.is_autocast_enabled("cpu")
            and (back is None or (packs and back.in_features == back.out_features == linear.out_features))
        )
