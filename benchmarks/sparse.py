"""Products and convolutions by events against torch's dense ones: forward and weight gradient, by density (1 thread).

Limit: the dense product at the measured matrix rate; the input is read once either way.
"""

import torch
from measure import guard, interleaved
from torch import nn

import ranvier
from ranvier.spikes import convolution, product

SIZES = [(6400, 512, 512), (6400, 700, 256), (3200, 784, 512)]
PICTURES = [(32, 64, 28), (64, 64, 28), (64, 128, 14), (128, 256, 14)]  # channels in, channels out, pixels a side
COUNT = 256  # pictures: 8 steps of a batch of 32


def main(quick: bool = False) -> None:
    torch.set_num_threads(1)
    products(quick)
    print()
    convolutions(quick)


def products(quick: bool) -> None:
    print("| M x K x N | density | forward dense ms | events ms | ratio | gradient dense ms | events ms | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for rows, columns, width in SIZES[:1] if quick else SIZES:
        weight = torch.randn(width, columns)
        g = torch.randn(rows, width)
        for share in (0.05,) if quick else (0.02, 0.05, 0.1, 0.2, 0.4):
            x = (torch.rand(rows, columns) < share).float()
            out, base = torch.empty(rows, width), torch.zeros(1, width)

            def events(x=x, weight=weight, base=base, out=out):
                product.add_events(x, product.panels(weight), weight.shape[1], base, out)

            events()
            true = x @ weight.t()
            assert (out - true).norm() <= 1e-6 * true.norm(), "forward differs"
            gradient = g.t() @ x
            assert (product.weight_gradient(x, g) - gradient).norm() <= 1e-5 * gradient.norm(), "gradient differs"
            a, b, c, d = interleaved(
                lambda x=x, weight=weight: x @ weight.t(),
                events,
                lambda x=x, g=g: g.t() @ x,
                lambda x=x, g=g: product.weight_gradient(x, g),
                repeats=3 if quick else 7,
            )
            if share <= 0.05:  # events are three times as fast there, or more
                guard("a product by events", b / a, 1)
                guard("a weight gradient by events", d / c, 1)
            print(
                f"| {rows} x {columns} x {width} | {share} | {a * 1e3:.1f} | {b * 1e3:.1f} | {a / b:.1f}x "
                f"| {c * 1e3:.1f} | {d * 1e3:.1f} | {c / d:.1f}x |",
                flush=True,
            )


def convolutions(quick: bool) -> None:
    """3 x 3, stride 1, padding 1. torch's convolution in the quicker layout of memory, ours with channels last; that
    the input is looked at and the weight packed is within the time."""
    said = (f"{what} dense ms | events ms | ratio |" for what in ("forward", "gradient", "step"))
    print("| channels, side | density |", *said)
    print("|---" * 11 + "|")
    for inputs, outputs, side in PICTURES[2:3] if quick else PICTURES:
        for share in (0.05,) if quick else (0.02, 0.05, 0.1, 0.2):
            convolve(inputs, outputs, side, share, 3 if quick else 5)


def convolve(inputs: int, outputs: int, side: int, share: float, repeats: int) -> None:
    ours, dense = (kind(inputs, outputs, 3, padding=1) for kind in (ranvier.Conv2d, nn.Conv2d))
    dense_last = nn.Conv2d(inputs, outputs, 3, padding=1).to(memory_format=torch.channels_last)
    for layer in (dense, dense_last):
        layer.load_state_dict(ours.state_dict())
    x, g = (torch.rand(COUNT, inputs, side, side) < share).float(), torch.randn(COUNT, outputs, side, side)
    x_last, g_last = (v.contiguous(memory_format=torch.channels_last) for v in (x, g))
    y, true = ours(x_last), dense(x)
    assert (y - true).norm() <= 1e-6 * true.norm(), "forward differs"
    bits, one = convolution.look(x_last)[0], (1, 1)

    def torchs(layer, x, g):
        given = [outputs], one, one, one, False, (0, 0), 1, (False, True, False)
        return torch.ops.aten.convolution_backward(g, x, layer.weight, *given)[1]

    def events():
        return convolution.weight_gradient(bits, x.shape, g_last, ours.weight, one, one)

    def step(layer):
        layer(x_last.requires_grad_()).backward(g_last)

    assert (events() - torchs(dense, x, g)).norm() <= 1e-5 * events().norm(), "gradient differs"
    a, b, c, d, e, f, h, i = interleaved(
        torch.no_grad()(lambda: dense(x)),
        torch.no_grad()(lambda: dense_last(x_last)),
        torch.no_grad()(lambda: ours(x_last)),
        lambda: torchs(dense, x, g),
        lambda: torchs(dense_last, x_last, g_last),
        events,
        lambda: step(dense_last),
        lambda: step(ours),
        repeats=repeats,
        warmup=1,
    )
    dense_ms, events_ms = ([1e3 * v for v in found] for found in ((min(a, b), min(d, e), h), (c, f, i)))
    if share <= 0.05:
        guard("a convolution by events", events_ms[0] / dense_ms[0], 1)
        guard("its weight gradient by events", events_ms[1] / dense_ms[1], 1)
    pairs = zip(dense_ms, events_ms, strict=True)
    print(f"| {inputs} to {outputs}, {side} | {share} |", end="")
    print(*(f" {old:.0f} | {new:.0f} | {old / new:.1f}x |" for old, new in pairs), sep="", flush=True)
