"""Show results in a notebook, as HTML tables in the notebook's own colours."""

from collections.abc import Iterable, Sequence
from html import escape


def table(head: Sequence[str], rows: Iterable[Sequence[object]], after: str = "") -> str:
    """Return a header and rows as an HTML table, with the sentence `after` below it. All text is escaped.

    >>> table(["why"], [["a < b"]])
    '<table><thead><tr><th>why</th></tr></thead><tbody><tr><td>a &lt; b</td></tr></tbody></table>'
    """
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    end = f"<p>{escape(after)}</p>" if after else ""
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>{end}"
