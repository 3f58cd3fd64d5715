"""What no library can do without: the dense products of a case as torch does them, and a copy of the neurons' bytes."""

import time
from collections.abc import Callable

import torch
from cases import Case, Layer, layers
from torch.nn import functional


def ready(name: str, case: Case, threads: int) -> Callable[[], tuple[float, float, Callable]]:
    torch.set_num_threads(threads)
    both = [work(case, layer, first=k == 0) for k, layer in enumerate(layers(case))]

    def step() -> tuple[float, float, Callable]:
        start = time.perf_counter()
        for forward, _ in both:
            forward()
        middle = time.perf_counter()
        for _, backward in both:
            backward()
        return middle - start, time.perf_counter() - middle, list

    return step


def work(case: Case, layer: Layer, first: bool) -> tuple[Callable, Callable]:
    """Forward and backward of a layer; the first layer's input wants no gradient unless it is all there is."""
    rows, steps = case.steps * case.batch, range(case.steps)

    if layer.kind == "conv":
        x = torch.rand(rows, *layer.before).contiguous(memory_format=torch.channels_last)
        w = torch.from_numpy(layer.weights[0])
        g = torch.rand(rows, *layer.after).contiguous(memory_format=torch.channels_last)
        gradient = torch.ops.aten.convolution_backward

        def back() -> None:
            gradient(g, x, w, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [not first, True, False])

        return lambda: functional.conv2d(x, w), back
    if layer.kind in ("linear", "recurrent"):
        x, g, w = torch.rand(rows, *layer.before), torch.rand(rows, *layer.after), torch.from_numpy(layer.weights[0])

        def forward() -> None:
            functional.linear(x, w)
            feedback()

        def backward() -> None:
            g.t() @ x
            if not first:
                g @ w
            feedback()
            if layer.kind == "recurrent":
                g.t() @ g

        by_step = g.view(case.steps, case.batch, -1)

        def feedback() -> None:
            if layer.kind == "recurrent":
                for t in steps:
                    functional.linear(by_step[t], torch.from_numpy(layer.weights[1]))

        return forward, backward
    if layer.kind == "lif":  # 8 bytes a neuron and step forward: its input, its spikes; 12 backward
        count = rows * torch.Size(layer.after).numel()
        a, b = torch.rand(count * 3 // 2), torch.rand(count * 3 // 2)
        return lambda: b[:count].copy_(a[:count]), lambda: b.copy_(a)
    return lambda: None, lambda: None
