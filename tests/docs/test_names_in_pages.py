"""Every `rv.name` that a page tells of is there."""

import re
from functools import reduce
from pathlib import Path

import pytest

import ranvier

REPO = Path(__file__).parents[2]
MADE = {"_build", "reference"}
PAGES = [p for p in (REPO / "docs").rglob("*") if p.suffix in (".md", ".ipynb")]
PAGES = [REPO / "README.md", *(p for p in sorted(PAGES) if not MADE & set(p.relative_to(REPO).parts))]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(REPO)))
def test_names_exist(page):
    missing = []
    for name in set(re.findall(r"`rv\.([A-Za-z_][\w.]*\w)", page.read_text())):
        try:
            reduce(getattr, name.split("."), ranvier)
        except AttributeError:
            missing.append(name)
    assert not missing
