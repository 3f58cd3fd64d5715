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
from measure import ISAS, header, processor
from peers import python

HERE = Path(__file__).parent
KEPT = HERE / "table.json"
OURS = ("ranvier", "loop", "limit")
MEASURES = OURS[1:]  # what every run is held against, and takes part in
ALL = ("ranvier", "spikingjelly", "snntorch", "norse", "sinabs", "rockpool", "spyx", "jaxpike", "loop", "limit")

# How much of the evidence must agree with the plain loop's, and why not all of it.
AGREES: dict[str, int] = {
    "ranvier": 3,
    "loop": 3,
    "spikingjelly": 3,
    "sinabs": 1,
    "jaxpike": 1,
    "norse": 1,
    "norse, recurrent": 0,
}
WHY = {
    "snntorch": "resets a step later",
    "norse": "its own slope",
    "norse, recurrent": "resets to zero, its own slope",
    "sinabs": "gradient through the reset",
    "rockpool": "a current before the membrane, its own slope",
    "spyx": "fires and resets a step later",
    "jaxpike": "gradient through the reset",
}


def of(table: dict[str, Any], library: str, case: str, default: Any) -> Any:
    """What a table says of a library, or of a library in this family."""
    return table.get(f"{library}, {case.split(',')[0]}", table.get(library, default))


class Child:
    """A process that says a line of JSON when it is ready, and another for every turn."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str]):
        self.name, self.turns, self.errors = name, [], tempfile.TemporaryFile("w+")
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


def player(library: str, case: str, threads: int, isa: str) -> Child:
    """A library on a case, on the processor as it is or as an older one."""
    interpreter = Path(sys.executable) if library in OURS else python(library)
    if not interpreter.exists():
        raise FileNotFoundError(f"not installed: python benchmarks/peers.py {library}")
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(threads)), "THP_MEM_ALLOC_ENABLE": "1"}
    environment |= ISAS.get(isa, {})
    if library not in OURS:
        environment.pop("PYTHONPATH", None)
    return Child(library, [str(interpreter), str(HERE / "player.py"), library, case, str(threads)], environment)


def play(
    case: str, threads: int, seconds: float, libraries: tuple[str, ...], isa: str = "", hold: bool = False
) -> dict[str, dict[str, Any]]:
    """What every library says of itself on a case and how its turns went, or the reason why there are none."""
    players, found = begin(case, threads, libraries, isa)
    check(case, found)
    if hold:
        print("ready; Enter begins the turns", flush=True)
        sys.stdin.readline()
    start = time.perf_counter()
    rounds = 0
    while not rounds or (time.perf_counter() - start) * (rounds + 1) / rounds < seconds:
        for one in players:
            one.play()
        rounds += 1
    for one in players:
        one.end()
        found[one.name]["turns"] = one.turns
    return {name: found[name] for name in libraries}


def begin(
    case: str, threads: int, libraries: tuple[str, ...], isa: str
) -> tuple[list[Child], dict[str, dict[str, Any]]]:
    """Start the libraries, all at once, or one by one where threads of one that spin would keep another's waiting."""
    started: list[Child] = []
    found: dict[str, dict[str, Any]] = {}

    def hear(one: Child) -> None:
        try:
            found[one.name] = one.hear()
        except RuntimeError as problem:
            found[one.name] = {"missing": str(problem)}

    for name in libraries:
        try:
            started.append(player(name, case, threads, isa))
        except FileNotFoundError as problem:
            found[name] = {"missing": str(problem)}
            continue
        if threads > 1:
            hear(started[-1])
    for one in started if threads == 1 else ():
        hear(one)
    return [one for one in started if "missing" not in found[one.name]], found


def figures(row: dict[str, Any]) -> dict[str, float]:
    """Medians over the turns, of which the first only settles in; `seconds` is forward and backward."""
    turns = row["turns"][1:] or row["turns"]
    columns = {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}
    return columns | {"seconds": statistics.median(turn["forward"] + turn["backward"] for turn in turns)}


def check(case: str, found: dict[str, dict[str, Any]]) -> None:
    """Refuse to time what differs from the plain loop where it should not."""
    judge = found.get("loop", {}).get("evidence", [])
    for name, row in found.items():
        pairs = zip(row.get("evidence", [])[: of(AGREES, name, case, 0)], judge, strict=False)
        worst = max((abs(a - b) / abs(b) for a, b in pairs), default=0.0)
        if worst > CASES[case].tolerance:
            raise SystemExit(f"{name} does not agree with the plain loop on {case}: {row['evidence']} and {judge}")


def main(
    family: str,
    quick: bool = False,
    case: str = "",
    threads: int = 0,
    seconds: float = 60,
    libraries: str = "",
    isa: str = "",
    hold: bool = False,
) -> None:
    """Measure the cases of a family and print their tables; those of all libraries are kept in table.json, for `chart`.

    seconds: of turns, per case and number of threads. libraries: only these, beside the plain loop and the limit, which
    take part in every run. isa: an older instruction set, to be emulated. hold: when all are ready, wait for a line of
    input, so that the machine can be made quiet for the turns alone.
    """
    names = tuple(dict.fromkeys((*libraries.split(","), *MEASURES))) if libraries else OURS if quick else ALL
    for name in [case] if case else FAMILIES[family]:
        for count in [threads] if threads else [1] if quick else [1, 2]:
            found = play(name, count, 0 if quick else seconds, names, isa, hold)
            print(table(name, count, found, isa), flush=True)
            if names == ALL:
                keep(name, count, found, isa)


def table(case: str, threads: int, found: dict[str, dict[str, Any]], isa: str = "") -> str:
    """Markdown: milliseconds, how many times ours and the limit, memory."""
    times = {name: figures(row) for name, row in found.items() if "turns" in row}
    ours, limit = (times.get(name, {}).get("seconds") for name in ("ranvier", "limit"))
    lines = [f"\n{case}; {threads} thread{'s' * (threads > 1)}; {processor(isa)}\n"]
    lines += ["| library | forward ms | backward ms | both ms | of ranvier | of the limit | peak MiB | evidence |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for name, row in found.items():
        if name not in times:
            lines.append(f"| {name} | - | - | - | - | - | - | {row['missing']} |")
            continue
        shown = " | ".join(f"{1e3 * times[name][key]:.3g}" for key in ("forward", "backward", "seconds"))
        ratios = " | ".join(f"{times[name]['seconds'] / to:.2f}" if to else "-" for to in (ours, limit))
        evidence = ", ".join(f"{v:.4g}" for v in row["evidence"])
        why = of(WHY, name, case, "")
        lines.append(f"| {name} | {shown} | {ratios} | {row['peak']:.0f} | {evidence}{why and f' ({why})'} |")
    return "\n".join(lines)


def keep(case: str, threads: int, found: dict[str, dict[str, Any]], isa: str) -> None:
    """Write one run to table.json, in the place of what was there."""
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    row = {"when": f"{header()} {time.strftime('%H:%M')}", "machine": processor(isa), "libraries": found}
    kept.setdefault(case, {})[f"{threads} {isa}".strip()] = row
    KEPT.write_text(json.dumps({name: kept[name] for name in CASES if name in kept}) + "\n")
