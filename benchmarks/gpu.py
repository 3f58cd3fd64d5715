"""On a GPU: a recurrent layer in one kernel next to step by step, and LIF next to a copy of the same bytes.

Step by step is also played from a CUDA graph, so that Python's share is told from the chip's. All three have just given
the same spikes.
"""

import torch
from measure import copy_seconds, median

import ranvier as rv
from ranvier.spikes import feedback

BATCHES, WIDTHS = (64, 1024), (64, 128, 256, 512)


def main(quick: bool = False) -> None:
    if not torch.cuda.is_available():
        print("no GPU here: nothing to measure")
        return
    steps, repeats = (20, 3) if quick else (100, 9)
    recurrent(steps, repeats)
    scans(steps, repeats)


def recurrent(steps: int, repeats: int) -> None:
    print("| product | batch | neurons | forward ms: one kernel | by steps | in a graph | training: one | by steps |")
    print("|---|---|---|---|---|---|---|---|")
    for product in ("highest", "high"):
        torch.set_float32_matmul_precision(product)
        for batch in BATCHES:
            for width in WIDTHS:
                layer = rv.Recurrent(rv.LIF(), width).cuda()
                x = torch.rand(steps, batch, width, device="cuda", requires_grad=True)
                with torch.no_grad():
                    one, forward = layer(x), median(lambda m=layer, x=x: m(x), repeats)
                training = median(lambda m=layer, x=x: m(x).sum().backward(), repeats)
                with steps():
                    with torch.no_grad():
                        moved = (layer(x) != one).float().mean().item()
                        slow, graph = median(lambda m=layer, x=x: m(x), repeats), played(layer, x, repeats)
                    slow_training = median(lambda m=layer, x=x: m(x).sum().backward(), repeats)
                times = (forward, slow, graph, training, slow_training)
                print(f"| {product} | {batch} | {width} | {' | '.join(f'{s * 1e3:.2f}' for s in times)} |", flush=True)
                if product == "highest" and moved > 1e-3:
                    raise SystemExit(f"the layers differ in {moved:.1%} of their spikes")


class steps:
    """No width is carried in one operator within this block."""

    def __enter__(self) -> None:
        self.widest, feedback.WIDEST = feedback.WIDEST, {}

    def __exit__(self, *problem: object) -> None:
        feedback.WIDEST = self.widest


def played(layer: rv.Recurrent, x: torch.Tensor, repeats: int) -> float:
    """Seconds of a forward pass from a CUDA graph."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        layer(x)
    return median(graph.replay, repeats)


def scans(steps: int, repeats: int) -> None:
    """Forward of LIF reads and writes what a copy does: to be near it is to be at the speed of memory."""
    print("\n| neurons | LIF forward us | copy us | training us |\n|---|---|---|---|")
    for neurons in (1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20):
        layer, x = rv.LIF(), torch.rand(steps, 1, neurons, device="cuda", requires_grad=True)
        layer = layer.cuda()
        with torch.no_grad():
            forward = median(lambda m=layer, x=x: m(x), repeats)
        training = median(lambda m=layer, x=x: m(x).sum().backward(), repeats)
        times = (forward, copy_seconds(x.numel(), "cuda"), training)
        print(f"| {neurons:,} | {' | '.join(f'{s * 1e6:.0f}' for s in times)} |", flush=True)
