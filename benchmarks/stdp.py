"""784 -> 400 LIF neurons that learn by pair STDP, T = 250: CPU seconds per sample, next to other libraries.

Before anything is timed, Ranvier's change of weights is compared with SpikingJelly's for the same spikes and weights.
Peers: `python benchmarks/peers.py bindsnet spikingjelly` makes their environments.
"""

import json
from pathlib import Path

import torch
from measure import header, peer
from stdp_peers import given, timed

from ranvier import TracedLIF
from ranvier.plasticity import Contest, apply, stdp
from ranvier.spikes.product import linear

KEEP = 1 - 1 / 20.0  # of membranes and traces, per step
LIF = TracedLIF(beta=KEEP, update="exponential")
SCRIPT = str(Path(__file__).with_name("stdp_peers.py"))


def ours(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The change of weights, summed over the batch."""
    z = LIF(linear(x, weight, None))
    return stdp(x, z, weight, rho_pre=KEEP, rho_post=KEEP, plus=1.0, minus=1.0, reduction="sum")


def main(quick: bool = False) -> None:
    torch.set_num_threads(1)
    steps, batches, repeats = (50, (1, 4), 1) if quick else (250, (1, 16), 3)
    print(header(), f"; one thread, T = {steps}", sep="")
    results = {(n, b): json.loads(peer(n, SCRIPT, n, str(steps), str(b), str(repeats)))
               for n in ("spikingjelly", "bindsnet") for b in batches}  # fmt: skip
    for b in batches:
        mine, other = ours(*given(steps, b)).flatten()[::97], torch.tensor(results["spikingjelly", b]["change"])
        error = ((mine - other).norm() / other.norm()).item()
        if not error < 1e-3:
            raise RuntimeError(f"batch {b}: the changes of weights differ by {error:.2g}; nothing is timed")
    print(f"{'':36}" + "".join(f"batch {b:<12}" for b in batches) + "(ms of CPU per sample)")
    for n in ("spikingjelly", "bindsnet"):
        print(f"{n:36}" + "".join(f"{results[n, b]['seconds'] * 1e3:<18.2f}" for b in batches))
    best = [min(results[n, b]["seconds"] for n in ("spikingjelly", "bindsnet")) for b in batches]

    def row(name: str, run) -> None:
        spent = [timed(lambda b=b: run(*given_[b]), 4 * repeats) / b for b in batches]
        ratios = " and ".join(f"{slow / fast:.0f}x" for slow, fast in zip(best, spent, strict=True))
        print(f"{name:36}" + "".join(f"{s * 1e3:<18.2f}" for s in spent) + f"{ratios} the faster above")

    given_ = {b: given(steps, b) for b in batches}
    row("ranvier stdp, whole sequence", lambda x, w: apply(w, ours(x, w), lr=1e-9))
    contest = Contest(784, 400)
    row("ranvier Contest.learn, every spike", lambda x, w: contest.learn(x))


if __name__ == "__main__":
    main()
