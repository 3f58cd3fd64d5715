"""The published limits of chips, and a check of which limits a network exceeds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ranvier.nn.neuron import Neuron
from ranvier.nn.neurons.current import CubaLI, CubaLIF
from ranvier.nn.neurons.integrate import IF
from ranvier.nn.neurons.leaky import LI, LIF
from ranvier.nn.recurrent import Recurrent

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Target:
    """The limits of a chip. None means that no limit is published.

    source: where the numbers are published. neurons, weights: most of them on the chip. flash, ram: bytes, for weights
    of `weight_bits` and states of `state_bits`. inputs: most input channels. outputs: most neurons of the last layer.
    fan_in: most connections to a neuron. kinds, resets: the possible neurons and resets; None where neurons are
    programs. layers: most convolutions and linear layers in sequence. kernel, padding: largest sizes. strides: the
    possible strides. side: largest height and width of the input. features: most channels of a layer.
    """

    source: str
    neurons: int | None = None
    weights: int | None = None
    weight_bits: int = 8
    state_bits: int = 16
    flash: int | None = None
    ram: int | None = None
    inputs: int | None = None
    outputs: int | None = None
    fan_in: int | None = None
    kinds: tuple[type[Neuron], ...] | None = None
    resets: tuple[str, ...] | None = None
    layers: int | None = None
    kernel: int | None = None
    padding: int | None = None
    strides: tuple[int, ...] | None = None
    side: int | None = None
    features: int | None = None


TARGETS: dict[str, Target] = {
    "microcontroller": Target(
        "STM32F411xE, datasheet DS10314: 512 KB of flash, 128 KB of RAM", flash=512 * 1024, ram=128 * 1024
    ),
    "loihi2": Target(
        "open-neuromorphic.org/neuromorphic-computing/hardware/loihi-2-intel: 1 million neurons, 120 million synapses, "
        "neurons are programs",
        neurons=1_000_000, weights=120_000_000,
    ),
    "xylo": Target(
        "Xylo Audio 2, rockpool.ai/devices/xylo-overview.html: 16 inputs, 1,000 hidden and 8 output neurons, LIF with "
        "synapses, reset by subtraction; open-neuromorphic.org/neuromorphic-computing/hardware/xylo-synsense: weights "
        "of 8 bits, states of 16, fan-in 63, 64,000 weights",
        neurons=1008, weights=64_000, inputs=16, outputs=8, fan_in=63, kinds=(LIF, LI, CubaLIF, CubaLI),
        resets=("subtract",),
    ),
    "speck": Target(
        "Speck 2b, synsense-sys-int.gitlab.io/samna, models/speckSeries/speck2b: 9 convolutions, input 128 x 128, "
        "1,024 features, a leak, weights of 8 bits, states of 16, kernel to 16, stride 1, 2, 4, 8, padding to 7",
        kinds=(IF, LIF), layers=9, kernel=16, padding=7, strides=(1, 2, 4, 8), side=128, features=1024,
    ),
    "spinnaker2": Target(
        "open-neuromorphic.org/neuromorphic-computing/hardware/spinnaker-2-university-of-dresden: 1 million neurons, "
        "19 MB of SRAM, neurons are programs",
        neurons=1_000_000, ram=19_000_000,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Misfit:
    """A limit that a network exceeds: the path of the layer ("" for the network), what exceeds it, and what to do."""

    path: str
    what: str
    cure: str

    def __str__(self) -> str:
        return f"{self.path or 'the network'}: {self.what}; {self.cure}"


@dataclass(frozen=True)
class _Seen:
    """A layer, the shape of its input features (given) and of its output features (made)."""

    path: str
    layer: Any
    given: tuple[int, ...]
    made: tuple[int, ...]


def check(net: nn.Module, x: Tensor, target: str) -> list[Misfit]:
    """Return the limits of a chip in `TARGETS` that a network exceeds. x [T, B, *features]: an input, for its shape.

    Only published limits are checked. If nothing is found, the chip's own tools may still reject the network.

    >>> import torch, ranvier as rv
    >>> net = rv.Sequential(torch.nn.Linear(40, 8), rv.LIF(reset="zero"))
    >>> for misfit in rv.export.check(net, torch.rand(2, 1, 40), "xylo"):
    ...     print(misfit)
    the network: 40 inputs of 16; pool or encode the input into fewer channels
    1: its reset is 'zero', not 'subtract'; train with reset='subtract'
    """
    if target not in TARGETS:
        raise ValueError(f"there is no target {target!r}; there are {', '.join(TARGETS)}")
    chip, seen = TARGETS[target], _seen(net, x)
    found = [m for judge in (_sizes, _memory) for m in judge(chip, seen, x)]
    return found + [m for one in seen for judge in (_neuron, _weights) for m in judge(chip, one)]


def _seen(net: nn.Module, x: Tensor) -> list[_Seen]:
    """Return every neuron, recurrent layer, linear layer and convolution, in the order in which they run."""
    found: list[_Seen] = []

    def note(path: str) -> Callable:
        def see(layer: nn.Module, given: tuple, y: Any) -> None:
            features = tuple(given[0].shape[2 if isinstance(layer, (Neuron, Recurrent)) else 1 :])
            if not any(one.path == path for one in found):
                found.append(_Seen(path, layer, features, tuple(y.shape[-len(features) :])))

        return see

    kinds = (Neuron, Recurrent, nn.Linear, *CONVOLUTIONS)
    hooks = [m.register_forward_hook(note(path)) for path, m in net.named_modules() if isinstance(m, kinds)]
    training = net.training
    try:
        with torch.no_grad():
            net.eval()(x[:1, :1])
    finally:
        net.train(training)
        for hook in hooks:
            hook.remove()
    return found


def _firing(seen: list[_Seen]) -> list[_Seen]:
    return [one for one in seen if isinstance(one.layer, (Neuron, Recurrent))]


def _weighted(seen: list[_Seen]) -> list[_Seen]:
    return [one for one in seen if isinstance(one.layer, (nn.Linear, *CONVOLUTIONS))]


def _over(what: str, count: int, most: int | None, cure: str, path: str = "") -> Iterator[Misfit]:
    if most is not None and count > most:
        yield Misfit(path, f"{count:,} {what} of {most:,}", cure)


def _count(shape: tuple[int, ...]) -> int:
    return int(torch.tensor(shape).prod()) if shape else 1


def _sizes(chip: Target, seen: list[_Seen], x: Tensor) -> Iterator[Misfit]:
    firing, weighted = _firing(seen), _weighted(seen)
    yield from _over("inputs", _count(tuple(x.shape[2:])), chip.inputs, "pool or encode the input into fewer channels")
    neurons = sum(_count(one.made) for one in firing)
    yield from _over("neurons", neurons, chip.neurons, "make layers smaller")
    weights = sum(one.layer.weight.numel() for one in weighted)
    yield from _over("weights", weights, chip.weights, "prune weights, or make layers smaller")
    yield from _over("outputs", _count(seen[-1].made) if seen else 0, chip.outputs, "use fewer output neurons")
    rows = sum(not one.path.endswith("feedback") for one in weighted)
    yield from _over("layers of weights", rows, chip.layers, "use fewer layers")
    if chip.side is not None and max(x.shape[3:], default=1) > chip.side:
        yield Misfit("", f"images of {max(x.shape[3:])} pixels a side, of {chip.side}", "crop or pool them")


def _memory(chip: Target, seen: list[_Seen], x: Tensor) -> Iterator[Misfit]:
    weights = sum(one.layer.weight.numel() for one in _weighted(seen)) * chip.weight_bits // 8
    neurons = [(one, getattr(one.layer, "neuron", one.layer)) for one in _firing(seen)]
    states = sum(_count(one.made) * len(neuron.states) for one, neuron in neurons) * chip.state_bits // 8
    if chip.flash is None:
        yield from _over("bytes of weights and states", weights + states, chip.ram, "make layers smaller")
        return
    yield from _over("bytes of weights", weights, chip.flash, "make layers smaller, or export.c with bits=4")
    yield from _over("bytes of states", states, chip.ram, "make layers smaller")


def _neuron(chip: Target, one: _Seen) -> Iterator[Misfit]:
    layer = one.layer
    if not isinstance(layer, (Neuron, Recurrent)):
        return
    neuron: Any = getattr(layer, "neuron", layer)
    if chip.kinds is not None and not isinstance(neuron, chip.kinds):
        kinds = ", ".join(kind.__name__ for kind in chip.kinds)
        yield Misfit(one.path, f"{type(neuron).__name__} is not a neuron of this chip", f"use one of {kinds}")
    reset = neuron.settings.get("reset")
    if chip.resets is not None and reset is not None and reset not in chip.resets:
        wanted = " or ".join(map(repr, chip.resets))
        yield Misfit(one.path, f"its reset is {reset!r}, not {wanted}", f"train with reset={chip.resets[0]!r}")


def _weights(chip: Target, one: _Seen) -> Iterator[Misfit]:
    layer = one.layer
    if isinstance(layer, nn.Linear):
        most = int((layer.weight != 0).sum(1).max())
        yield from _over("connections to a neuron", most, chip.fan_in, "prune its weights", one.path)
    if not isinstance(layer, CONVOLUTIONS):
        return
    yield from _over("features", layer.out_channels, chip.features, "use fewer channels", one.path)
    yield from _over("pixels of a kernel's side", max(layer.kernel_size), chip.kernel, "use a smaller one", one.path)
    padding = 0 if isinstance(layer.padding, str) else max(layer.padding)
    yield from _over("pixels of padding", padding, chip.padding, "use less padding", one.path)
    if chip.strides is not None and not set(layer.stride) <= set(chip.strides):
        yield Misfit(one.path, f"stride {layer.stride}", f"use one of {chip.strides}")
