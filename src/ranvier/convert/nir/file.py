"""Write and read NIR files with the package `nir`. A file is checked before it is read."""

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

from ranvier.extras import needed

LARGEST = 2**30  # most bytes of all numbers in a file
PATIENCE = 30.0  # most seconds for the check of a file


def save(path: str | Path, graph: Any) -> None:
    """Write a `nir.NIRGraph` to a file (HDF5), which every library that supports NIR can read."""
    _package().write(str(path), graph)


def load(path: str | Path, *, largest: int = LARGEST, patience: float = PATIENCE) -> Any:
    """Read a file as a `nir.NIRGraph`.

    largest: the most bytes that its numbers may need in memory. patience: the most seconds for the check of the file.
    Raises ValueError if the file is damaged, not NIR, or too large, and FileNotFoundError if it does not exist. No code
    in a file is run. The file is first checked in a separate process, because a damaged file can hang or crash the HDF5
    library.
    """
    nir = _package()
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no NIR file {path}")
    if problem := _survey(path, largest, patience):
        raise ValueError(f"{path} is no NIR file: {problem}")
    known = inspect.signature(nir.read).parameters
    options: dict[str, Any] = {"type_check": False} if "type_check" in known else {}
    try:  # from_nir checks shapes: it supports groups and kernels that are not square
        graph = nir.read(str(path), **options)
    except Exception as problem:  # the package may raise any error if the content is wrong
        raise ValueError(f"{path} is no NIR file: {type(problem).__name__}: {problem}") from problem
    if not hasattr(graph, "nodes"):
        raise ValueError(f"{path} contains a {type(graph).__name__}, wanted a graph of nodes")
    return graph


def _package() -> Any:
    with needed("reading and writing NIR"):
        import nir
    return nir


def _survey(path: Path, largest: int, patience: float) -> str:
    """Check a file. Return what is wrong with it, or "" if it is right."""
    command = [sys.executable, "-P", str(Path(__file__).with_name("survey.py")), str(path.resolve()), str(largest)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience, errors="replace")
    except subprocess.TimeoutExpired:
        return f"it could not be checked within {patience:g} s; it is damaged, or needs more time: pass patience="
    if done.returncode:
        told = done.stderr.strip().splitlines()
        return f"reading it ended with code {done.returncode}" + (f": {told[-1]}" if told else "")
    return done.stdout.strip()
