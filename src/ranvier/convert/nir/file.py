"""NIR files: written and read by the package `nir`, and checked before it reads them."""

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

from ranvier.extras import needed

LARGEST = 2**30  # bytes of all numbers in a file
PATIENCE = 30.0  # seconds until the check of a file is given up


def save(path: str | Path, graph: Any) -> None:
    """Write a `nir.NIRGraph` as a file that every library with NIR reads (HDF5)."""
    _package().write(str(path), graph)


def load(path: str | Path, *, largest: int = LARGEST, patience: float = PATIENCE) -> Any:
    """Read a file as a `nir.NIRGraph`.

    largest: most bytes that its numbers may take in memory. patience: most seconds for the check of the file. Raises
    ValueError if the file is broken, not NIR, or too large; FileNotFoundError if it does not exist. No code in a file
    is run. The file is first checked in a separate process, because a damaged file can hang or crash the HDF5 library.
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
    except Exception as problem:  # any error of the package about the content
        raise ValueError(f"{path} is no NIR file: {type(problem).__name__}: {problem}") from problem
    if not hasattr(graph, "nodes"):
        raise ValueError(f"{path} holds a {type(graph).__name__}, wanted a graph of nodes")
    return graph


def _package() -> Any:
    with needed("reading and writing NIR"):
        import nir
    return nir


def _survey(path: Path, largest: int, patience: float) -> str:
    """Return what is wrong with a file; "" if nothing is."""
    command = [sys.executable, "-P", str(Path(__file__).with_name("survey.py")), str(path.resolve()), str(largest)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience, errors="replace")
    except subprocess.TimeoutExpired:
        return f"it could not be read to its end in {patience:g} s; it is damaged, or pass patience="
    if done.returncode:
        told = done.stderr.strip().splitlines()
        return f"reading it ended with code {done.returncode}" + (f": {told[-1]}" if told else "")
    return done.stdout.strip()
