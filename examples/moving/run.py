"""`python run.py PROGRAM [original]`: the losses of three steps and the seconds that a later one takes, as JSON.

With `original` the imports are those of the library itself, which must be installed. `python run.py table [PROGRAM ..]`
runs both (the originals in the environments of `benchmarks/peers.py`) and prints milliseconds of a step, side by side.
"""

import json
import runpy
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
PROGRAMS = {
    p.stem: "pytorch_spiking" if p.stem.startswith("pytorch") else p.stem.split("_")[0]
    for p in sorted(HERE.glob("*_*.py"))
}
ABSENT = {"hxtorch"}  # in no package index


def load(program: str, original: bool) -> dict:
    beside = HERE / "original" / f"{program}.py"  # where more than imports differs
    if original and beside.exists():
        return {"main": runpy.run_path(str(beside))["main"]}
    source = (HERE / f"{program}.py").read_text()
    space: dict = {"__name__": program}
    exec(compile(source.replace("ranvier.compat.", "") if original else source, program, "exec"), space)
    return space


def seconds(main: Callable[[int], list], steps: int, repeats: int = 5) -> float:
    """The least seconds of several runs, in which nothing else disturbed."""
    found = []
    for _ in range(repeats):
        begin = time.perf_counter()
        main(steps)
        found.append(time.perf_counter() - begin)
    return min(found)


def stamped(main: Callable[[int], list]) -> float:
    """The median seconds of the program's own `step`, where each call of main compiles it anew."""
    step, found = main.__globals__["step"], []

    def timed(*args: object) -> float:
        begin = time.perf_counter()
        loss = float(step(*args))
        found.append(time.perf_counter() - begin)
        return loss

    main.__globals__["step"] = timed
    main(20)
    return sorted(found)[10]


def measure(program: str, original: bool) -> dict:
    main = load(program, original)["main"]
    losses = main(3)
    if "step" in main.__globals__:
        return {"losses": losses, "seconds": stamped(main)}
    # what ten more steps take, so that neither data nor compiling counts
    return {"losses": losses, "seconds": (seconds(main, 13) - seconds(main, 3)) / 10}


def elsewhere(program: str, original: bool) -> dict:
    """Measure in a fresh process: with the peer's own interpreter for the original."""
    peer = HERE.parents[1] / ".peers" / PROGRAMS[program] / "bin" / "python"
    words = [str(peer), __file__, program, "original"] if original else [sys.executable, __file__, program]
    return json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


def table(programs: list[str]) -> None:
    for program in programs or PROGRAMS:
        ours = elsewhere(program, False)["seconds"]
        theirs = "-" if PROGRAMS[program] in ABSENT else f"{1e3 * elsewhere(program, True)['seconds']:.1f}"
        print(f"| `{program}` | {theirs} | {1e3 * ours:.1f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "table":
        table(sys.argv[2:])
    else:
        print(json.dumps(measure(sys.argv[1], sys.argv[2:] == ["original"])))
