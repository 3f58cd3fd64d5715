"""Type checkers, at their strictest, know what Ranvier's names are: right programs pass, each mistake is flagged."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ranvier as rv
from everything import NEURONS

HERE = Path(__file__).parent
SOURCE = Path(rv.__file__).parents[1]
FILES = {name: (HERE / name).read_text() for name in ("right.py", "wrong.py")}
WRONG = {k for k, line in enumerate(FILES["wrong.py"].splitlines(), 1) if line.endswith("# wrong")}


def pyright(folder):
    config = {"typeCheckingMode": "strict", "extraPaths": [str(SOURCE)], "pythonVersion": "3.11"}
    (folder / "pyrightconfig.json").write_text(json.dumps(config))
    command = ["pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(folder)]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)
    for found in json.loads(done.stdout)["generalDiagnostics"]:
        if found["severity"] == "error":
            yield Path(found["file"]).name, found["range"]["start"]["line"] + 1, found["message"]


def mypy(folder):
    cache = HERE.parents[1] / ".mypy_cache"
    command = ["mypy", "--strict", "--cache-dir", str(cache), "--python-executable", sys.executable, *FILES]
    space = {**os.environ, "MYPYPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-m", *command], cwd=folder, env=space, capture_output=True, text=True)
    assert done.stderr == "", done.stderr
    for name, line, message in re.findall(r"^(.*?):(\d+): error: (.*)$", done.stdout, flags=re.MULTILINE):
        yield Path(name).name, int(line), message


@pytest.mark.parametrize("checker", [pyright, mypy])
def test_right_lines_pass_and_wrong_ones_are_flagged(checker, tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    found = list(checker(tmp_path))
    assert [one for one in found if one[0] != "wrong.py"] == []
    assert len(WRONG) >= 20
    assert {line for name, line, _ in found if name == "wrong.py"} == WRONG, found


def test_right_lines_run():
    exec(compile(FILES["right.py"], "right.py", "exec"), {"__name__": "right"})


def names_for_checkers(neuron):
    """What the class, or its constructor, tells type checkers of `learn`."""
    own = vars(neuron).get("__annotations__", {}).get("learn")
    return own or neuron.__init__.__annotations__.get("learn")


@pytest.mark.parametrize("neuron", NEURONS, ids=lambda n: n.__name__)
def test_type_checkers_know_the_names_that_may_be_learned(neuron):
    if issubclass(neuron, rv.PhysicalLIF.__base__):
        return  # synapses and terms bring names of their own, so any name will do there
    times = [k for k, t in neuron.times.items() if neuron.params[t.of].learnable]
    wanted = {*(k for k, p in neuron.params.items() if p.learnable), *times}
    told = next(filter(None, (names_for_checkers(c) for c in neuron.__mro__ if issubclass(c, rv.Neuron))))
    assert set(re.findall(r"'(\w+)'", str(told))) == wanted
