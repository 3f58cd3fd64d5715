"""A network that learns forward in time."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from ranvier.nn.neurons.timed import TimedLIF
from ranvier.nn.sequential import Sequential
from ranvier.nn.temporal import check_sequence, here
from ranvier.nn.verbs import detach, opened
from ranvier.online.feedback import Broadcast
from ranvier.online.layer import Layer
from ranvier.online.methods import FEEDBACKS, GRADIENTS, ONLINE, SAYS, checked
from ranvier.online.row import Plain, joined, named, through

Carried = dict[str, Any]


class Learner(Sequential):
    """A network whose gradient is computed forward in time, so that its memory does not grow with the number of steps.

    It is a `Sequential` of the layers of `net`. They are the same objects, so `net` learns too; without gradients,
    learner and `net` compute the same. Call `learner(x)` for x [T, B, *features], then `loss.backward()`: it fills
    `.grad` with the chosen gradient, for any optimiser. `learner.scan(x, carried)` learns chunk by chunk (a chunk may
    be one step), and returns states and traces for the next chunk; `ranvier.Stream(net, learn=...)` calls it for you.

    gradient: one for all neurons, or {path of neurons: one}:
        "bptt", backpropagation through time; "eventprop", the exact gradient of timed spikes; and forward in time
        "drtrl", exact within each neuron; it stores B N K numbers per state for N neurons of K inputs each;
        "eprop", "drtrl" without the gradient through the reset, Bellec et al., Nature Communications 2020;
        "ostl", "drtrl" without the memory of the readout, Bohnstingl et al., TNNLS 2022;
        "ottt", traces of the inputs alone, B K numbers, Xiao et al., NeurIPS 2022;
        "sltt", no traces, Meng et al., ICCV 2023.
    feedback: how the error reaches the hidden layers of "eprop": "symmetric", through the weights above; "random",
        through fixed random weights from the output, `feedback.*`; "adaptive", through such weights that are learned.
    features: the shape of one sample. It is needed for "random" and "adaptive" feedback if the first layer is not an
        `nn.Linear` (for example, if it is a convolution).

    All forward methods leave out two parts of the gradient: the path through other neurons of a recurrent layer, and
    the memory of the layers above, except a linear readout (LI) directly above. docs/online-learning.md measures how
    much accuracy this costs.

    >>> import torch, ranvier
    >>> net = ranvier.Sequential(ranvier.Linear(4, 8), ranvier.ALIF(), ranvier.Linear(8, 2), ranvier.LI())
    >>> learner = ranvier.online.Learner(net, gradient="eprop")
    >>> learner(torch.rand(10, 3, 4)).square().mean().backward()
    >>> net[0].weight.grad.shape
    torch.Size([8, 4])
    """

    def __init__(
        self,
        net: nn.Sequential,
        gradient: str | Mapping[str, str] = "eprop",
        feedback: str = "symmetric",
        features: Sequence[int] | None = None,
    ):
        if not isinstance(net, nn.Sequential):
            raise TypeError(
                f"Learner: wanted layers in a row, a ranvier.Sequential, got {type(net).__name__}; the gradient is "
                f"computed layer by layer, but the layers of a module with its own forward are not known"
            )
        super().__init__()
        for name, layer in net._modules.items():  # named_children() would skip a layer that is used a second time
            self.add_module(name, layer)
        self._kind = checked("Learner: feedback", feedback, FEEDBACKS)
        self._row: tuple[tuple, list[Layer | Plain]] | None = None
        self.gradient = gradient
        if feedback != "symmetric":
            self._draw(features)

    # ------------------------------------------------------------ settings and layers
    @property
    def gradient(self) -> str | dict[str, str]:
        """The gradient of all layers, or {path: gradient of that layer}. It may be changed after construction."""
        return self._gradient

    @gradient.setter
    def gradient(self, gradient: str | Mapping[str, str]) -> None:
        paths = [p.path for p in self.row() if p.carries]
        each = dict(gradient) if isinstance(gradient, Mapping) else dict.fromkeys(paths, gradient)
        for path, name in each.items():
            checked(f"Learner: gradient of layer {path!r}", name, GRADIENTS)
        if each.keys() != set(paths):
            raise ValueError(f"Learner: gradient must name the layers {paths}, got {sorted(each)}")
        if self._kind != "symmetric" and set(each.values()) != {"eprop"}:
            raise ValueError(
                f'Learner: feedback={self._kind!r} belongs to gradient="eprop", got {gradient!r}; use "symmetric"'
            )
        if "eventprop" in each.values():
            _exact(self)
        self._gradient = gradient if isinstance(gradient, str) else each
        self._each = each

    @property
    def each(self) -> dict[str, str]:
        """The gradient of each layer, by the path of the layer."""
        return dict(self._each)

    @property
    def feedback(self) -> str:
        """The name of the feedback: how the error reaches the hidden layers."""
        return self._kind

    def feedback_of(self, path: str) -> str:
        """Return the name of the feedback weights of a hidden layer."""
        return f"feedback_{path.replace('.', '_')}"

    def row(self) -> "list[Layer | Plain]":
        """Return the layers in order, where weights and the neurons that they drive are joined to one layer."""
        found = tuple(named("", self))
        if self._row is None or self._row[0] != found:
            self._row = found, joined(found)
        return self._row[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_row": None}  # rules contain closures, which cannot be pickled

    def _whole(self) -> bool:
        """Whether no layer learns forward in time."""
        return not any(name in ONLINE for name in self._each.values())

    # ------------------------------------------------------------ forward
    def forward(self, x: Any) -> Any:  # type: ignore[override]
        book = getattr(here, "book", None)
        if book is not None and book.notes is not None:
            return self._explained(x, book)
        if self._whole() or not torch.is_grad_enabled():
            return super().forward(x)
        if book is not None and not book.names:
            raise ValueError(
                "Learner: the state of ranvier.scan holds no traces, so earlier steps would be ignored; call "
                "learner.scan(x, carried), or use `with torch.no_grad()` if nothing is to be learned"
            )
        return self._through(x, {}, keep=False)[0] if book is None else super().forward(x)

    def scan(self, x: Any, carried: Carried | None = None, *, reuse: bool = False) -> tuple[Any, Carried]:
        """Run a chunk of steps x [T, B, *features]. It continues from `carried`, which an earlier `scan` returned; None
        means the start of a sequence.

        Returns (y, carried), where carried is {path: {"state": ..., "traces": ...}}. It can be saved with torch.save,
        and several runs can continue from it. Backward of a loss of y adds the gradient of this chunk to `.grad`;
        earlier steps contribute through the traces. reuse: overwrite the traces in `carried`; they are valid again
        after `backward` or `advance`.
        """
        return self._through(x, carried or {}, keep=True, reuse=reuse)

    def step(self, x_t: Tensor, carried: Carried | None = None) -> tuple[Any, Carried]:
        """Run one step: x_t [B, *features] -> y_t and `carried` for the next step; see `scan`."""
        y, carried = self.scan(x_t.unsqueeze(0), carried)
        return y[0], carried

    def advance(self) -> None:
        """Update the traces for the last chunk, if it was run with `reuse` and had no backward pass."""
        for part in self.row():
            if isinstance(part, Layer):
                part.advance()

    def _through(self, x: Any, carried: Carried, keep: bool, reuse: bool = False) -> tuple[Any, Carried]:
        self.check()
        if isinstance(x, Tensor):
            check_sequence(self, x)
        watch, after, hidden = getattr(here, "watch", None) or nullcontext, Carried(), list[tuple[Layer, Tensor]]()
        row = self.row()
        if unknown := carried.keys() - {p.path for p in row}:
            raise ValueError(
                f"Learner: carried has entries for {sorted(unknown)}, but the layers of this network are "
                f"{[p.path for p in row]}; pass what learner.scan returned, or None to start a new sequence"
            )
        last = next((p for p in reversed(row) if isinstance(p, Layer)), None)
        for part in row:
            try:
                with watch(part):
                    x, found = self._part(part, x, carried.get(part.path), keep, reuse)
            except (TypeError, ValueError, RuntimeError) as problem:
                if type(problem) not in (TypeError, ValueError, RuntimeError) or str(problem).startswith("layer"):
                    raise
                names = ", ".join(type(m).__name__ for m in part.layers)
                raise type(problem)(f"layer {part.path} ({names}): {problem}") from problem
            if self._kind != "symmetric" and isinstance(part, Layer) and part is not last:
                hidden.append((part, x))
                x = x.detach()
            if found is not None:
                after[part.path] = detach(found)
        return (self._with_feedback(x, hidden, carried, after, last) if hidden else x), after

    def _part(self, part: Layer | Plain, x: Any, carried: Any, keep: bool, reuse: bool) -> tuple[Any, Any]:
        if isinstance(part, Plain):
            return part.run(x, carried)
        name = self._each[part.path]
        return part.run(x, carried, ONLINE[name], keep, reuse) if name in ONLINE else part.through_time(x, carried)

    def check(self) -> None:
        """Raise an error if a layer cannot learn by the chosen gradient or feedback."""
        row = self.row()
        for part in row:
            if isinstance(part, Layer) and part.readout is not None:
                method = ONLINE.get(self._each[part.path])
                part.readout.reads = method is not None and method.reads
            if not isinstance(part, Layer) and part.carries and self._each[part.path] in ONLINE:
                raise ValueError(
                    f"layer {part.path!r} ({type(part.module).__name__}) has a state that traces do not support; give "
                    f'gradient as a dictionary with {{{part.path!r}: "bptt"}}, which differentiates through each chunk'
                )
        for at, part in enumerate(row):
            if isinstance(part, Layer):
                continue
            then = next((p for p in row[at + 1 :] if isinstance(p, Layer)), None)
            name = self._each.get(then.path, "bptt") if then is not None else "bptt"
            learns = any(p.requires_grad for p in part.module.parameters())
            if learns and name in ONLINE and ONLINE[name].traces == "exact" and then is not None:
                way = through(row[at + 1 :], then)
                raise ValueError(
                    f"layer {part.path!r} ({type(part.module).__name__}) has weights that act on the neurons of layer "
                    f"{then.path!r}{way}, but traces support only a Linear or Conv2d straight before the neurons; put "
                    f'it elsewhere, freeze it, or use gradient="sltt" or "bptt" there'
                )
            if learns and self._kind != "symmetric" and then is not None:
                raise ValueError(
                    f"layer {part.path!r}: feedback={self._kind!r} trains only neurons and the weights straight before "
                    f'them; freeze this layer, or use feedback="symmetric"'
                )

    # ------------------------------------------------------------ feedback of the error
    @torch.no_grad()
    def _draw(self, features: Sequence[int] | None) -> None:
        """Draw random feedback weights from the output to each hidden layer: [C, N] for C outputs and the N neurons of
        the layer, with flat features.
        """
        row = self.row()
        if features is None:
            first = row[0].wire.module if isinstance(row[0], Layer) and row[0].wire else None
            if not isinstance(first, nn.Linear) or isinstance(first, LazyModuleMixin):
                raise ValueError(
                    f"Learner: feedback={self._kind!r} must know the sizes of the layers; give features=x.shape[2:]"
                )
            features = (first.in_features,)
        like = next(self.parameters())
        x, widths = like.new_zeros(1, 1, *features), {}
        layers = [p for p in row if isinstance(p, Layer)]
        for part in row:
            x = part.plain(x)
            if isinstance(part, Layer) and part is not layers[-1]:
                widths[part.path] = x[0, 0].numel()
        for path, width in widths.items():
            weight = torch.randn(x[0, 0].numel(), width, dtype=like.dtype, device=like.device) / width**0.5
            if self._kind == "adaptive":
                self.register_parameter(self.feedback_of(path), nn.Parameter(weight))
            else:
                self.register_buffer(self.feedback_of(path), weight)

    def _with_feedback(self, y: Tensor, hidden: list, carried: Carried, after: Carried, last: Any) -> Tensor:
        weights = [getattr(self, self.feedback_of(part.path)) for part, _ in hidden]
        heard = []
        for part, z in hidden:
            if self._kind == "adaptive" and part.readout is not None:
                neuron, before = part.readout.neuron, carried.get(part.path, {}).get("heard")
                with torch.no_grad():
                    f, after[part.path]["heard"], _ = neuron.run(z.detach(), before)
                heard.append(f)
            else:
                heard.append(z.detach())
        return Broadcast.apply(y, len(hidden), *weights, *(z for _, z in hidden), *heard)  # type: ignore[return-value]

    # ------------------------------------------------------------ reports
    def _explained(self, x: Any, book: Any) -> Any:
        """Run forward; for `explain`, note for each layer how it learns and what it stores for this."""
        y = super().forward(x)
        if not self._whole():
            with torch.enable_grad(), opened(None):  # type: ignore[arg-type]
                self._through(x, {}, keep=False)
        for part in self.row():
            if part.carries:
                name = self._each[part.path]
                says = f" ({part.says})" if isinstance(part, Layer) and name in ONLINE else ""
                book.notes.append((part.path, part.module, f"learns by {name}: {SAYS[name]}{says}"))
        return y


def _exact(net: nn.Module) -> None:
    """Make the neurons of timed spikes in a network use exact derivatives."""
    timed = [m for m in net.modules() if isinstance(m, TimedLIF)]
    if not timed:
        raise ValueError(
            'Learner: gradient="eventprop" differentiates the times of spikes, but this network has no TimedLIF; see '
            "docs/exact-gradients.md"
        )
    for layer in timed:
        layer.switch("eventprop")
