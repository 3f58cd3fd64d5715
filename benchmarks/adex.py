"""AdEx with every term on: the fused rule against a loop of torch operations, forward and backward, on one core.

CPU seconds of one thread, so that a busy machine does not count.
"""

import torch
from stdp_peers import timed

import ranvier as rv


def one(steps: int, neurons: int, repeats: int) -> list[tuple[str, float, float]]:
    """(backend, forward, backward) in nanoseconds per neuron and step, after checking that the backends agree."""
    neuron = rv.AdEx(refractory=True, learn=("c_mem", "tau_w"))
    torch.manual_seed(0)
    x = torch.rand(steps, 1, neurons) * (torch.rand(steps, 1, neurons) > 0.5) * 2.5
    g, rows, results = torch.rand_like(x), [], {}
    for backend in ("reference", "numba"):
        given = x.clone().requires_grad_()
        with rv.backend(backend):
            z = neuron(given)

            def forward(given=given):
                with torch.no_grad():
                    neuron(given)

            def both(given=given):
                given.grad = None
                neuron(given).backward(g)

            both()
            results[backend] = z.detach(), given.grad
            ahead = timed(forward, repeats)
            rows.append((backend, ahead, timed(both, repeats) - ahead))
    (z, g_x), (fast_z, fast_g) = results["reference"], results["numba"]
    if not torch.equal(z, fast_z) or not torch.allclose(g_x, fast_g, rtol=1e-3, atol=1e-5 * g_x.abs().max().item()):
        raise SystemExit("adex: the backends disagree, so nothing is timed")
    scale = 1e9 / (steps * neurons)
    return [(name, a * scale, b * scale) for name, a, b in rows]


def main(quick: bool = False) -> None:
    torch.set_num_threads(1)
    print("AdEx, all terms, refractory, two parameters learned; T = 100, one thread; ns of CPU per neuron and step")
    print(f"{'neurons':>8}  {'':<12}{'forward':>10}{'backward':>10}{'both':>10}")
    for neurons in (1024,) if quick else (1024, 4096, 16384, 65536):
        rows = one(100, neurons, 3)
        for name, ahead, back in rows:
            print(f"{neurons:>8}  {name:<12}{ahead:>10.1f}{back:>10.1f}{ahead + back:>10.1f}")
        (_, slow, slow_back), (_, fast, fast_back) = rows
        ratios = slow / fast, slow_back / fast_back, (slow + slow_back) / (fast + fast_back)
        print(f"{'':>8}  {'ratio':<12}" + "".join(f"{f'{ratio:.1f}x':>10}" for ratio in ratios))


if __name__ == "__main__":
    main()
