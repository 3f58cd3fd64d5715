"""python docs/run.py PAGE: run the python blocks of a page in order, as one script, so that it prints its figures.

Files that the page writes are removed again.
"""

import os
import re
import sys
import tempfile
from pathlib import Path


def run(page: Path) -> None:
    space = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL):
        exec(compile(block, str(page), "exec"), space)


if __name__ == "__main__":
    page = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        run(page)
