"""`python run.py PROGRAM [original]`: the losses of three steps and the seconds that a later one takes, as JSON.

With `original` the imports are those of the library itself, which must be installed.
"""

import json
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path


def load(program: str, original: bool) -> dict:
    beside = Path(__file__).parent / "original" / f"{program}.py"  # where more than imports differs
    if original and beside.exists():
        return {"main": runpy.run_path(str(beside))["main"]}
    source = (Path(__file__).parent / f"{program}.py").read_text()
    space: dict = {"__name__": program}
    exec(compile(source.replace("ranvier.compat.", "") if original else source, program, "exec"), space)
    return space


def seconds(main: Callable[[int], list], steps: int) -> float:
    begin = time.perf_counter()
    main(steps)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main = load(sys.argv[1], sys.argv[2:] == ["original"])["main"]
    losses = main(3)
    # what three more steps take, so that neither data nor compiling counts
    step = sorted((seconds(main, 6) - seconds(main, 3)) / 3 for _ in range(3))[1]
    print(json.dumps({"losses": losses, "seconds": step}))
