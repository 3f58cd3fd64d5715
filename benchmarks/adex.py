"""AdEx with every term on: the fused rule against a loop of torch operations, forward and backward, on one core."""

import torch
from measure import median

import ranvier as rv


def one(steps: int, neurons: int, repeats: int) -> list[tuple[str, float, float]]:
    """(machine, forward, backward) in nanoseconds per neuron and tick, after checking that the machines agree."""
    neuron = rv.AdEx(refractory=True, learn=("c_mem", "tau_w"))
    torch.manual_seed(0)
    x = torch.rand(steps, 1, neurons) * (torch.rand(steps, 1, neurons) > 0.5) * 2.5
    rows, results = [], {}
    for machine in ("reference", "cpu"):
        given = x.clone().requires_grad_()
        with rv.machine(machine):
            z = neuron(given)

            def forward(given=given):
                with torch.no_grad():
                    neuron(given)

            def both(given=given):
                given.grad = None
                neuron(given).sum().backward()

            both()
            results[machine] = z.detach(), given.grad
            ahead = median(forward, repeats, 1)
            rows.append((machine, ahead, median(both, repeats, 1) - ahead))
    (z, g), (fast_z, fast_g) = results["reference"], results["cpu"]
    if not torch.equal(z, fast_z) or not torch.allclose(g, fast_g, rtol=1e-3, atol=1e-5 * g.abs().max().item()):
        raise SystemExit("adex: the machines disagree, so nothing is timed")
    scale = 1e9 / (steps * neurons)
    return [(name, a * scale, b * scale) for name, a, b in rows]


def main(quick: bool = False) -> None:
    torch.set_num_threads(1)
    steps, neurons = (50, 4096) if quick else (100, 65536)
    rows = one(steps, neurons, 3 if quick else 5)
    print(f"AdEx, all terms, refractory; T={steps}, {neurons} neurons, one core; ns per neuron and tick")
    print(f"{'machine':<12}{'forward':>10}{'backward':>10}")
    for name, ahead, back in rows:
        print(f"{name:<12}{ahead:>10.1f}{back:>10.1f}")
    (_, slow, slow_back), (_, fast, fast_back) = rows
    print(f"fused is {slow / fast:.1f} times as fast forward, {slow_back / fast_back:.1f} times backward")
