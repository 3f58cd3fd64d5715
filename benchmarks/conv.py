"""A training step of a convolutional spiking net, next to the same net on other libraries: time and peak memory."""

import json
import os
import statistics
import subprocess
import sys

from measure import REPO, note, peer

SCRIPT = "benchmarks/conv_nets.py"
PEERS = ("spikingjelly", "snntorch")  # each in an environment of its own, .peers/NAME
HERE = ("ranvier", "loop")


def main(quick: bool) -> None:
    """Every library in turn, several times over, one thread each. Wall time is what a user waits; processor time does
    not count what other programs take of the machine."""
    os.environ["OMP_NUM_THREADS"] = "1"
    repeats, rounds = (2, 1) if quick else (5, 3)
    found: dict[str, dict[str, list]] = {}
    for _ in range(rounds):
        for name in (*HERE, *PEERS):
            try:
                seen = _run(name, repeats)
            except FileNotFoundError as problem:
                note(str(problem))
                continue
            mine = found.setdefault(name, {"wall": [], "cpu": [], "peak": [], "losses": []})
            mine["wall"] += seen["wall"]
            mine["cpu"] += seen["cpu"]
            mine["peak"].append(seen["peak"])
            mine["losses"] = seen["losses"]
    print("| library | step, ms | of it processor, ms | peak memory, MiB | losses of three steps |")
    print("|---|---|---|---|---|")
    for name, mine in found.items():
        wall, cpu = (1e3 * statistics.median(mine[k]) for k in ("wall", "cpu"))
        losses = ", ".join(f"{v:.4f}" for v in mine["losses"])
        print(f"| {name} | {wall:.0f} | {cpu:.0f} | {statistics.median(mine['peak']):.0f} | {losses} |")
    judge = found["loop"]["losses"]
    for name, mine in found.items():
        if name != "snntorch":  # it fires above the threshold, not at it, and says so
            worst = max(abs(a - b) for a, b in zip(mine["losses"], judge, strict=True))
            if worst > 1e-3:
                raise SystemExit(f"{name} does not agree with the plain loop: {mine['losses']} and {judge}")


def _run(name: str, repeats: int) -> dict:
    if name in PEERS:
        return json.loads(peer(name, SCRIPT, name, str(repeats)).splitlines()[-1])
    command = [sys.executable, SCRIPT, name, str(repeats)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, check=True)
    return json.loads(done.stdout.splitlines()[-1])
