"""Find an object by the name a user gives: `file.py:name`, or `package.module:name`."""

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any


def lookup(name: str, what: str) -> Any:
    """Return the object called `name`; `what` is the name of the argument in errors (MODEL, --data, ...).

    The file is run like a Python script, so only use files that you trust. Raises FileNotFoundError if there is no
    such file, ModuleNotFoundError if there is no such module, and ValueError if it does not define the name.

    >>> lookup("math:pi", "NUMBER")
    3.141592653589793
    """
    where, colon, attribute = name.rpartition(":")
    if not (colon and where and attribute):
        raise ValueError(f"{what} must be file.py:name or package.module:name, got {name!r}")
    module = _from_file(Path(where)) if where.endswith(".py") else _from_module(where, attribute)
    if not hasattr(module, attribute):
        there = ", ".join(k for k in vars(module) if not k.startswith("_"))
        raise ValueError(f"{where} has no {attribute!r}; it has {there}")
    return getattr(module, attribute)


def _from_module(where: str, attribute: str) -> Any:
    try:
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name != where.split(".")[0]:
            raise
        cure = f"for a file write {where}.py:{attribute}"
        raise ModuleNotFoundError(
            f"there is no module {where!r} in {where}:{attribute}; {cure}", name=error.name
        ) from None


def _from_file(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    path = path.resolve()
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    if known is not None or importlib.util.find_spec(path.stem) is not None:
        key = f"ranvier_file_{path.stem}"  # so a file called torch.py does not replace torch
    else:
        key = path.stem
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # the file may import other files from its folder
    spec = importlib.util.spec_from_file_location(key, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[key] = module  # pickle and dataclasses look up the classes of a module in sys.modules
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        del sys.modules[key]
        raise ValueError(f"{path} is not valid Python: {error.msg}, line {error.lineno}") from None
    except BaseException:
        del sys.modules[key]
        raise
    return module
