"""`python run.py PROGRAM [original]`: the losses of three steps and the seconds of a later one, as JSON.

With `original` the imports are those of the library itself, which must be installed.
"""

import json
import sys
import time
from pathlib import Path


def load(program: str, original: bool) -> dict:
    source = (Path(__file__).parent / f"{program}.py").read_text()
    space: dict = {"__name__": program}
    exec(compile(source.replace("ranvier.compat.", "") if original else source, program, "exec"), space)
    return space


if __name__ == "__main__":
    main = load(sys.argv[1], sys.argv[2:] == ["original"])["main"]
    losses = main()
    begin = time.perf_counter()
    main()
    print(json.dumps({"losses": losses, "seconds": (time.perf_counter() - begin) / len(losses)}))
