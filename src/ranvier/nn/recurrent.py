"""Recurrent neurons: the spikes of one step are part of the input of the next step."""

from typing import Any

import torch
from torch import Tensor, nn

from ranvier.backends import choose
from ranvier.nn.neuron import Neuron
from ranvier.nn.temporal import Temporal, check_sequence
from ranvier.nn.watched import watched
from ranvier.spikes.feedback import Loop, feedback, loop


class Recurrent(Temporal):
    """A neuron whose output at one step is added, after the map `feedback`, to its input at the next step.

    z[t] = neuron(x[t] + feedback(z[t - 1])), with z[-1] = 0.

    neuron: a `Neuron` with one input. feedback: the number of neurons (then it is a linear map without bias), or any
    module from z_t [B, *features] to the same shape. x [T, B, *features] -> z of the same shape. detach_feedback: no
    gradient flows through the outputs that return, so gradients do not grow with the length of the sequence or the
    strength of the feedback; the weights of the feedback are still learned.

    >>> import torch, ranvier
    >>> ranvier.Recurrent(ranvier.ALIF(), 16)(torch.rand(10, 2, 16)).shape
    torch.Size([10, 2, 16])
    """

    detach_feedback = False  # the value for layers that were pickled before this option existed

    def __init__(self, neuron: Neuron, feedback: int | nn.Module, *, detach_feedback: bool = False):
        super().__init__()
        if not isinstance(neuron, Neuron) or len(neuron.inputs) != 1:
            raise TypeError(f"Recurrent: the first argument must be a Neuron with one input, got {neuron!r}")
        if isinstance(feedback, bool) or not isinstance(feedback, (int, nn.Module)):
            raise TypeError(f"Recurrent: feedback must be the number of neurons or a module, got {feedback!r}")
        if not isinstance(detach_feedback, bool):
            raise TypeError(f"Recurrent: detach_feedback must be True or False, got {detach_feedback!r}")
        self.neuron, self.detach_feedback = neuron, detach_feedback
        self.feedback = nn.Linear(feedback, feedback, bias=False) if isinstance(feedback, int) else feedback
        self.records = neuron.records

    def run(self, x: Any, state: Any = None, names: tuple[str, ...] = ()) -> tuple[Any, Any, dict[str, Tensor]]:
        check_sequence(self, x)
        if isinstance(self.feedback, nn.Linear) and self.feedback.in_features != x.shape[-1]:
            raise ValueError(
                f"Recurrent: the feedback joins {self.feedback.in_features} neurons, but x is {tuple(x.shape)} = "
                f"[T, B, *features]; build it as Recurrent(neuron, {x.shape[-1]})"
            )
        if isinstance(self.feedback, nn.Linear) and self.feedback.weight.dtype != x.dtype:
            if not torch.is_autocast_enabled(x.device.type):
                raise TypeError(
                    f"Recurrent: x is {x.dtype}, but the feedback's weight is {self.feedback.weight.dtype}; convert "
                    f"one of them, as with net.to({x.dtype})"
                )
        z, inner = self.begin(x, state)
        if found := self._loop(x):
            return self._at_once(x, z, inner, names, found)
        return self._step_by_step(x, z, inner, names)

    def begin(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the output before the first step of x, and the initial state of the neuron."""
        if state is None:
            return x.new_zeros(x.shape[1:]), None
        if not isinstance(state, dict) or "z" not in state:
            got = sorted(state) if isinstance(state, dict) else type(state).__name__
            raise ValueError(
                f"Recurrent: state must be a dictionary of {[*self.neuron.states, 'z']}, got {got}; pass None to begin "
                f"anew"
            )
        if state["z"].shape != x.shape[1:]:
            raise ValueError(
                f"Recurrent: state 'z' is {tuple(state['z'].shape)} but the input of a step is {tuple(x.shape[1:])}; "
                f"pass state=None to begin a new batch"
            )
        return state["z"].to(x.dtype), {k: v for k, v in state.items() if k != "z"}

    def _loop(self, x: Tensor) -> Loop | None:
        """Return how the backend runs the whole sequence in one operator; None if it cannot. It can if the input has
        one axis of neurons, the neurons are not too many, and the feedback is linear.
        """
        back = self.feedback
        if x.dim() != 3 or not x.numel() or type(back) is not nn.Linear or watched(back) or not self.neuron.states:
            return None
        if "run" in self.neuron.__dict__:  # the user set a `run` on the instance
            return None
        width, found = x.shape[2], loop(choose.chosen(x))
        fits = back.weight.shape == (width, width) and (back.bias is None or back.bias.shape == (width,))
        return found if found and fits and width <= found.widest else None

    def _at_once(
        self, x: Tensor, z: Tensor, inner: Any, names: tuple[str, ...], found: Loop
    ) -> tuple[Any, Any, dict[str, Tensor]]:
        neuron, back = self.neuron, self.feedback
        assert isinstance(back, nn.Linear)
        xs, states, params = neuron.prepare(x, inner)
        rule, weight, device = neuron.bound(names), back.weight, x.device.type
        if found.autocasts and torch.is_autocast_enabled(device):
            weight = weight.to(torch.get_autocast_dtype(device))
        initial = torch.stack(list(states.values()))
        given = xs[0], z, initial, params, weight, back.bias, rule, choose.chosen(x).name
        outputs, final = feedback(*given, self.detach_feedback)
        after = {k: final[at] for at, k in enumerate(states)}
        y, traced = outputs[0], outputs[len(outputs) - len(names) :]
        return y, {"z": y[-1].clone(), **after}, dict(zip(names, traced, strict=True))

    def _step_by_step(
        self, x: Tensor, z: Tensor, inner: Any, names: tuple[str, ...]
    ) -> tuple[Any, Any, dict[str, Tensor]]:
        steps, traces = [], []
        for x_t in x.unbind(0):
            back = self.feedback(z.detach() if self.detach_feedback else z)
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

    def extra_repr(self) -> str:
        return "detach_feedback=True" if self.detach_feedback else ""

    def explain(self, x: Any) -> str:
        chosen = choose.chosen(x)
        if found := self._loop(x):
            return f"{chosen.name}: the whole sequence in one operator, {found.description}"
        possible = loop(chosen)
        wide = x.dim() == 3 and possible is not None and x.shape[2] > possible.widest
        reason = f" (one operator runs up to {possible.widest} neurons there)" if wide and possible else ""
        return f"step by step{reason}; {self.neuron.explain(x)}"
