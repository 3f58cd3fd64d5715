"""Runs the notebooks and keeps their outputs: `make notebooks`, or this file with numbers (of the course) or names."""

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
NOTEBOOKS = sorted([*HERE.glob("learn/*.ipynb"), *HERE.glob("how-to/*.ipynb")])


def run(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=300, resources={"metadata": {"path": folder}}, record_timing=False).execute()
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for notebook in NOTEBOOKS:
        if not sys.argv[1:] or {notebook.stem, notebook.stem[0]} & {*sys.argv[1:]}:
            print(notebook.name)
            run(notebook)
