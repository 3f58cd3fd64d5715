"""Runs the notebooks and stores their outputs: `make notebooks`, or this file with names, or numbers of the course."""

import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
NOTEBOOKS = sorted([*HERE.glob("learn/*.ipynb"), *HERE.glob("how-to/*.ipynb")])


def plain(text: str) -> str:
    """Return the final text of a terminal: without colours, and only the last version of lines that were rewritten."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    return "\n".join(line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n"))


def run(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=300, resources={"metadata": {"path": folder}}, record_timing=False).execute()
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        printed = [o for o in cell.get("outputs", ()) if o.output_type == "stream" and o.name == "stdout"]
        if printed:
            printed[0].text = plain("".join(o.text for o in printed))
            cell.outputs = [o for o in cell.outputs if not any(o is other for other in printed[1:])]
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for notebook in NOTEBOOKS:
        if not sys.argv[1:] or {notebook.stem, notebook.stem[0]} & {*sys.argv[1:]}:
            print(notebook.name)
            run(notebook)
