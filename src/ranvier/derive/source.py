"""Print a graph as lines of Python, and load printed text as a module.

Numba and Triton compile the same lines; each backend defines the functions they call (`spike`, `exp`, `const`, ...).
The text of a module is written to a file that is named after the hash of the text. The file is kept, so that the
compilers' caches on disk work and anyone can read the code that runs.
"""

import hashlib
import importlib.util
import logging
import math
import os
import re
import symtable
import sys
import tempfile
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType

from ranvier.derive.trace import Graph, Op, Operand
from ranvier.ops import EAGER

log = logging.getLogger("ranvier")

_INFIX = {"add": "+", "sub": "-", "mul": "*"} | {
    "gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "==", "ne": "!=", "and": "&", "or": "|",
}  # fmt: skip
_RENAMED = {"abs": "absolute", "round": "nearest", "not": "negate", "stop": "same"}


def operand(a: Operand) -> str:
    """Return an operand as text. A name stays unchanged; a number becomes const(...), which converts it to the
    precision of the kernel (a plain number would be float64).
    """
    return a if isinstance(a, str) else f"const({number(a)})"


def number(a: float) -> str:
    """Return a number as text that all compilers accept; infinity is written as 1e999, and NaN as infinity times 0."""
    return repr(a) if math.isfinite(a) else "1e999 * 0.0" if math.isnan(a) else "1e999" if a > 0 else "-1e999"


def expression(op: Op) -> str:
    args = [operand(a) for a in op.args]
    if op.name in _INFIX:
        return f"{args[0]} {_INFIX[op.name]} {args[1]}"
    if op.name == "neg":
        return f"-{args[0]}"
    return f"{_RENAMED.get(op.name, op.name)}({', '.join(args)})"


def lines(graph: Graph) -> list[str]:
    """Return the operations as lines of Python, one assignment each."""
    return [f"{op.out} = {expression(op)}" for op in graph.ops]


def undefined(text: str) -> list[str]:
    """Return the ops that the text of a backend does not define. The backend takes them from the math library of its
    platform.
    """
    # ast.parse is not used: in Python 3.11 it fails in concurrent threads, "AST constructor recursion depth mismatch"
    known = {name.get_name() for name in symtable.symtable(text, "ops", "exec").get_symbols() if name.is_assigned()}
    return [name for name in EAGER if _RENAMED.get(name, name) not in known]


@cache
def folder() -> Path:
    """Return the folder for printed code: $RANVIER_CACHE or the user's cache folder; a temporary folder if that one is
    read-only.
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    chosen = Path(os.environ.get("RANVIER_CACHE") or Path(home) / "ranvier")
    try:
        chosen.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=chosen):
            return chosen
    except OSError as problem:
        temporary = Path(tempfile.mkdtemp(prefix="ranvier-"))
        log.warning(
            "ranvier: %s cannot be written (%s); derived code is kept in %s until the end", chosen, problem, temporary
        )
        return temporary


def _write(path: Path, text: str) -> None:
    """Write the file unless it has this text; another process never reads an incomplete file."""
    with suppress(OSError, UnicodeDecodeError):
        if path.read_text() == text:
            return
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as file:
        try:
            file.write(text)
            file.flush()
            os.replace(file.name, path)
        except OSError:
            os.unlink(file.name)
            raise


_loading = threading.Lock()


def load(name: str, text: str) -> ModuleType:
    """Write this text to a file if it is not there yet, and load the file as a module."""
    with _loading:  # another thread must not see a module that is only half loaded
        return _load(name, text)


def _load(name: str, text: str) -> ModuleType:
    known = re.sub(r"\W", "_", name)  # the name of a class need not be that of a file
    unique = f"{known}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    if unique in sys.modules:
        return sys.modules[unique]
    path = folder() / f"{unique}.py"
    try:
        _write(path, text)
    except OSError as problem:  # a full disk
        path = Path(tempfile.mkdtemp(prefix="ranvier-")) / path.name
        log.warning("ranvier: %s cannot be written (%s); this code is kept in %s", folder(), problem, path.parent)
        _write(path, text)
    spec = importlib.util.spec_from_file_location(unique, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[unique]
        raise
    return module
