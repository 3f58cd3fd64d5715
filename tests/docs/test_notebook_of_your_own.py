"""A net and a Dataset of a stranger, outside the package, trained from a notebook and from the shell."""

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import ranvier as rv
from ranvier.train.folder import Folder

NOTEBOOK = Path(__file__).parents[2] / "docs" / "how-to" / "notebook.ipynb"


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    path = Path(rv.__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", str(path))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=250, resources={"metadata": {"path": str(tmp_path)}}).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    from_notebook, from_shell = Folder(tmp_path / "runs" / "tones"), Folder(tmp_path / "runs" / "shell")
    assert all(folder.read_result()["accuracy"] > 0.9 for folder in (from_notebook, from_shell))
    assert "test accuracy" in code[1].outputs[0].data["text/html"]
    assert "test accuracy" in "".join(output.text for output in code[4].outputs)
    assert not [o for cell in code for o in cell.outputs if o.output_type == "error" or o.get("name") == "stderr"]
    from_a_notebook, recipe, command = (
        len([line for line in code[k].source.splitlines() if line.strip() and "%%" not in line]) for k in (1, 3, 4)
    )
    assert from_a_notebook < 10 and recipe + command <= 10


def test_it_is_kept_with_its_outputs():
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), (
        "python docs/notebooks.py notebook"
    )
    assert not [o for cell in cells for o in cell.outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert not [o for cell in cells for o in cell.outputs if "\x1b" in o.get("text", "")]  # as a page shows it
