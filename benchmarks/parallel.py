"""A recurrence without reset, in parallel over time (backends/linear.py), beside the fused kernel, step by step."""

from functools import partial

import torch
from measure import interleaved
from torch import Tensor

import ranvier as rv

SIZES = ((256, 1 << 10), (1024, 1 << 10), (256, 1 << 15), (4096, 1 << 8))  # (steps, neurons)


def turn(layer: rv.AssociativeLIF, x: Tensor, backward: bool) -> None:
    x.grad = None
    with torch.set_grad_enabled(backward):
        y = layer(x)
    if backward:
        y.backward(torch.ones_like(y))


def main(quick: bool = False) -> None:
    """A table of milliseconds, on the GPU if there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    steps, parallel = (rv.AssociativeLIF(beta=0.9, parallel=how).to(device) for how in (False, True))
    print(f"AssociativeLIF, float32, {device}, {torch.get_num_threads()} threads\n")
    print("| T x neurons | what | step by step, ms | parallel, ms | parallel is |")
    print("|---|---|---|---|---|")
    for steps, neurons in SIZES[:1] if quick else SIZES:
        x = torch.randn(steps, 1, neurons, device=device)
        different = (steps(x) != parallel(x)).float().mean().item()  # sums in another order: some ties fall otherwise
        assert different < 1e-4, f"{different:.2%} of the spikes differ"
        x.requires_grad_()
        for backward in (False, True):
            runs = [partial(turn, layer, x, backward) for layer in (steps, parallel)]
            a, b = interleaved(*runs, repeats=3 if quick else 9)
            name = "forward and backward" if backward else "forward"
            shown = f"{a / b:.1f}x faster" if a > b else f"{b / a:.1f}x slower"
            print(f"| {steps} x {neurons} | {name} | {1e3 * a:.2f} | {1e3 * b:.2f} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
