"""What no library can do without: the dense products of a case, by the quickest product that torch has on this machine,
and a copy of the bytes of its neurons. What goes by events may stay below."""

import time
from collections.abc import Callable

import torch
from cases import Case, Layer, layers
from torch.nn import functional

from ranvier.spikes import dense


def ready(name: str, case: Case, threads: int) -> Callable[[], tuple[float, float, Callable]]:
    torch.set_num_threads(threads)
    every = [part for layer in layers(case) for part in layer.inner or [layer]]
    both = [work(case, layer, first=k == 0) for k, layer in enumerate(every)]

    def step() -> tuple[float, float, Callable]:
        start = time.perf_counter()
        for forward, _ in both:
            forward()
        middle = time.perf_counter()
        if case.loss == "stream":
            return (middle - start) / case.steps, 0.0, list
        for _, backward in both if case.loss != "none" else ():
            backward()
        return middle - start, time.perf_counter() - middle, list

    return step


def work(case: Case, layer: Layer, first: bool) -> tuple[Callable, Callable]:
    """Forward and backward of a layer; the first layer's input wants no gradient unless it is all there is."""
    steps, batch, rows = case.steps, case.batch, case.steps * case.batch

    if layer.kind == "conv":
        around = [layer.padding] * 2
        x = torch.rand(rows, *layer.before).contiguous(memory_format=torch.channels_last)
        w = torch.from_numpy(layer.weights[0])
        g = torch.rand(rows, *layer.after).contiguous(memory_format=torch.channels_last)
        gradient = torch.ops.aten.convolution_backward

        def back() -> None:
            gradient(g, x, w, None, [1, 1], around, [1, 1], False, [0, 0], 1, [not first, True, False])

        return lambda: functional.conv2d(x, w, padding=around), back
    if layer.kind in ("linear", "recurrent"):
        x, g, w = torch.rand(rows, *layer.before), torch.rand(rows, *layer.after), torch.from_numpy(layer.weights[0])

        y, g_x, g_w, by_step = torch.empty_like(g), torch.empty_like(x), torch.empty_like(w), g.view(steps, batch, -1)
        back = torch.from_numpy(layer.weights[1]) if layer.kind == "recurrent" else None
        g_back = None if back is None else torch.empty_like(back)

        def forward() -> None:
            dense.multiply(x, w, None, y)
            feedback()

        def backward() -> None:
            dense.multiply(g.t(), x.t(), None, g_w)
            if not first:
                dense.multiply(g, w.t(), None, g_x)
            feedback()
            if g_back is not None:
                dense.multiply(g.t(), g.t(), None, g_back)

        def feedback() -> None:
            for t in range(steps) if back is not None else ():
                dense.multiply(by_step[t], back, None, y[:batch])

        return forward, backward
    if layer.kind == "lif":  # 8 bytes a neuron and step forward: its input, its spikes; 12 backward
        count = rows * torch.Size(layer.after).numel()
        a, b = torch.rand(count * 3 // 2), torch.rand(count * 3 // 2)
        return lambda: b[:count].copy_(a[:count]), lambda: b.copy_(a)
    return lambda: None, lambda: None
