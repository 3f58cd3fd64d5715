"""Neurons whose own spikes come back to them."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.backends import choose
from ranvier.nn.neuron import Neuron
from ranvier.nn.temporal import Temporal, check_sequence
from ranvier.spikes import feedback as feedback_op

BLOCKS = {"numba": "tiles of the batch on CPU threads", "triton": "a block of the batch per program"}


class Recurrent(Temporal):
    """A neuron whose output at one step returns, through `feedback`, as input at the next.

    z[t] = neuron(x[t] + feedback(z[t - 1])), with z[-1] = 0.

    neuron: a `Neuron` with one input. feedback: the number of neurons (a linear map without bias between them is
    made), or any module from z_t [B, *features] to the same shape. x [T, B, *features] -> z of the same shape.

    >>> import torch, ranvier
    >>> ranvier.Recurrent(ranvier.ALIF(), 16)(torch.rand(10, 2, 16)).shape
    torch.Size([10, 2, 16])
    """

    def __init__(self, neuron: Neuron, feedback: int | nn.Module):
        super().__init__()
        if not isinstance(neuron, Neuron) or len(neuron.inputs) != 1:
            raise TypeError(f"Recurrent: the first argument must be a Neuron with one input, got {neuron!r}")
        if isinstance(feedback, bool) or not isinstance(feedback, (int, nn.Module)):
            raise TypeError(f"Recurrent: feedback must be the number of neurons or a module, got {feedback!r}")
        self.neuron = neuron
        self.feedback = nn.Linear(feedback, feedback, bias=False) if isinstance(feedback, int) else feedback
        self.records = neuron.records

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        check_sequence(self, x)
        if isinstance(self.feedback, nn.Linear) and self.feedback.in_features != x.shape[-1]:
            raise ValueError(
                f"Recurrent: the feedback joins {self.feedback.in_features} neurons, but x is {tuple(x.shape)} = "
                f"[T, B, *features]; build it as Recurrent(neuron, {x.shape[-1]})"
            )
        inner = None if state is None else {k: v for k, v in state.items() if k != "z"}
        z = torch.zeros_like(x.sum(0)) if state is None else state["z"].to(x.dtype)
        if x.numel() and self._whole(x):
            return self._at_once(x, z, inner, names)
        return self._step_by_step(x, z, inner, names)

    def _whole(self, x: Tensor) -> bool:
        """Whether one operator carries the whole sequence: one axis of neurons, not too many, a linear feedback."""
        widest = feedback_op.WIDEST.get(choose.choose(x).backend, 0)
        linear = x.dim() == 3 and type(self.feedback) is nn.Linear
        return linear and x.shape[2] <= widest and bool(self.neuron.states)

    def _at_once(self, x: Tensor, z: Tensor, inner: Any, names: tuple[str, ...]) -> tuple[Any, Any, dict[str, Tensor]]:
        neuron, back, backend = self.neuron, self.feedback, choose.choose(x).backend
        xs, states, params = neuron.prepare(x, inner)
        rule, weight, device = neuron.bound(names), back.weight, x.device.type
        if backend == "triton" and torch.is_autocast_enabled(device):
            weight = weight.to(torch.get_autocast_dtype(device))
        initial = torch.stack(list(states.values()))
        *outputs, final, _, _, _ = feedback_op.feedback(xs[0], z, initial, params, weight, back.bias, rule.key, backend)
        after = dict(zip(states, final.unbind(0), strict=True))
        y, traced = outputs[0], outputs[len(outputs) - len(names) :]
        return y, {"z": y[-1], **after}, dict(zip(names, traced, strict=True))

    def _step_by_step(
        self, x: Tensor, z: Tensor, inner: Any, names: tuple[str, ...]
    ) -> tuple[Any, Any, dict[str, Tensor]]:
        steps, traces = [], []
        for x_t in x.unbind(0):
            back = self.feedback(z)
            if back.shape != x_t.shape:
                raise ValueError(
                    f"Recurrent: feedback gives {tuple(back.shape)} but the input of a step is {tuple(x_t.shape)}"
                )
            y, inner, traced = self.neuron.run((x_t + back).unsqueeze(0), inner, names)
            z = y[0]
            steps.append(y)
            traces.append(traced)
        after = self.neuron.initial(z) if inner is None else inner
        y = torch.cat(steps) if steps else x
        return y, {"z": z, **after}, {n: torch.cat([t[n] for t in traces]) if traces else x for n in names}

    def explain(self, x: Any) -> str:
        backend = choose.choose(x).backend
        if self._whole(x):
            return f"{backend}: the whole sequence in one operator, {BLOCKS[backend]}"
        widest = feedback_op.WIDEST.get(backend, math.inf)
        wide = x.dim() == 3 and x.shape[2] > widest
        reason = f" (one operator carries up to {widest} neurons there)" if wide else ""
        return f"step by step{reason}; {self.neuron.explain(x)}"
