"""Event-driven products against torch's dense ones: forward and weight gradient, by density (1 thread).

Limit: the dense product at the measured matrix rate; the input is read once either way.
"""

import torch
from measure import guard, interleaved

from ranvier.spikes import product

SIZES = [(6400, 512, 512), (6400, 700, 256), (3200, 784, 512)]


def main(quick: bool = False) -> None:
    torch.set_num_threads(1)
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
