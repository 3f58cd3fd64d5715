"""Estimate the energy of an inference on a chip, and of a dense network of the same shape.

The following are counted: every synaptic operation (one weight that is added for one spike), every update of a neuron
with the operations of its rule, and every bit read or written for them. Energies are those of a 45 nm process in
Horowitz, Computing's energy problem, ISSCC 2014. An integer addition of b bits takes about 0.1 b / 32 pJ, and a
multiplication of a and b bits 3.1 a b / 1024 pJ. Reading or writing a bit of the weights or states of a layer takes
0.16 pJ if they fit into 8 KB, 0.31 pJ for 32 KB, 1.6 pJ for 1 MB, and 20 pJ (DRAM) for more.

The dense network has the same weights with the same number of bits. Its activations have ceil(log2(T + 1)) bits, enough
for a count of spikes over T steps. Each weight and activation is read once per sample.
The spiking network reads a weight for every synaptic operation, and reads and writes a state for every neuron in every
step. Static power, control and the network between cores are left out on both sides. After Dampfhoffer et al., Are SNNs
really more energy-efficient than ANNs?, IEEE TETCI 7, 2023; Yan, Bai & Wong, arXiv:2409.08290, 2024.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.derive.operations import OPERATIONS
from ranvier.nn.delay import DelayedLinear
from ranvier.nn.neuron import Neuron
from ranvier.nn.padded import ends, masked, within
from ranvier.nn.recurrent import Recurrent
from ranvier.notebook import table

LEVELS = ((8 * 2**10, 0.16), (32 * 2**10, 0.31), (2**20, 1.6), (math.inf, 20.0))  # (size in bytes, pJ per bit)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
FREE = {"stop", "inject", "spike", "spike_strict", "gt", "ge", "lt", "le", "eq", "ne", "and", "or", "not", "neg"}


def addition(bits: int) -> float:
    """Return the energy in pJ of an addition of two integers."""
    return 0.1 * bits / 32


def product(a: int, b: int) -> float:
    """Return the energy in pJ of a multiplication of integers with a and b bits."""
    return 3.1 * a * b / 1024


def access(bits_held: float) -> float:
    """Return the energy in pJ of reading or writing one bit of a memory of `bits_held` bits."""
    return next(cost for size, cost in LEVELS if bits_held / 8 <= size)


@dataclass(frozen=True)
class LayerEnergy:
    """The estimate for one layer, per sample.

    operations: synaptic operations (or multiplications, if the input is not spikes) or neuron updates, over all steps;
    dense: operations of the dense layer (0 for neurons); spiking_pj and dense_pj: the estimates; memory: the share of
    spiking_pj that is memory traffic; activity: spikes per synapse and step; break_even: the activity at which the
    spiking and the dense layer need the same energy. activity and break_even are None for neurons and for inputs that
    are not spikes.
    """

    path: str
    kind: str
    operations: float
    dense: float
    spiking_pj: float
    dense_pj: float
    memory: float
    activity: float | None = None
    break_even: float | None = None


@dataclass(frozen=True)
class Energy:
    """The estimate for a whole network, per sample; `print` shows it as a table.

    uncounted: paths of layers that have weights but are of a kind that is not counted.
    """

    layers: tuple[LayerEnergy, ...]
    steps: float
    weight_bits: int
    state_bits: int
    activation_bits: int
    uncounted: tuple[str, ...] = ()

    @property
    def spiking_pj(self) -> float:
        return sum(layer.spiking_pj for layer in self.layers)

    @property
    def dense_pj(self) -> float:
        return sum(layer.dense_pj for layer in self.layers)

    @property
    def synaptic_operations(self) -> float:
        return sum(layer.operations for layer in self.layers if layer.activity is not None)

    @property
    def updates(self) -> float:
        return sum(layer.operations for layer in self.layers if layer.kind == "neurons")

    @property
    def activity(self) -> float:
        """Spikes per synapse and step: the mean over all synapses whose input is spikes."""
        synapses = sum(layer.dense for layer in self.layers if layer.activity is not None)
        return self.synaptic_operations / (synapses * self.steps) if synapses else 0.0

    @property
    def break_even(self) -> float:
        """The activity at which this network, with all spikes scaled by the same factor, would cost as much as the
        dense one; 0 if its states and its input alone cost more.
        """
        moving = sum(layer.spiking_pj for layer in self.layers if layer.activity is not None)
        left = self.dense_pj - (self.spiking_pj - moving)
        return max(0.0, left / moving * self.activity) if moving else 0.0

    def _repr_html_(self) -> str:
        rows = [
            (f"{e.kind} {e.path}", f"{e.operations:,.0f}", f"{e.spiking_pj / 1e3:.3f}", f"{e.dense_pj / 1e3:.3f}")
            for e in self.layers
        ]
        after = str(self).splitlines()[-1]
        return table(["layer", "operations", "spiking nJ", "dense nJ"], rows, after)

    def __str__(self) -> str:
        titles = (
            ("operations", 12),
            ("spiking nJ", 12),
            ("memory", 8),
            ("dense nJ", 10),
            ("activity", 10),
            ("even at", 10),
        )
        head = f"{'layer':24}" + "".join(f"{title:>{wide}}" for title, wide in titles)
        rows = [
            f"{f'{e.kind} {e.path}':24}{e.operations:12,.0f}"
            f"{e.spiking_pj / 1e3:12.3f}{e.memory:8.0%}{e.dense_pj / 1e3:10.3f}"
            + ("" if e.activity is None else f"{e.activity:10.4f}{e.break_even:10.4f}")
            for e in self.layers
        ]
        ratio = self.spiking_pj / self.dense_pj if self.dense_pj else math.inf
        verdict = "more" if ratio > 1 else "less"
        left = [f"not counted, though they have weights: {', '.join(self.uncounted)}"] if self.uncounted else []
        return "\n".join(
            [
                f"per sample, {self.steps:g} steps; weights {self.weight_bits}, states {self.state_bits}, "
                f"dense activations {self.activation_bits} bits",
                head,
                *rows,
                *left,
                f"{'all':24}{'':12}{self.spiking_pj / 1e3:12.3f}{'':8}{self.dense_pj / 1e3:10.3f}"
                f"{self.activity:10.4f}{self.break_even:10.4f}",
                f"{max(ratio, 1 / ratio):.2f} times {verdict} than the dense network: {self.synaptic_operations:,.0f} "
                f"synaptic operations, {self.updates:,.0f} neuron updates; "
                + (
                    f"it breaks even at {self.break_even:.4f} spikes per synapse and step, and has {self.activity:.4f}"
                    if self.break_even
                    else "its input and its states alone cost more, however few hidden spikes there are"
                ),
            ]
        )


def energy(
    net: nn.Module, x: Tensor, lengths: Tensor | None = None, *, weight_bits: int = 8, state_bits: int = 16
) -> Energy:
    """Run the network on x [T, B, *features] and estimate the energy of one sample, layer by layer.

    lengths [B]: the number of steps of each recording, if they differ (`Padded` networks read them from NaN); steps
    after its end cost nothing, and the result is the mean over the recordings.

    Linear layers (with learned delays too, whose queues of spikes cost nothing here), convolutions, recurrent feedback
    and neurons are counted. Other layers are not, such as pooling and normalisation (which can be merged into the
    weights); if they have matrices of weights, `uncounted` names them. An input that is constant in time (stride 0) is
    multiplied once; any other input that is not spikes is multiplied in every step.

    >>> import torch, ranvier
    >>> net = ranvier.Sequential(torch.nn.Linear(64, 32), ranvier.LIF(), torch.nn.Linear(32, 10), ranvier.LI())
    >>> report = energy(net, (torch.rand(10, 4, 64) < 0.1).float())
    >>> [layer.kind for layer in report.layers]
    ['weights', 'neurons', 'weights', 'neurons']
    """
    if x.dim() < 3:
        raise ValueError(f"energy: x must be a sequence [T, B, *features], got {tuple(x.shape)}")
    bits = max(1, math.ceil(math.log2(len(x) + 1)))
    lengths = ends(net, x) if lengths is None else lengths
    valid = None if lengths is None else within(lengths.to(x.device), len(x))
    count = _Counter(len(x), x.shape[1], valid, weight_bits, state_bits, bits)
    inside = {id(m) for r in net.modules() if isinstance(r, Recurrent) for m in r.modules() if m is not r}
    counted = [
        (path, m, handle)
        for path, m in net.named_modules()
        for kind, handle in count.kinds.items()
        if isinstance(m, kind) and id(m) not in inside
    ]
    hooks = [m.register_forward_hook(count.hook(path, handle)) for path, m, handle in counted]
    try:
        with torch.no_grad(), masked(net, x, lengths) as shown:
            net(shown)
    finally:
        for hook in hooks:
            hook.remove()
    if not count.layers:
        raise ValueError("energy: the network has no linear layers, convolutions or neurons to count")
    returning = [m for r in net.modules() if isinstance(r, Recurrent) for m in (r.neuron, r.feedback)]
    known = {*(m for _, m, _ in counted), *(m for m in returning if isinstance(m, (nn.Linear, Neuron)))}
    left = tuple(path for path, m in net.named_modules() if m not in known and _has_weights(m))
    return Energy(tuple(count.layers), count.steps, weight_bits, state_bits, bits, left)


def _has_weights(m: nn.Module) -> bool:
    """Whether a layer itself, and not one within it, has a matrix of weights."""
    return any(p.dim() > 1 for p in m.parameters(recurse=False))


class _Counter:
    """Collects one entry per layer while the layers run."""

    def __init__(
        self, steps: int, batch: int, valid: Tensor | None, weight_bits: int, state_bits: int, activation_bits: int
    ):
        self.batch, self.valid, self.layers = batch, valid, []
        # number of steps of one sample (the mean, if lengths differ)
        self.steps: float = steps if valid is None else float(valid.sum()) / batch
        self.weight_bits, self.state_bits, self.activation_bits = weight_bits, state_bits, activation_bits
        self.kinds: dict[Any, Callable] = {
            (nn.Linear, DelayedLinear): self._linear,
            CONVOLUTIONS: self._convolution,
            Recurrent: self._recurrent,
            Neuron: self._neuron,
        }

    def hook(self, path: str, handle: Callable) -> Callable:
        return lambda m, inputs, output: handle(path, m, inputs[0], output)

    def _there(self, x: Tensor) -> Tensor:
        """Return x without the steps after the end of each recording; x is [T, B, *features] or [T * B, *features]."""
        if self.valid is None:
            return x
        return x[self.valid] if x.shape[:2] == self.valid.shape else x[self.valid.flatten()]

    def _linear(self, path: str, m: Any, x: Tensor, y: Tensor) -> None:
        x, (outputs, inputs) = self._there(x), m.weight.shape
        met = float((x != 0).sum()) * outputs
        self._weights(path, x, met, float(m.weight.numel()), m.weight.numel(), inputs, outputs)

    def _convolution(self, path: str, m: Any, x: Tensor, y: Tensor) -> None:
        x, y = self._there(x), self._there(y)
        ones = torch.ones_like(m.weight)
        met = float(m._conv_forward((x != 0).to(x.dtype), ones, None).sum())
        all_of_them = float(m._conv_forward(torch.ones_like(x[:1]), ones, None).sum())
        self._weights(path, x, met, all_of_them, m.weight.numel(), x[0].numel(), y[0].numel())

    def _recurrent(self, path: str, m: Recurrent, x: Tensor, z: Tensor) -> None:
        self._neuron(path, m.neuron, x, z)
        if isinstance(m.feedback, nn.Linear):
            z, w = self._there(z), m.feedback.weight
            self._weights(f"{path}.feedback", z, float((z != 0).sum()) * len(w), float(w.numel()), w.numel(), *w.shape)

    def _weights(
        self, path: str, x: Tensor, met: float, synapses: float, stored: int, inputs: int, outputs: int
    ) -> None:
        """Add the entry of a layer with weights. met: pairs of a nonzero input and a weight, over the whole batch and
        all steps; synapses: all pairs of an input and a weight for one sample and step; stored: number of weights.
        """
        spikes = bool(((x == 0) | (x == 1)).all())
        seen = x.numel() / inputs  # number of input vectors: one per sample, step and place
        once = seen < self.steps * self.batch  # the input is constant, so the layer ran only once
        synapses *= max(1.0, seen / (self.steps * self.batch))
        weight, bits = self.weight_bits, self.activation_bits
        reading = access(stored * weight)
        passes = 1 if once else self.steps
        if spikes:
            operations = met / self.batch * (self.steps if once else 1)
            arithmetic = operations * addition(self.state_bits)
            address = max(1, math.ceil(math.log2(max(2, inputs))))
            sent = float((x != 0).sum()) / self.batch * (self.steps if once else 1)
            traffic = operations * weight * reading + 2 * sent * address * LEVELS[0][1]
        else:
            operations = synapses * passes
            arithmetic = operations * (product(weight, bits) + addition(self.state_bits))
            traffic = passes * (stored * weight * reading + inputs * bits * access(inputs * bits))
        dense = synapses * (product(weight, bits) + addition(32)) + stored * weight * reading
        dense += inputs * bits * access(inputs * bits) + outputs * bits * access(outputs * bits)
        total = arithmetic + traffic
        activity = operations / (synapses * self.steps) if spikes and synapses else None
        breaks = None if activity is None else (dense / total * activity if total else 0.0)
        entry = (path, "weights", operations, synapses, total, dense, traffic / total if total else 0.0)
        self.layers.append(LayerEnergy(*entry, activity, breaks))

    def _neuron(self, path: str, m: Neuron, x: Any, y: Any) -> None:
        first = x[0] if isinstance(x, (tuple, list)) else x
        neurons = first[0, 0].numel()
        updates = float(neurons * self.steps)
        bits = self.state_bits
        each = sum(self._operation(op.name) for op in m.bound(()).step.ops)
        held = neurons * len(m.states) * bits
        traffic = updates * 2 * len(m.states) * bits * access(held)
        total = updates * each + traffic
        self.layers.append(LayerEnergy(path, "neurons", updates, 0.0, total, 0.0, traffic / total))

    def _operation(self, name: str) -> float:
        """Return the energy in pJ of one op of a rule; functions count as several multiplications, comparisons as
        additions.
        """
        bits = self.state_bits
        if cost := OPERATIONS[name].cost:
            return cost * product(bits, bits)
        return 0.0 if name in FREE - {"spike", "spike_strict"} else addition(bits)
