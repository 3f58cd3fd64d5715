"""The notebooks of the course run, and are kept with their outputs."""

import json
import warnings
from pathlib import Path

import pytest

LEARN = Path(__file__).parents[2] / "docs" / "learn"
NOTEBOOKS = sorted(LEARN.glob("*.ipynb"))
LONG = {
    "2-time-and-batch",
    "3-surrogate-gradients",
    "4-your-own-neuron",
    "5-recurrent-nets",
    "6-events",
    "8-to-a-chip",
}  # seconds each


def code(path):
    return [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]


RUN = [pytest.param(p, marks=[pytest.mark.slow] if p.stem in LONG else []) for p in NOTEBOOKS]


@pytest.mark.parametrize("path", RUN, ids=lambda p: p.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    from matplotlib import pyplot

    monkeypatch.chdir(tmp_path)
    space = {"__name__": "notebook"}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "More than 20 figures")
        for cell in code(path):
            exec(compile("".join(cell["source"]), path.name, "exec"), space)
    pyplot.close("all")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_kept_with_its_outputs(path):
    cells = code(path)
    assert [c["execution_count"] for c in cells] == list(range(1, len(cells) + 1)), "run python docs/notebooks.py"
    outputs = [o for c in cells for o in c["outputs"]]
    assert len(outputs) >= 3 and not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_picture_is_told_in_words(path):
    for cell in code(path):
        if any("image/png" in o.get("data", {}) for o in cell["outputs"]):
            assert len(cell["metadata"]["mystnb"]["image"]["alt"]) > 20


def test_the_course_has_eight_chapters():
    index = (LEARN / "index.md").read_text()
    assert len(NOTEBOOKS) == 8 and all(f"({p.name})" in index for p in NOTEBOOKS)
