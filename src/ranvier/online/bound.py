"""One step of a learner on the CPU without torch's overhead. The results are those of the general code, but the arrays
are prepared in advance.

The arithmetic of one step of a few dozen neurons takes microseconds; operators, autograd graphs and checks take many
times as long. So the arrays of all layers are allocated once, compiled code writes into them, and torch computes only
the loss and the products.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.backends import choose, numba_backend, numba_traces, op
from ranvier.backends.autograd import array
from ranvier.backends.traces import Call, Layout
from ranvier.nn.linear import Linear
from ranvier.nn.neuron import Neuron
from ranvier.nn.plan import plain_neuron
from ranvier.nn.watched import all_watched, watched
from ranvier.online.layer import Carried, Layer
from ranvier.online.methods import ONLINE, Method
from ranvier.online.work import began

DTYPES = torch.float32, torch.float64


class BoundLayer:
    """The arrays of one layer, for a batch of B samples of K numbers."""

    def __init__(self, layer: Layer, method: Method, batch: int, dtype: torch.dtype, carried: Carried):
        self.layer, self.neuron, self.method = layer, layer.neuron, method
        self.rule, weight = self.neuron.bound(()), layer.wire.module.weight  # type: ignore[union-attr]
        self.width, inputs = weight.shape
        modules = [wire.module for wire in (layer.wire, layer.back) if wire is not None]
        self.weights, self.biases = [m.weight for m in modules], [m.bias for m in modules if m.bias is not None]
        self.came = torch.zeros(1, batch, sum(w.shape[1] for w in self.weights), dtype=dtype, device="cpu")
        self.a, self.z = self.came[0, :, :inputs], self.came[0, :, inputs:]  # inputs, spikes of the last step
        self.x, self.y = (torch.zeros(1, batch * self.width, dtype=dtype, device="cpu") for _ in range(2))
        self.learns = [k for k in self.neuron.params if getattr(self.neuron, k).requires_grad]
        self._lay(batch, dtype, carried)

    def _lay(self, batch: int, dtype: torch.dtype, carried: Carried) -> None:
        layer, neuron = self.layer, self.neuron
        x, names = self.x.view(batch, self.width), list(neuron.states)
        state = carried.get("state") or neuron.initial(x)
        if layer.back is not None and carried.get("state"):
            self.z.copy_(state["z"])
        own = [f"{k}_" for k in self.learns]
        if any(b.requires_grad for b in self.biases):
            own.append(self.rule.arguments[0])
        self.weighs = any(w.requires_grad for w in self.weights)
        self.learned = layer.learned(self.method, own, self.weighs)
        readout = layer.readout.neuron if self.method.reads and layer.readout is not None else None
        rows = len(names) + (len(readout.bound(()).states) if readout else 0)
        self.before = torch.zeros(rows, batch * self.width, dtype=dtype, device="cpu")
        self.after = torch.zeros(len(names), batch * self.width, dtype=dtype, device="cpu")
        for row, name in zip(self.after, names, strict=True):
            row.copy_(state[name].detach().reshape(-1))
        self.read = [v.detach().to(dtype) for v in readout.values(x)] if readout else []
        layout = Layout(batch, self.width)
        width = self.came.shape[2] if self.weighs else 0
        self.traces = began(self.learned, layout, width, self.before, neuron)
        for k, v in (carried.get("traces") or {}).items():
            self.traces[k].copy_(v)
        self.grad = torch.zeros(1, batch * self.width, dtype=dtype, device="cpu")
        self.into, self.sums = (
            torch.zeros(n, m, dtype=dtype, device="cpu") for n, m in ((self.width, width), (len(own), x.numel()))
        )
        self.signal = torch.zeros(1, x.numel(), dtype=dtype, device="cpu")
        self.call = Call(
            self.learned, [self.x], self.before, self._params(), [self.grad],
            self.came if self.weighs else self.came[:, :, :0].contiguous(), layout, (self.rule.arguments[0],),
        )  # fmt: skip
        self._compile(batch, dtype)

    def _params(self, values: Sequence[Tensor] | None = None) -> list[Tensor]:
        x = self.x.view(-1, self.width)
        values = self.neuron.values(x) if values is None else values
        return op.flat_params([v.detach() for v in (*values, *self.read)], x.shape, x.dtype)

    def _compile(self, batch: int, dtype: torch.dtype) -> None:
        params, neurons, states = self.call.params, batch * self.width, len(self.learned.states)
        self.count = len(self.rule.params)
        self.run = numba_backend.module(self.rule, dtype, numba_backend.per_neuron(params[: self.count])).forward
        self.carry = numba_traces.compiled(self.call).traces
        two = torch.zeros(2, len(self.rule.states), neurons, dtype=dtype, device="cpu").numpy()
        self.ways = (self.x.numpy(),), self.after.numpy(), (self.y.numpy(),), two
        tile = max(1, numba_traces.TILE)
        scratch = (
            torch.zeros(2, len(self.before), tile, dtype=dtype, device="cpu"),
            torch.zeros(1, len(self.learned.found), tile, dtype=dtype, device="cpu"),
        )
        self.arrays = (
            (self.x.numpy(),), self.before.numpy(), None, (self.grad.numpy(),), self.call.came[0].numpy(),
            self.traces["weight"].view(states * neurons, -1 if self.call.came.shape[2] else 0).numpy(),
            self.traces["own"].view(len(self.learned.own) * states, neurons).numpy(), self.into.numpy(),
            self.sums.numpy(), (self.signal.numpy(),), *(s.numpy() for s in scratch),
        )  # fmt: skip
        self.tile, self.batch, self.size = tile, batch, neurons
        self.params = tuple(map(array, params))

    def forward(self, a: Tensor) -> Tensor:
        """Run one step: a [B, K] -> y [B, N]. The state is updated now, the traces in `backward`."""
        layer = self.layer
        self.a.copy_(a)
        x = self.x.view(self.batch, self.width)
        wire: Any = layer.wire
        if wire.module.bias is None:
            torch.mm(self.a, wire.module.weight.t(), out=x)
        else:
            torch.addmm(wire.module.bias, self.a, wire.module.weight.t(), out=x)
        if layer.back is not None:
            if layer.back.module.bias is not None:
                x.add_(layer.back.module.bias)
            x.addmm_(self.z, layer.back.module.weight.t())
        if self.learns:
            with torch.enable_grad():
                self.values = self.neuron.values(x)
            self.params = tuple(map(array, self._params(self.values)))
        inputs, state, outputs, two = self.ways
        self.before[: len(self.after)].copy_(self.after)
        self.run(
            0, self.size, self.size, 1, inputs, self.before.numpy(), self.params[: self.count], outputs, state, two
        )
        return self.y.view(self.batch, self.width)

    def backward(self, g: Tensor | None, down: bool) -> Tensor | None:
        """Update the traces and add the gradients of the weights to `.grad`. Return the gradient of a if `down`, else
        None.

        g: the gradient of y [B, N]; if it is None, only the traces are updated.
        """
        if g is None:
            self.grad.zero_()
        else:
            self.grad.view(g.shape).copy_(g)
            self.into.zero_()
            self.sums.zero_()
        first, before, _, *rest = self.arrays
        self.carry(0, self.width, self.tile, 1, self.batch, self.width, 1, first, before, self.params, *rest)
        if self.layer.back is not None:
            self.z.copy_(self.y.view(self.batch, self.width))
        if g is None:
            return None
        self._give()
        spatial = g if self.layer.reads and self.method.reads else self.signal.view(self.batch, self.width)
        return spatial @ self.layer.wire.module.weight if down else None  # type: ignore[union-attr]

    def _give(self) -> None:
        """Add the gradients of this step to the `.grad` of the parameters."""
        at = 0
        for w in self.weights:
            if w.requires_grad and self.weighs:
                _join(w, self.into[:, at : at + w.shape[1]])
            at += w.shape[1]
        if self.biases and len(self.sums) > len(self.learns):
            g = self.sums[-1].view(self.batch, self.width).sum(0)
            for b in self.biases:
                if b.requires_grad:
                    _join(b, g)
        if self.learns:
            names = list(self.rule.params)
            values = [self.values[names.index(k)] for k in self.learns]
            rows = self.sums[: len(values)].view(-1, self.batch, self.width)
            torch.autograd.backward(values, [r.sum_to_size(v.shape) for r, v in zip(rows, values, strict=True)])

    def carried(self) -> Carried:
        """Return copies of the state and the traces."""
        shape = self.batch, self.width
        state = {k: v.view(shape).clone() for k, v in zip(self.neuron.states, self.after, strict=True)}
        if self.layer.back is not None:
            state = {"z": self.z.clone(), **state}
        return {"state": state, "traces": {k: v.clone() for k, v in self.traces.items()}}


def _join(p: Tensor, g: Tensor) -> None:
    if p.grad is None:
        p.grad = g.clone()
    else:
        p.grad.add_(g)


class Bound:
    """One step of a learner, with its arrays and with the settings for which the arrays were allocated."""

    def __init__(self, learner: Any, layers: list[BoundLayer], x_t: Tensor):
        self.learner, self.layers, self.shape, self.dtype = learner, layers, x_t.shape, x_t.dtype
        self.modules = list(learner.modules())
        self.tensors = [
            (where, name, t, 0 if t is None else t.data_ptr(), t is not None and t.requires_grad)
            for m in self.modules
            for where in (m._parameters, m._buffers)
            for name, t in where.items()
        ]
        self.row, self.each = learner.row(), learner.each
        self.rules = [(b.neuron, b.rule, dict(b.neuron.settings)) for b in layers]
        self.feedback = [getattr(learner, learner.feedback_of(b.layer.path), None) for b in layers]

    @classmethod
    def of(cls, learner: Any, x_t: Any, carried: dict[str, Carried]) -> "Bound | None":
        """Return the prepared step of a learner for inputs like x_t [B, K]; None if the general code must run
        the step.
        """
        plain = type(x_t) is Tensor and x_t.dim() == 2 and x_t.dtype in DTYPES and x_t.numel()
        if not plain or not choose.fuses(x_t) or learner.feedback == "adaptive":
            return None
        if all_watched() or any(map(watched, learner.modules())):
            return None
        learner.check()
        width, found = x_t.shape[1], []
        for part in learner.row():
            if not isinstance(part, Layer) or not _fits(part, width, x_t.dtype):
                return None
            method = ONLINE.get(learner.each[part.path])
            if method is None or method.traces != "exact":
                return None
            found.append((part, method))
            width = part.wire.module.weight.shape[0]  # type: ignore[union-attr]
        with torch.no_grad():
            layers = [BoundLayer(p, m, len(x_t), x_t.dtype, carried.get(p.path, {})) for p, m in found]
        return cls(learner, layers, x_t)

    def serves(self, x_t: Any) -> bool:
        """Whether the prepared step can run this input, and the learner has not been changed since it was prepared."""
        return (
            type(x_t) is Tensor
            and x_t.shape == self.shape
            and x_t.dtype is self.dtype
            and not any(map(watched, self.modules))
            and not all_watched()
            and all(
                where.get(k) is t and (t is None or (t.data_ptr() == at and t.requires_grad is learns))
                for where, k, t, at, learns in self.tensors
            )
            and self.learner.row() is self.row
            and self.learner.each == self.each
            and all(n.bound(()) is rule and n.settings == settings for n, rule, settings in self.rules)
            and choose.fuses(x_t)
        )

    @torch.no_grad()
    def forward(self, x_t: Tensor) -> Tensor:
        """Run one step and return a copy of its output."""
        for layer in self.layers:
            x_t = layer.forward(x_t)
        return x_t.clone()

    @torch.no_grad()
    def backward(self, g: Tensor | None) -> None:
        """Update the traces for this step and add the gradients of the weights to `.grad`; g: the gradient of the
        output.
        """
        error = g
        for k in range(len(self.layers) - 1, -1, -1):
            told = self.feedback[k]
            if g is not None and told is not None:
                error = g @ told
            error = self.layers[k].backward(error, down=k > 0 and self.feedback[k - 1] is None)

    def carried(self) -> dict[str, Carried]:
        return {b.layer.path: b.carried() for b in self.layers}


def _fits(part: Layer, width: int, dtype: torch.dtype) -> bool:
    """Whether a layer is a linear map followed by plain neurons, and all its tensors are on the CPU and have this
    dtype.
    """
    if part.wire is None or type(part.wire.module) not in (nn.Linear, Linear) or not plain_neuron(part.neuron):
        return False
    weight, back = part.wire.module.weight, part.back.module.weight if part.back is not None else None
    if weight.dim() != 2 or weight.shape[1] != width or (back is not None and back.shape != (len(weight),) * 2):
        return False
    neuron: Neuron = part.neuron
    per_neuron = all(
        getattr(neuron, k).numel() == 1 or getattr(neuron, k).shape == (len(weight),) for k in neuron.params
    )
    tensors = [t for m in part.layers for t in (*m.parameters(), *m.buffers())]
    alike = all(t.dtype == dtype and t.device.type == "cpu" and type(t) in choose.PLAIN for t in tensors)
    return per_neuron and alike
