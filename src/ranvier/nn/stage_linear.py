"""The stage of a linear layer and its neurons, recurrent or not, computed for a chunk of steps at a time.

If the two layers run one by one, the input of the neurons at all steps is in memory, and in backward also its gradient
at all steps. In a stage, this gradient is in memory for one chunk of steps only. If the next stage starts with
`ranvier.Linear`, the spikes are passed to it as bits: one bit per spike instead of four bytes.
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
from ranvier.spikes import product, row
from ranvier.spikes.chunked import Link
from ranvier.spikes.neurons import Neurons, RecurrentNeurons, neurons

DTYPES = torch.float32, torch.float64


class LinearStage(Stage):
    """A linear layer and a neuron; or a `Recurrent` neuron whose feedback is a linear layer without bias."""

    def __init__(self, linear: nn.Linear, temporal: Neuron | Recurrent):
        self.linear, self.temporal, self.layers = linear, temporal, (linear, temporal)
        self.recurrent = isinstance(temporal, Recurrent)
        self.neuron: Neuron = temporal.neuron if isinstance(temporal, Recurrent) else temporal
        self.kind = RecurrentNeurons if self.recurrent else Neurons
        self.events = type(linear) is Linear
        first = {k: s.initial for k, s in self.neuron.states.items()} | ({"z": 0.0} if self.recurrent else {})
        plain = type(self.neuron).values is Neuron.values and not any(isinstance(v, str) for v in first.values())
        self.names, self.initial = tuple(first), [float(v) for v in first.values()] if plain else None

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

    def serves(self, x: Any) -> bool:
        return x.dim() == 3 and x.dtype in DTYPES and x.numel() > 0 and self.fits(x.shape[2], x.dtype)

    def weights(self) -> tuple[Tensor, Tensor | None]:
        """Return weight and bias. In a pruned layer, for example, they are no parameters but plain attributes."""
        own = self.linear._parameters
        if "weight" in own and "bias" in own:
            return own["weight"], own["bias"]  # type: ignore[return-value]
        return self.linear.weight, self.linear.bias

    def fits(self, width: int, dtype: torch.dtype) -> bool:
        """Whether the weights, as they are now, accept inputs of this width and dtype."""
        weight, bias = self.weights()
        shape = weight.shape
        if len(shape) != 2 or shape[1] != width or not shape[0]:
            return False
        tensors = [(weight, shape)] if bias is None else [(weight, shape), (bias, shape[:1])]
        if self.recurrent:
            if self.temporal.detach_feedback or dtype != torch.float32:  # type: ignore[union-attr]
                return False
            tensors.append((self.temporal.feedback.weight, (shape[0], shape[0])))  # type: ignore[union-attr]
        for t, wanted in tensors:
            if type(t) not in choose.PLAIN or t.dtype != dtype or not t.is_cpu or t.shape != wanted:
                return False
        return True

    def packed(self, numbers: int) -> bool:
        """Whether an input of this size is passed to this stage as bits: it is the spikes of the previous stage, and
        the event-driven product may be faster.
        """
        before = self.before
        large = self.events and numbers >= product.SMALL and self.weights()[0].dtype == torch.float32
        return large and isinstance(before, LinearStage) and before.neuron.bound(()).binary

    def several(self, x: Any, book: Any) -> tuple[Any, int] | None:
        """Run this stage and the linear stages directly after it as one function, until the weights of a stage do not
        fit.
        """
        if not self.serves(x):
            return None
        if book is not None and book.singly:
            return super().several(x, book)
        stages, links, stage = [], [], self
        width, size, dtype = x.shape[2], x.shape[:2], x.dtype
        while isinstance(stage, LinearStage) and (not stages or stage.fits(width, dtype)):
            if stage.temporal in [s.temporal for s in stages]:
                break  # a layer that is used twice would need two states
            try:
                state = None if book is None else book.begin(stage.temporal)
                links.append(stage.link(size, width, dtype, state))
            except (TypeError, ValueError):
                if not stages:
                    raise
                break  # it is run separately, so that the error names its layers
            stages.append(stage)
            width, stage = links[-1].weight.shape[0], stage.after
        y, after = row.run(x, links, book is not None)
        if book is not None:
            for ran, found in zip(stages, after, strict=True):
                book.end(ran.temporal, dict(zip(ran.names, found, strict=True)))
        return y, len(links)

    def link(self, size: Sequence[int], width: int, dtype: torch.dtype, state: Any) -> Link:
        """Return the `Link` of this stage with its current tensors, for inputs [T, B, width] with `size` = [T, B]."""
        steps, batch = size
        (weight, bias), (rule, params, numbers), states = self.weights(), self.neuron.arguments(), ()
        count = weight.shape[0]
        if (
            state is not None
            or self.initial is None
            or [p for p in params if p.dim() > 1 or p.numel() not in (1, count)]
        ):
            states, params, numbers = self._prepare(weight.detach().new_zeros(1).expand(1, batch, count), state)
        if self.recurrent:
            params = [*params, self.temporal.feedback.weight]  # type: ignore[union-attr]
        wide = tuple([p.numel() != 1 for p in params])
        run = neurons(self.kind, rule, (batch, count), dtype, wide, tuple(numbers))
        packed = self.packed(steps * batch * width)
        return Link(run, weight, bias, self.initial or (), states, params, self.events, packed)

    def _prepare(self, like: Tensor, state: Any) -> tuple[list[Tensor], list[Tensor], Sequence[float]]:
        """Return the initial states and the parameters, after checking them, for inputs like `like`, and the run-time
        numbers.
        """
        z = None
        if isinstance(self.temporal, Recurrent):
            z, state = self.temporal.begin(like, state)
        _, begin, params = self.neuron.prepare(like, state)
        return [*begin.values(), *([] if z is None else [z])], params, ()

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        """Run x [T, B, K] -> [T, B, N]."""
        if names:
            u = row.drive(x, *self.weights(), self.events, self.packed(x.numel()))
            return self.temporal.run(u, state, names)
        y, (after,) = row.run(x, [self.link(x.shape[:2], x.shape[2], x.dtype, state)], True)
        return y, dict(zip(self.names, after, strict=True)), {}

    def explanations(self, x: Any) -> list[tuple[nn.Module, str]]:
        if not self.events or self.packed(x.numel()):
            width, columns = self.linear.weight.shape
            most = product.crossover.crossover("linear", columns, width) if self.events else 0.0
            way = f"by events up to {most:.0%} of spikes, passed on as bits" if self.events else "dense"
        else:
            way = product.explain(x, len(self.linear.weight))
        return [
            (self.linear, f"{way}; one stage with the {type(self.temporal).__name__} after it"),
            (self.temporal, f"numba: one stage with the {type(self.linear).__name__} before it, by chunks of time"),
        ]
