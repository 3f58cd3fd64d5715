"""Names, arguments and defaults of the reference pages, and the names that programs import: none is missing."""

import importlib
import inspect
import json
from pathlib import Path

import pytest

TABLE = json.loads((Path(__file__).parents[1] / "golden" / "compat_reference.json").read_text())
ROWS = [pytest.param(m, n, row, id=f"{m}.{n}") for m, names in TABLE.items() for n, row in names.items()]
REQUIRED, ANY = ["required"], ["other"]  # no default; a default that is an object


def published(module: str, name: str):
    return getattr(importlib.import_module(f"ranvier.compat.{module}"), name)


@pytest.mark.parametrize("module, name, row", ROWS)
def test_published(module, name, row):
    found = published(module, name)
    if row is None:
        return
    here = inspect.signature(found).parameters
    variadic = {p.kind: k for k, p in here.items() if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    for argument, default in row:
        if argument not in here and variadic:
            continue
        assert argument in here, f"{argument} of {[a for a, _ in row]}"
        own = here[argument].default
        if default == REQUIRED:
            continue  # what must be given there may have a default here
        assert own is not inspect.Parameter.empty, f"{argument} has no default"
        if default != ANY and own is not None:
            assert (list(own) if isinstance(own, tuple) else own) == default, argument
    order = [k for k, p in here.items() if k in dict(row) and p.kind is p.POSITIONAL_OR_KEYWORD]
    assert order == [k for k, _ in row if k in order]
