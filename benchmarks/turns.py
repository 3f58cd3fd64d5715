"""Libraries side by side: each in a process and an environment of its own, all alive together, playing in turns.

In every round every library has one turn, so that a slow moment of the machine meets all; what counts is the median
over the rounds. Before a turn is timed each says its evidence (the losses of three training steps, or the rate of its
spikes and the size of its gradient), which is held against the plain loop's.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cases import CASES, FAMILIES
from measure import header
from peers import python

HERE = Path(__file__).parent
KEPT = HERE / "table.json"
OURS = ("ranvier", "loop", "limit")
ALL = ("ranvier", "spikingjelly", "snntorch", "norse", "sinabs", "rockpool", "spyx", "loop", "limit")

# Of the evidence, how much must agree with the plain loop's; and why not all of it.
AGREES: dict[str, int] = {"ranvier": 3, "loop": 3, "spikingjelly": 3, "sinabs": 1, "norse": 1}
WHY = {
    "snntorch": "resets a tick later",
    "norse": "its own slope",
    "sinabs": "gradient through the reset",
    "rockpool": "a current before the membrane, its own slope",
    "spyx": "fires and resets a tick later",
}


class Player:
    """A library on a case, in a child that waits for its turns."""

    def __init__(self, library: str, case: str, threads: int):
        self.library, self.turns = library, []
        self.errors = tempfile.TemporaryFile("w+")
        interpreter = Path(sys.executable) if library in OURS else python(library)
        if not interpreter.exists():
            raise FileNotFoundError(f"not installed: python benchmarks/peers.py {library}")
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
        environment = {**os.environ, **dict.fromkeys(names, str(threads)), "THP_MEM_ALLOC_ENABLE": "1"}
        if library not in OURS:
            environment.pop("PYTHONPATH", None)
        command = [str(interpreter), str(HERE / "player.py"), library, case, str(threads)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.errors}
        self.process = subprocess.Popen(command, env=environment, text=True, **pipes)

    def hear(self) -> dict[str, Any]:
        for line in self.process.stdout or ():
            if line.startswith("@"):
                return json.loads(line[1:])
        self.errors.seek(0)
        raise RuntimeError((self.errors.read().strip().splitlines() or ["no answer"])[-1][:200])

    def play(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        self.turns.append(self.hear())

    def end(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait()


def play(case: str, threads: int, rounds: int, libraries: tuple[str, ...] = ALL) -> dict[str, dict[str, Any]]:
    """Figures of every library on a case, or the reason why there are none."""
    found: dict[str, dict[str, Any]] = {name: {} for name in libraries}
    players: list[Player] = []
    for name in libraries:
        try:
            players.append(Player(name, case, threads))
        except FileNotFoundError as problem:
            found[name] = {"missing": str(problem)}
    for player in tuple(players):
        try:
            found[player.library] = player.hear()
        except RuntimeError as problem:
            found[player.library] = {"missing": str(problem)}
            players.remove(player)
    check(case, found)
    for _ in range(rounds):
        for player in players:
            player.play()
    for player in players:
        player.end()
        columns = {key: statistics.median(t[key] for t in player.turns) for key in player.turns[0]}
        seconds = statistics.median(t["forward"] + t["backward"] for t in player.turns)
        found[player.library] |= {**columns, "seconds": seconds}
    return found


def check(case: str, found: dict[str, dict[str, Any]]) -> None:
    """Refuse to time what differs from the plain loop where it should not."""
    judge = found.get("loop", {}).get("evidence", [])
    for name, row in found.items():
        pairs = zip(row.get("evidence", [])[: AGREES.get(name, 0)], judge, strict=False)
        worst = max((abs(a - b) / abs(b) for a, b in pairs), default=0.0)
        if worst > CASES[case].tolerance:
            raise SystemExit(f"{name} does not agree with the plain loop on {case}: {row['evidence']} and {judge}")


def main(family: str, quick: bool = False, case: str = "", threads: int = 0, rounds: int = 0) -> None:
    """Measure the cases of a family and print their tables; unless quick, keep them in table.json and draw them."""
    for name in [case] if case else FAMILIES[family]:
        for count in [threads] if threads else [1] if quick else [1, 2]:
            found = play(name, count, rounds or (1 if quick else 7), ("ranvier", "loop", "limit") if quick else ALL)
            print(table(name, count, found), flush=True)
            if not quick:
                keep(name, count, found)
    if not quick:
        from chart import draw

        draw(json.loads(KEPT.read_text()), HERE / "table.svg")


def table(case: str, threads: int, found: dict[str, dict[str, Any]]) -> str:
    """Markdown: milliseconds, ratios to ours and to the limit, memory."""
    ours, limit = (found.get(name, {}).get("seconds") for name in ("ranvier", "limit"))
    lines = [f"\n{case}; {threads} thread{'s' * (threads > 1)}\n"]
    lines += ["| library | forward ms | backward ms | both ms | / ranvier | / limit | peak MiB | evidence |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for name, row in found.items():
        if "missing" in row:
            lines.append(f"| {name} | - | - | - | - | - | - | {row['missing']} |")
            continue
        times = " | ".join(f"{1e3 * row[key]:.3g}" for key in ("forward", "backward", "seconds"))
        ratios = " | ".join(f"{row['seconds'] / to:.2f}" if to else "-" for to in (ours, limit))
        evidence = ", ".join(f"{v:.4g}" for v in row["evidence"]) + (f" ({WHY[name]})" if name in WHY else "")
        lines.append(f"| {name} | {times} | {ratios} | {row['peak']:.0f} | {evidence} |")
    return "\n".join(lines)


def keep(case: str, threads: int, found: dict[str, dict[str, Any]]) -> None:
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    kept.setdefault(case, {})[str(threads)] = {"when": f"{header()} {time.strftime('%H:%M')}", "libraries": found}
    KEPT.write_text(json.dumps({name: kept[name] for name in CASES if name in kept}, indent=1) + "\n")
