"""Tables that scripts keep up to date in benchmarks/RESULTS.md, each between two marks of its name."""

from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"


def read(name: str, page: Path = RESULTS) -> str:
    """What stands between the marks of a name."""
    begin, end = _marks(name)
    return page.read_text().split(begin)[1].split(end)[0]


def write(name: str, text: str, page: Path = RESULTS) -> None:
    """Put text between the marks of a name; a page without them gets them at its end."""
    begin, end = _marks(name)
    whole = page.read_text() if page.exists() else ""
    if begin not in whole:
        whole = f"{whole.rstrip()}\n\n{begin}{end}\n".lstrip()
    before, rest = whole.split(begin)
    page.write_text(f"{before}{begin}{text.strip()}\n{end}{rest.split(end)[1]}")
