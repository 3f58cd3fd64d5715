"""Pages for those who come from other libraries: the names on our side of each table exist, and the pages are whole."""

import importlib
import re
from functools import reduce
from pathlib import Path

import pytest

import ranvier as rv

FOLDER = Path(__file__).parents[2] / "docs" / "coming-from"
PAGES = sorted(p for p in FOLDER.glob("*.md") if p.stem != "index")


def exists(name):
    first, *rest = name.split(".")
    if first not in ("rv", "ranvier", "torch"):
        return None
    try:
        reduce(getattr, rest, rv if first in ("rv", "ranvier") else importlib.import_module("torch"))
    except AttributeError:
        module = name.replace("rv.", "ranvier.", 1).rpartition(".")
        try:
            return hasattr(importlib.import_module(module[0]), module[2])
        except ModuleNotFoundError:
            return False
    return True


def rows(text):
    """The rows of the first table: what stands there, what stands here."""
    table = text.split("## Names")[1].split("\n## ")[0]
    cells = [line.strip("|").split(" | ") for line in table.splitlines() if line.startswith("|")]
    return [(" | ".join(c[:-1]), c[-1]) for c in cells[2:]]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_every_name_of_ours_exists(page):
    found = [n for _, ours in rows(page.read_text()) for n in re.findall(r"`((?:rv|torch)\.[\w.]+)", ours)]
    assert len(found) >= 5
    assert not [n for n in found if not exists(n)]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_three_programs_stand_side_by_side(page):
    text = page.read_text()
    ours = len(re.findall(r"\*\*Ranvier\*\*\n```python\n", text))  # these run in tests/test_docs.py
    assert text.count("{code-block} python") == ours == 3
    assert all(f"## {part}" in text for part in ("Names", "What differs, and why", "No counterpart"))


def test_nine_libraries_have_a_page():
    assert len(PAGES) == 9
    index = (FOLDER / "index.md").read_text()
    assert all(f"({p.name})" in index and f"\n{p.stem}\n" in index for p in PAGES)
