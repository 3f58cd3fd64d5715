"""Every link leads somewhere: files and headings of the repository exist, and every outside address is a known one.

Links between pages of the site are also checked by `make docs`. `make links` opens the outside addresses.
"""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

REPO = Path(__file__).parents[2]
MADE = {"_build", "reference", "at-a-glance.md"}  # what `make docs` writes
PAGES = [p for p in sorted((REPO / "docs").rglob("*")) if p.suffix in (".md", ".ipynb")]
PAGES = [p for p in PAGES if not MADE & set(p.relative_to(REPO / "docs").parts)]
PAGES += [*sorted(REPO.glob("*.md")), *sorted((REPO / "examples").rglob("*.md")), REPO / "benchmarks" / "RESULTS.md"]
KNOWN = {"https://download.pytorch.org/whl/cpu"}  # outside addresses; add one only after you have opened it


def links(text):
    """Targets of Markdown links and pictures, outside of code."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    return re.findall(r"\]\(([^)\s]+)\)", text)


def headings(text):
    """The anchors of a page, made as GitHub and the site make them."""
    for title in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(REPO)))
def test_links_inside_lead_to_a_file_and_a_heading(page):
    dead = []
    for link in links(page.read_text()):
        path, _, anchor = link.partition("#")
        if urlsplit(link).scheme:
            continue
        target = (page.parent / path).resolve() if path else page
        if MADE & set(target.parts):
            continue  # `make docs` checks these
        if not target.exists() or (anchor and anchor not in headings(target.read_text())):
            dead.append(link)
    assert not dead


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(REPO)))
def test_outside_addresses_are_known(page):
    found = re.findall(r"https?://[^\s)>\"'`\\]+", page.read_text())
    assert all(urlsplit(address).hostname for address in found)
    assert not set(found) - KNOWN
