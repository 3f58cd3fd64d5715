"""LIF alone: forward, and forward with backward, against the eager reference and a copy of the same bytes.

Traffic per neuron and step (float32): forward 4 bytes in and 4 out; backward 8 in (input, output gradient) and 4 out.
"""

import torch
from measure import guard, interleaved, median

import ranvier as rv

WORST = 15  # times a copy of the same bytes: about 2 is usual
SIZES = [(100, (64, 1024)), (16, (32, 64, 32, 32))]


def agree(layer, x, g):
    """Nothing is timed that does not agree with the reference."""
    results = []
    for backend in ("reference", "triton" if x.is_cuda else "numba"):
        one = x.clone().requires_grad_()
        with rv.backend(backend):
            y = layer(one)
        results.append((y, *torch.autograd.grad(y, [one, *layer.parameters()], g)))
    (y, gx, *gp), (z, hx, *hp) = results
    assert torch.equal(y, z), "spikes differ"
    for a, b in zip([gx, *gp], [hx, *hp], strict=True):
        assert (a - b).norm() <= 1e-4 * a.norm(), "gradients differ"


def main(quick: bool = False) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    repeats = 3 if quick else 9
    print("| T x neurons | threads | what | fused ns | eager ns | ratio | copy ns | fused/copy | GB/s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for steps, shape in [(100, (16, 1024))] if quick else SIZES:
        x = torch.randn(steps, *shape, device=device)
        g, count = torch.randn_like(x), x.numel()
        for threads in (1, 2) if device == "cpu" else (torch.get_num_threads(),):
            torch.set_num_threads(threads)
            target = torch.rand_like(x)

            def copy(x=x, target=target):  # 8 bytes a number
                target.copy_(x)

            for learn in ((), ("beta", "threshold")):
                layer = rv.LIF(learn=learn).to(device)
                agree(layer, x[:, :2].contiguous(), g[:, :2].contiguous())
                one = x.clone().requires_grad_()

                def forward(layer=layer, x=x):
                    with torch.no_grad():
                        layer(x)

                def both(layer=layer, one=one, g=g):
                    torch.autograd.grad(layer(one), [one, *layer.parameters()], g)

                rows = [("forward", forward, 8)] if not learn else []
                rows += [(f"forward+backward{', learned' if learn else ''}", both, 20)]
                for name, run, traffic in rows:
                    copied, fused = (t / count * 1e9 for t in interleaved(copy, run, repeats=repeats))
                    with rv.backend("reference"):
                        eager = median(run, 3 if count < 1e7 and not quick else 1, 1) / count * 1e9
                    limit = copied * traffic / 8
                    guard(f"LIF {name}", fused / limit, WORST)
                    print(
                        f"| {steps} x {'x'.join(map(str, shape))} | {threads} | {name} | {fused:.2f} | {eager:.1f} "
                        f"| {eager / fused:.0f}x | {limit:.2f} | {fused / limit:.2f} | {traffic / fused:.1f} |",
                        flush=True,
                    )
