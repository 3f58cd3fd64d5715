"""One call of a layer that learns forward in time: the values that its gradient needs later."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ranvier.backends import choose, op
from ranvier.backends.autograd import Function, whole
from ranvier.backends.traces import Call, Layout, Traces, carry_traces, silent
from ranvier.derive.influence import Influence
from ranvier.nn.neuron import Neuron
from ranvier.online.inputs import Inputs
from ranvier.online.methods import Method
from ranvier.online.wire import product

if TYPE_CHECKING:
    from ranvier.online.layer import Layer


class Given(NamedTuple):
    """The neurons of one call in the form that kernels need: inputs [T, N] each, the state before [S, N],
    parameters.
    """

    inputs: list[Tensor]
    initial: Tensor
    params: list[Tensor]


class Work:
    """One call of a layer: the values that its gradient needs later."""

    def __init__(self, layer: "Layer", method: Method, a: Any, x: Any, y: Any, carried: Mapping[str, Any]):
        self.layer, self.method = layer, method
        xs: Any = x if isinstance(x, tuple) else (x,)
        neuron, (self.xs, state, values) = layer.neuron, self._prepared(xs, y, carried.get("state"))
        self.ys: Any = y if isinstance(y, tuple) else (y,)
        self.values, self.shape = values, self.xs[0].shape
        wires = [(layer.wire, a)] if layer.wire is not None else []
        if layer.back is not None:
            first = carried["state"]["z"].to(y) if carried.get("state") else torch.zeros_like(y[0])
            wires.append((layer.back, torch.cat([first.unsqueeze(0), self.ys[0][:-1]])))
        self.wires = [(wire, came.detach()) for wire, came in wires]
        self.weights = [wire.module.weight for wire, _ in self.wires]
        self.biases = [wire.module.bias for wire, _ in self.wires]
        own = [f"{k}_" for k, v in zip(neuron.bound(()).params, values, strict=True) if v.requires_grad]
        if any(b is not None and b.requires_grad for b in self.biases):
            own.append(neuron.bound(()).arguments[0])
        learns = any(w.requires_grad for w in self.weights)
        self.learned = layer.learned(method, own, learns)
        self.inward = any(x.requires_grad for x in xs)
        self.learns = bool(own) or learns or self.inward
        self.layout = layer.wire.layout(self.xs[0]) if layer.wire is not None else _layout(layer, self.xs[0])
        self.exact = learns and method.traces == "exact"
        if self.exact:
            for wire, _ in self.wires:
                wire.check(f"layer {layer.path!r}")
        self.given = self._flat(state)
        self.like = self.given.initial
        self.backend = choose.chosen(self.like)  # backward may run in another thread
        self.before: dict[str, Tensor] | None = carried.get("traces")
        self.inputs = Inputs.of(self) if learns and method.traces == "inputs" else None
        biases = [b for b in self.biases if b is not None]
        self.tensors = [*xs, *self.weights, *biases, *values]
        layer.says = self.says()

    def _prepared(self, xs: Any, y: Any, state: Any) -> tuple:
        layer = self.layer
        if layer.recurrent is None or layer.back is None:
            return layer.neuron.prepare(xs if len(xs) > 1 else xs[0], state)
        z, inner = layer.recurrent.begin(xs[0], state)
        with torch.no_grad():
            total = xs[0].detach() + layer.back(torch.cat([z.unsqueeze(0), y[:-1]]).detach())
        return layer.neuron.prepare(total, inner)

    def _flat(self, state: Mapping[str, Tensor]) -> Given:
        """Return the inputs, states and parameters in the form that kernels need; those of a readout come last."""
        layer, x = self.layer, self.xs[0]
        initial = torch.stack([s.detach() for s in state.values()]) if state else x.new_empty(0, *x.shape[1:])
        dtype = torch.promote_types(x.dtype, torch.float32)
        params = [v.detach() for v in self.values]
        if self.method.reads and layer.readout is not None:
            readout = layer.readout.neuron
            more = len(readout.bound(()).states)
            initial = torch.cat([initial, initial.new_zeros(more, *x.shape[1:])])
            params += [v.detach() for v in readout.values(x)]
        inputs = [v.detach().to(dtype).reshape(len(x), -1).contiguous() for v in self.xs]
        flat = initial.to(dtype).reshape(len(initial), x.shape[1:].numel()).contiguous()
        return Given(inputs, flat, op.flat_params(params, x.shape[1:], dtype))

    def passed(self) -> Any:
        return self.ys[0] if len(self.ys) == 1 else self.ys

    # ------------------------------------------------------------ traces
    def fresh(self, wanted: bool = True) -> dict[str, Tensor]:
        """Return the traces before the first step. Those of weights are left out if they are not needed after
        the call.
        """
        width = sum(w[0].numel() for w in self.weights) if self.exact and wanted else 0
        found = began(self.learned, self.layout, width, self.like, self.layer.neuron)
        return found if self.inputs is None else {**found, **self.inputs.fresh()}

    def carried_on(self) -> dict[str, Tensor]:
        """Return the traces after these steps as new tensors; the old traces are not changed."""
        with torch.no_grad():
            if self.before is None:
                self.before = self.fresh()
            after = {k: v.clone() for k, v in self.before.items()}
            self._carry(after, None)
            return after if self.inputs is None else {**after, **self.inputs.after(self.before)}

    def learn(self, grads: Sequence[Tensor] | None) -> Any:
        """Update the traces in place, and compute the gradients of this call from them and from the gradients of the
        outputs.
        """
        before = self.before if self.before is not None else self.fresh(wanted=False)
        found = self._carry(before, grads)
        products = self.inputs.gradients(before, found) if self.inputs is not None and grads is not None else None
        if self.inputs is not None and before is self.before:  # only if the traces are used afterwards
            for k, v in self.inputs.after(before).items():
                before[k].copy_(v)
        return found, products

    def _carry(self, traces: dict[str, Tensor], grads: Sequence[Tensor] | None) -> Any:
        given, rule = self.given, self.learned.rule
        steps, dtype = len(given.inputs[0]), self.like.dtype
        rows = (
            [g.to(dtype).reshape(steps, -1).contiguous() for g in grads] if grads else silent(given.inputs, self.like)
        )
        rows = rows if grads else rows[:1] * len(rule.outputs)
        if self.exact:
            each = [wire.came(a).to(dtype) for wire, a in self.wires]
            came = (torch.cat(each, 2) if len(each) > 1 else each[0]).contiguous()
        else:
            came = self.like.new_zeros(steps, self.layout.batch * self.layout.places, 0)
        names = rule.arguments[: len(rule.inputs)]
        if self.inputs is not None:
            names = (*names, *(self.learned.name(s) for s in self.learned.states))
        signals = names if grads and (self.inward or not self.exact) else ()
        call = Call(
            self.learned, given.inputs, given.initial, given.params, rows, came, self.layout, signals,
            product, bool(grads),
        )  # fmt: skip
        return carry_traces(self.backend, call, Traces(traces["weight"], traces["own"]))

    # ------------------------------------------------------------ gradients
    def gradients(self, grads: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Return the gradients of inputs, weights, biases and parameters, in the order of `tensors`."""
        given = [torch.zeros_like(y) if g is None else g for g, y in zip(grads, self.ys, strict=True)]
        reuse = self.layer.pending is self
        kept = None if reuse or self.before is None else self.before
        if kept is not None:
            self.before = {k: v.clone() for k, v in kept.items()}
        found, products = self.learn(given)
        self.before = kept
        if reuse:
            self.layer.pending = None
        spatial: list[Tensor | None] = [s.view(self.shape) for s in found.signals[: len(self.xs)]]
        spatial = spatial or [None] * len(self.xs)
        if self.layer.reads and self.method.reads:
            spatial = [given[0]]  # the layer below already includes its memory
        out = [*spatial, *self._of_weights(found, products)]
        out += [g for g in self._of_biases(found)]
        return [*out, *self._of_params(found)]

    def _of_weights(self, found: Any, products: Any) -> list[Tensor | None]:
        if not any(w.requires_grad for w in self.weights):
            return [None] * len(self.weights)
        if self.exact:
            parts = found.weight.split([w[0].numel() for w in self.weights], 1)
            return [g.reshape(w.shape).to(w) for g, w in zip(parts, self.weights, strict=True)]
        if products is not None:
            return products
        g = found.signals[0].view(self.shape)
        return [wire.product(g, a.to(g)).to(wire.module.weight) for wire, a in self.wires]

    def _of_biases(self, found: Any) -> Iterator[Tensor | None]:
        name = self.learned.rule.arguments[0]
        for b in (b for b in self.biases if b is not None):
            row = found.own[self.learned.own.index(name)] if name in self.learned.own else None
            yield None if row is None else row.view(*self.layout).sum((0, 2)).to(b)

    def _of_params(self, found: Any) -> Iterator[Tensor | None]:
        for k, v in zip(self.layer.neuron.bound(()).params, self.values, strict=True):
            if not v.requires_grad:
                yield None
                continue
            row = found.own[self.learned.own.index(f"{k}_")]
            yield row.view(self.shape[1:]).sum_to_size(v.shape).to(v)

    def says(self) -> str:
        """Describe the traces that are stored from step to step."""
        states, own = len(self.learned.states), len(self.learned.own)
        b, c, p = self.layout
        width = sum(w[0].numel() for w in self.weights)
        neurons = f"{b} x {c * p}"
        said = []
        if self.exact:
            said.append(f"exact traces {states} x {neurons} x {width}")
        elif self.inputs is not None:
            said.append("traces of inputs " + ", ".join(f"{states} x {list(a.shape[1:])}" for _, a in self.wires))
        elif self.weights:
            said.append("no traces")
        if own:
            said.append(f"{own} own x {states} x {neurons}")
        return ", ".join(said)


def began(learned: Influence, layout: Layout, width: int, like: Tensor, neuron: Neuron) -> dict[str, Tensor]:
    """Return the traces before the first step: zero, or 1 for the trace of a parameter that is the initial value of the
    state.
    """
    traces, states = Traces.zeros(learned, layout, width, like), list(neuron.states.values())
    for j, s in enumerate(learned.states):
        begins = f"{states[s].initial}_" if s < len(states) else ""
        if begins in learned.own:
            traces.own[learned.own.index(begins), j] = 1.0
    return {"weight": traces.weight, "own": traces.own}


def _layout(layer: "Layer", x: Tensor) -> Layout:
    if layer.back is not None:
        return layer.back.layout(x)
    return Layout(1, x.shape[1:].numel())


class Eligible(Function):
    """Return the outputs of a layer unchanged. In backward, compute the gradient of the weights from the traces and the
    gradient of the outputs.
    """

    @staticmethod
    def forward(ctx: Any, work: Work, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.work = work
        ctx.save_for_backward(*work.given.inputs, *(a for _, a in work.wires))  # so torch detects changes in place
        return tuple(whole(y, y.shape) for y in work.ys)

    @staticmethod
    def gradients(ctx: Any, saved: tuple[Tensor, ...], *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        return None, *ctx.work.gradients(grads)
