"""Every example of the documentation runs: docstrings, README and the pages of docs/."""

import doctest
import importlib
import inspect
import pkgutil
import runpy
from pathlib import Path

import pytest

import ranvier

REPO = Path(__file__).parents[1]
MODULES = [
    m.name for m in pkgutil.walk_packages(ranvier.__path__, "ranvier.") if not m.name.endswith(("_kernels", "__main__"))
]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    failed = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert failed.failed == 0


def public():
    return [(n, v) for n in ranvier.__all__ if not inspect.ismodule(v := getattr(ranvier, n))]


@pytest.mark.parametrize("name, value", public(), ids=[n for n, _ in public()])
def test_every_public_name_says_what_it_is(name, value):
    assert (inspect.getdoc(value) or "").strip(), f"ranvier.{name} has no docstring"


@pytest.fixture
def closed():
    """No figure stays open."""
    from matplotlib import pyplot

    pyplot.close("all")
    yield
    pyplot.close("all")


MADE = {"reference", "_build", "at-a-glance.md"}  # what `make docs` writes
PAGES = [p for p in sorted((REPO / "docs").rglob("*.md")) if not MADE & set(p.relative_to(REPO / "docs").parts)]


@pytest.mark.parametrize("page", [REPO / "README.md", *PAGES], ids=lambda p: str(p.relative_to(REPO)))
def test_pages(page, tmp_path, monkeypatch, closed):
    """The python blocks of a page run in order, as one script."""
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(REPO / "docs" / "run.py"))["run"](page)
