"""The stage of a linear layer and its neurons, recurrent or not, computed for a chunk of steps at a time.

Run one by one, the two layers keep the neurons' input for all steps in memory, and in backward also its gradient for
all steps. As a stage they keep that gradient for one chunk of steps only. If the next stage begins with
`ranvier.Linear`, the spikes are passed to it packed, one bit each instead of four bytes.
"""

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from ranvier.backends import choose
from ranvier.nn.linear import Linear
from ranvier.nn.neuron import Neuron
from ranvier.nn.plan import Stage, plain_neuron
from ranvier.nn.recurrent import Recurrent
from ranvier.spikes import bits, chunked, product, short
from ranvier.spikes.chunk import Neurons, RecurrentNeurons
from ranvier.spikes.chunked import Drive, Spikes

DTYPES = torch.float32, torch.float64


class LinearStage(Stage):
    """A linear layer and a neuron; or a `Recurrent` neuron whose feedback is a linear layer without bias."""

    def __init__(self, linear: nn.Linear, temporal: Neuron | Recurrent):
        self.linear, self.temporal, self.layers = linear, temporal, (linear, temporal)
        self.recurrent = isinstance(temporal, Recurrent)
        self.neuron: Neuron = temporal.neuron if isinstance(temporal, Recurrent) else temporal
        self.events = type(linear) is Linear
        first = [s.initial for s in self.neuron.states.values()]
        plain = type(self.neuron).values is Neuron.values and not any(isinstance(v, str) for v in first)
        self.initial = tuple(float(v) for v in first if not isinstance(v, str)) if plain else None

    @classmethod
    def begin(cls, layers: Sequence[nn.Module]) -> Self | None:
        linear, temporal, *_ = (*layers[:2], None, None)
        if type(linear) not in (nn.Linear, Linear):
            return None
        if type(temporal) is Recurrent:
            neuron, feedback = temporal.neuron, temporal.feedback
            fits = type(feedback) is nn.Linear and feedback.bias is None and bool(neuron.states)
            if not fits or not plain_neuron(neuron) or not neuron.bound(()).binary:
                return None
        elif not plain_neuron(temporal):
            return None
        return cls(linear, temporal)  # type: ignore[arg-type]

    def hands(self, numbers: int) -> bool:
        """Whether an output with this many numbers is passed on as bits: it is spikes, the event-driven path may be
        worthwhile, and the next stage accepts bits.
        """
        after, weight = self.after, self.linear.weight
        if not isinstance(after, LinearStage) or not after.events or weight.dtype != torch.float32:
            return False
        if numbers < product.SMALL:
            return False
        return after.fits(weight.shape[0], weight.dtype) and self.neuron.bound(()).binary

    def serves(self, x: Any) -> bool:
        if isinstance(x, Spikes):  # only passed on if `fits` was True
            return True
        return x.dim() == 3 and x.dtype in DTYPES and x.numel() > 0 and self.fits(x.shape[2], x.dtype)

    def fits(self, width: int, dtype: torch.dtype) -> bool:
        """Whether the weights, as they are now, accept inputs of this width and dtype."""
        weight, bias = self.linear.weight, self.linear.bias
        shape = weight.shape
        if len(shape) != 2 or shape[1] != width or not shape[0] or weight.dtype != dtype:
            return False
        if bias is not None and (bias.shape != shape[:1] or bias.dtype != dtype):
            return False
        if not self.recurrent:
            return True
        if self.temporal.detach_feedback:  # type: ignore[union-attr]
            return False
        back = self.temporal.feedback.weight  # type: ignore[union-attr]
        return back.shape == (shape[0], shape[0]) and back.dtype == dtype == torch.float32

    def several(self, x: Any) -> tuple[Tensor, int] | None:
        if type(x) not in choose.PLAIN or x.dim() != 3 or x.dtype not in DTYPES:
            return None
        (steps, batch, width), pieces, stage = x.shape, [], self
        if not short.fits(steps, batch, width):
            return None
        while isinstance(stage, LinearStage) and (piece := stage.piece(steps, batch, width, x.dtype)):
            pieces.append(piece)
            width, stage = piece.link.neurons, stage.after
        return (short.run(x.contiguous(), pieces), len(pieces)) if pieces else None

    def piece(self, steps: int, batch: int, width: int, dtype: torch.dtype) -> short.Piece | None:
        """Return this stage for a short sequence; None if the sequence is not short, or if the tensors are not plain or
        do not fit.
        """
        own, neuron = self.linear._parameters, self.neuron
        weight, bias = own.get("weight"), own.get("bias")
        if "bias" not in own or weight is None or self.initial is None or not self.fits(width, dtype):
            return None
        neurons, params, wide = weight.shape[0], [], []
        if not short.fits(steps, batch, neurons):
            return None
        for k in neuron.params:
            params.append(p := neuron.value(k))
            wide.append(p.numel() != 1)
            if p.dim() > 1 or (wide[-1] and p.shape[0] != neurons):
                return None
        if self.recurrent:
            params.append(self.temporal.feedback.weight)  # type: ignore[union-attr]
            wide.append(True)
        for t in (weight, bias, *params):
            if t is not None and (type(t) not in choose.PLAIN or not t.is_cpu):
                return None
        rule, size = neuron.bound(()), short.Size(steps, batch, neurons, dtype)
        numbers = [neuron.settings[k] for k in rule.params[len(neuron.params) :] if k in neuron.settings]
        numbers += neuron.surrogate.varying.values() if rule.numbers else ()
        link = short.link(rule, size, tuple(wide), tuple(numbers), self.initial, self.recurrent)
        return short.Piece(link, weight, bias, params)

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        """x [T, B, K], as numbers or as bits -> [T, B, N]."""
        linear = self.linear
        if isinstance(x, Tensor) and isinstance(self.before, LinearStage) and self.before.hands(x.numel()):
            x = as_bits(x)  # the same kind of product, and so the same rounding, as when bits are passed on
        if names:
            u = chunked.drive(x, linear.weight, linear.bias, self.events)
            return self.temporal.run(u, state, names)
        neuron, (steps, batch, _), width = self.neuron, as_numbers(x).shape, linear.weight.shape[0]
        like, inner = linear.weight.detach().new_zeros(1).expand(1, batch, width), state
        if isinstance(self.temporal, Recurrent):
            z, inner = self.temporal.begin(like, state)
        _, begin, learned = neuron.prepare(like, inner)
        initial, learned = list(begin.values()), [p.to(like.dtype) for p in learned]
        if isinstance(self.temporal, Recurrent):
            initial, learned = [*initial, z], [*learned, self.temporal.feedback.weight]
        kind = RecurrentNeurons if self.recurrent else Neurons
        drive = Drive(neuron.bound(()), kind, self.events, self.hands(steps * like.numel()))
        y, after = chunked.run(x, linear.weight, linear.bias, initial, learned, drive)
        return y, dict(zip((*begin, "z"), after, strict=False)), {}

    def told(self, x: Any) -> list[tuple[nn.Module, str]]:
        if not self.events or isinstance(x, Spikes):
            width, columns = self.linear.weight.shape
            most = product.crossover.crossover("linear", columns, width) if self.events else 0.0
            way = f"by events up to {most:.0%} of spikes, passed on as bits" if self.events else "dense"
        else:
            way = product.explain(x, len(self.linear.weight))
        return [
            (self.linear, f"{way}; one stage with the {type(self.temporal).__name__} after it"),
            (self.temporal, f"numba: one stage with the {type(self.linear).__name__} before it, by chunks of time"),
        ]


def as_numbers(x: Tensor | Spikes) -> Tensor:
    return x.carrier if isinstance(x, Spikes) else x


def as_bits(x: Tensor) -> Spikes:
    return Spikes(bits.packed(x.detach().reshape(-1, x.shape[-1])).bits, x)
