"""What is measured side by side: networks as data, their weights and input. NumPy only: every library reads it.

A layer is a word and its sizes. `lif` and `readout` are leaky membranes of decay `beta`, with spikes (threshold 1,
reset by subtraction) and without; `recurrent` is a product and a lif whose spikes come back through a matrix;
`residual` adds its input to what the layers in it give; `mean` is that over the pixels of a picture.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Case:
    """One row of the table.

    input: "normal", "uniform" or the share of spikes. loss: "crossentropy" (of the readout's mean over time, then a
    step of SGD), "sum" of the output, or "given" (a random gradient of the output; the input's gradient is asked);
    "none" is forward alone, without gradients, and "stream" one step of it that keeps its state.
    tolerance: how far the evidence may lie from the plain loop's, relatively.
    """

    steps: int
    batch: int
    shape: tuple[int, ...]
    layers: tuple[tuple, ...]
    input: str | float = "normal"
    loss: str = "crossentropy"
    beta: float = 0.9
    tolerance: float = 1e-3


# conv and framework have the decay 1/2 of the benchmarks they come from. Weights ("gain" is the last number of a layer,
# in units of 1 / sqrt(inputs)) are such that a tenth or so of the neurons spike at a step.
_NET = (("linear", 512, True, 1.2), ("lif",), ("linear", 10, True, 1.0), ("readout",))
_RECURRENT = (("recurrent", 256, 1.5, 0.5), ("linear", 20, True, 1.0), ("readout",))
_CONV = (
    ("conv", 32), ("lif",), ("pool",), ("conv", 64), ("lif",), ("pool",), ("flatten",), ("linear", 10, True, 0.6),
    ("readout",),
)  # fmt: skip

_LONG = (
    ("linear", 64, True, 1.2), ("lif",), ("linear", 64, True, 1.2), ("lif",), ("linear", 10, True, 1.0), ("readout",),
)  # fmt: skip
_WIDE = (
    ("linear", 1024, True, 1.5), ("lif",), ("linear", 1024, True, 1.5), ("lif",), ("linear", 20, True, 1.0),
    ("readout",),
)  # fmt: skip
_RESIDUAL = (
    ("conv", 64, 1), ("lif",), *3 * (("residual", (("conv", 64, 1), ("lif",))),), ("mean",), ("linear", 10, True, 1.0),
    ("readout",),
)  # fmt: skip
_VGG = (
    ("conv", 64, 1), ("lif",), ("conv", 128, 1), ("lif",), ("pool",), ("conv", 256, 1), ("lif",), ("conv", 256, 1),
    ("lif",), ("pool",), ("mean",), ("linear", 10, True, 1.0), ("readout",),
)  # fmt: skip
_SMALL = (("linear", 128, True, 1.2), ("lif",), ("linear", 10, True, 1.0), ("readout",))
_BACK = (("recurrent", 128, 1.2, 0.5), ("linear", 10, True, 1.0), ("readout",))

FAMILIES: dict[str, dict[str, Case]] = {
    "neuron": {
        "neuron, 100 x 64x1024": Case(100, 64, (1024,), (("lif",),), loss="given"),
        "neuron, 16 x 32x64x32x32": Case(16, 32, (64, 32, 32), (("lif",),), loss="given"),
    },
    "recurrent": {
        "recurrent, 5 % spikes": Case(100, 64, (700,), _RECURRENT, 0.05, tolerance=1e-2),
        "recurrent, dense": Case(100, 64, (700,), _RECURRENT, "uniform", tolerance=1e-2),
    },
    "net": {"net, 10 % spikes": Case(25, 128, (784,), _NET, 0.1)},
    # Binary images have few different values, so the rounding of a batch norm decides over thousands of spikes at once:
    # the loss of the float32 loop is 1.5e-3 from that of float64, which ours equals.
    "conv": {"conv, 40 % spikes": Case(8, 32, (1, 28, 28), _CONV, 0.4, beta=0.5, tolerance=1e-2)},
    "latency": {
        "latency, a training step of 64-128-10, T=10, batch 8": Case(10, 8, (64,), _SMALL, 0.3),
        "latency, forward alone": Case(10, 8, (64,), _SMALL, 0.3, "none"),
        "latency, one step of a stream, batch 1": Case(100, 1, (64,), _SMALL, 0.3, "stream"),
        "latency, one step of a recurrent stream": Case(100, 1, (64,), _BACK, 0.3, "stream"),
    },
    "long": {"long, T=1000, batch 16": Case(1000, 16, (40,), _LONG, 0.1, tolerance=1e-2)},
    "wide": {"wide, 3 % spikes": Case(100, 64, (700,), _WIDE, 0.03, tolerance=1e-2)},
    "residual": {"residual, T=4, batch 8": Case(4, 8, (3, 32, 32), _RESIDUAL, beta=0.5, tolerance=1e-2)},
    "vgg-dvs": {"vgg-dvs, T=10, batch 4": Case(10, 4, (2, 48, 48), _VGG, 0.1, beta=0.5, tolerance=1e-2)},
    "framework": {
        f"framework, {n}": Case(500, 16, (n,), (("linear", n, False, 0.6), ("lif",)), "uniform", "sum", 0.5)
        for n in (512, 4096)
    },
}
CASES = {name: case for family in FAMILIES.values() for name, case in family.items()}


@dataclass(frozen=True)
class Layer:
    """A layer with what it needs: its features before and after (no time, no batch), its weights, zeros around a
    picture, and the layers within it."""

    kind: str
    before: tuple[int, ...]
    after: tuple[int, ...]
    weights: tuple[np.ndarray, ...] = ()
    padding: int = 0
    inner: tuple["Layer", ...] = ()


def layers(case: Case) -> list[Layer]:
    """The layers of a case with the weights that every library gets."""
    return _layers(case.layers, case.shape, np.random.default_rng(0))


def _layers(words: tuple[tuple, ...], shape: tuple[int, ...], random: np.random.Generator) -> list[Layer]:
    found = []
    for kind, *sizes in words:
        found.append(_layer(kind, sizes, shape, random))
        shape = found[-1].after
    return found


def _layer(kind: str, sizes: list, shape: tuple[int, ...], random: np.random.Generator) -> Layer:
    def matrix(out: int, into: int, gain: float) -> np.ndarray:
        return (random.standard_normal((out, into)) * gain / into**0.5).astype(np.float32)

    if kind == "linear":
        out, bias, gain = sizes
        weight = matrix(out, shape[0], gain)
        return Layer(kind, shape, (out,), (weight, np.zeros(out, np.float32)) if bias else (weight,))
    if kind == "recurrent":
        out, gain, back = sizes
        return Layer(kind, shape, (out,), (matrix(out, shape[0], gain), matrix(out, out, back)))
    if kind == "conv":  # three by three, without bias; batch norm follows
        channels, height, width = shape
        weight, padding = matrix(sizes[0], channels * 9, 1.0).reshape(sizes[0], channels, 3, 3), (*sizes, 0)[1]
        lost = 2 - 2 * padding
        return Layer(kind, shape, (sizes[0], height - lost, width - lost), (weight,), padding)
    if kind == "residual":
        inner = tuple(_layers(sizes[0], shape, random))
        return Layer(kind, shape, inner[-1].after, inner=inner)
    if kind == "mean":
        return Layer(kind, shape, shape[:1])
    if kind == "pool":
        return Layer(kind, shape, (shape[0], shape[1] // 2, shape[2] // 2))
    if kind == "flatten":
        return Layer(kind, shape, (int(np.prod(shape)),))
    return Layer(kind, shape, shape)


def draw(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Input x [T, B, *shape], labels [B], and the gradient of the output if it is given: the same for all."""
    random = np.random.default_rng(1)
    size = (case.steps, case.batch, *case.shape)
    if case.input == "normal":
        x = random.standard_normal(size, np.float32)
    else:
        x = random.random(size, np.float32)
        x = 2 * x if case.input == "uniform" else (x < case.input).astype(np.float32)
    classes = layers(case)[-1].after[0]
    given = random.standard_normal(size, np.float32) if case.loss == "given" else None
    return x, random.integers(0, classes, case.batch), given
