"""A case on PyTorch: its network in a library's words, and a step of it."""

import time
from collections.abc import Callable, Sequence

import torch
from cases import Case, Layer, draw, layers
from libraries import LIBRARIES, product
from torch import Tensor, nn
from torch.nn import functional

RATE = 0.01
ENOUGH = 1 << 17  # numbers of input for which libraries take the code that they take for all of it


class Folded(nn.Sequential):
    """Plain layers, time folded into the batch; channels last in memory, which makes every library faster here."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        _, c, h, w = y.shape
        y = y.as_strided(y.shape, (h * w * c, 1, w * c, c))  # says so even where there is one channel
        return super().forward(y).unflatten(0, x.shape[:2])


class Residual(nn.Module):
    """What the layers in it give, and their input."""

    def __init__(self, path: nn.Module):
        super().__init__()
        self.path = path

    def forward(self, x: Tensor) -> Tensor:
        return self.path(x) + x


def build(name: str, case: Case) -> tuple[nn.Module, int]:
    """The network of a case in a library, and the axis of time of its sequences."""
    library = LIBRARIES[name]()

    def fold(*plain: nn.Module) -> list[nn.Module]:
        return list(plain) if library.folds else [Folded(*plain)]

    def conv(layer: Layer) -> list[nn.Module]:
        made = library.conv(layer.before[0], layer.after[0], 3, padding=layer.padding, bias=False)
        made.weight.data = torch.from_numpy(layer.weights[0]).clone()
        return fold(made, nn.BatchNorm2d(layer.after[0]))

    words: dict[str, Callable[[Layer], list[nn.Module]]] = {
        "lif": lambda layer: [library.lif(case.beta, layer.after)],
        "readout": lambda layer: [library.readout(case.beta, layer.after)],
        "recurrent": lambda layer: library.recurrent(case.beta, *map(torch.from_numpy, layer.weights)),
        "linear": lambda layer: [product(*layer.weights, linear=library.linear)],
        "conv": conv,
        "pool": lambda layer: fold(nn.MaxPool2d(2)),
        "flatten": lambda layer: [nn.Flatten(1 if library.folds else 2)],
        "mean": lambda layer: [*fold(nn.AdaptiveAvgPool2d(1)), nn.Flatten(1 if library.folds else 2)],
        "residual": lambda layer: [Residual(joined(layer.inner))],
    }

    def joined(given: Sequence[Layer]) -> nn.Module:
        return library.container(*(module for layer in given for module in words[layer.kind](layer)))

    return joined(layers(case)), library.time


def ready(name: str, case: Case, threads: int) -> Callable[[], tuple[float, float, Callable]]:
    """A step: seconds forward and backward, and how to see what came out."""
    torch.set_num_threads(threads)
    net, axis = build(name, case)
    x, labels, given = (None if a is None else torch.from_numpy(a) for a in draw(case))
    x, given = (None if t is None else t.movedim(0, axis).contiguous() for t in (x, given))
    convolves = any(kind == "conv" for kind, *_ in case.layers)
    if LIBRARIES[name]().folds and convolves:  # channels last, as `Folded` has it within the others
        x = x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)

    def step(net: nn.Module, x: Tensor, labels: Tensor, given: Tensor | None) -> tuple[float, float, Callable]:
        x = x.detach().requires_grad_(case.loss == "given")
        net.zero_grad()
        if case.loss == "none":
            with torch.no_grad():
                begin = time.perf_counter()
                y = net(x)
                return time.perf_counter() - begin, 0.0, lambda: [y.abs().mean().item()]
        begin = time.perf_counter()
        y = net(x)
        middle = time.perf_counter()
        if case.loss == "crossentropy":
            loss = functional.cross_entropy(y.mean(axis), labels)
            loss.backward()
            optimiser.step()
        else:
            y.sum().backward() if given is None else y.backward(given)
        end = time.perf_counter()
        if case.loss == "crossentropy":
            return middle - begin, end - middle, lambda: [loss.item()]
        of = next(iter(net.parameters())) if given is None else x
        return middle - begin, end - middle, lambda: [y.detach().mean().item(), of.grad.norm().item()]

    parameters = [p for p in net.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(parameters, lr=RATE) if parameters else None
    some = min(len(labels), max(2, -(-ENOUGH * len(labels) // x.numel())))
    few = [None if t is None else t.narrow(1 - axis, 0, some).contiguous() for t in (x, given)]
    step(build(name, case)[0], few[0], labels[:some], few[1])  # code is compiled and loaded, buffers stay small
    return lambda: step(net, x, labels, given)
