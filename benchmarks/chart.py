"""What table.json holds, at one look: Markdown tables of times and of memory, and bars, a row a case."""

import json
from pathlib import Path
from typing import Any

from turns import KEPT, figures

SHOWN = ("ranvier", "spikingjelly", "snntorch", "norse", "sinabs", "rockpool", "spyx", "jaxpike", "loop")
NAMES = {"loop": "plain loop"}


def main(quick: bool = False) -> None:
    kept = json.loads(KEPT.read_text())
    for threads in ("1", "2"):
        print(f"\n{threads} thread{'s' * (threads != '1')}, milliseconds forward and backward:\n")
        print(times(kept, threads))
    print(f"\nPeak MiB, 1 thread:\n\n{memory(kept)}")
    draw(kept, KEPT.with_suffix(".svg"))


def rows(kept: dict[str, Any], threads: str) -> dict[str, dict[str, dict[str, Any]]]:
    """{case: {library: what it says of itself and its figures}} of the libraries that were timed."""
    cases = {case: by[threads]["libraries"] for case, by in kept.items() if threads in by}
    return {
        case: {name: row | figures(row) for name, row in libraries.items() if "turns" in row}
        for case, libraries in cases.items()
    }


def times(kept: dict[str, Any], threads: str) -> str:
    """A row a case; `lead` is the fastest peer's time over ours, `of the limit` ours over the limit's."""
    lines = [f"| case | {' | '.join(NAMES.get(n, n) for n in SHOWN)} | limit | lead | of the limit |"]
    lines += ["|---" * (len(SHOWN) + 4) + "|"]
    for case, found in rows(kept, threads).items():
        spent = {name: 1e3 * row["seconds"] for name, row in found.items()}
        cells = [f"{spent[name]:.3g}" if name in spent else "-" for name in (*SHOWN, "limit")]
        rival = min(spent[name] for name in peers(spent))
        lead, share = (f"{a / b:.2f}" for a, b in ((rival, spent["ranvier"]), (spent["ranvier"], spent["limit"])))
        lines.append(f"| {case} | {' | '.join(cells)} | {lead} | {share} |")
    return "\n".join(lines)


def memory(kept: dict[str, Any]) -> str:
    """A row a case; `share` is ours of the least peer's."""
    lines = [f"| case | {' | '.join(NAMES.get(n, n) for n in SHOWN)} | share |", "|---" * (len(SHOWN) + 2) + "|"]
    for case, found in rows(kept, "1").items():
        peak = {name: row["peak"] for name, row in found.items()}
        cells = [f"{peak[name]:.0f}" if name in peak else "-" for name in SHOWN]
        lines.append(f"| {case} | {' | '.join(cells)} | {peak['ranvier'] / min(peak[n] for n in peers(peak)):.2f} |")
    return "\n".join(lines)


def peers(found: dict[str, Any]) -> list[str]:
    return [name for name in SHOWN if name in found and name not in ("ranvier", "loop")]


def draw(kept: dict[str, Any], path: Path) -> None:
    """Times and peak memory on one thread as bars; the dashed line is the limit, see limit.py."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.fonttype"] = "none"  # letters as letters: a tenth of the file
    from matplotlib import pyplot

    cases = rows(kept, "1")
    figure, axes = pyplot.subplots(len(cases), 2, figsize=(9, 2.1 * len(cases)), squeeze=False, layout="constrained")
    for (left, right), (case, found) in zip(axes, cases.items(), strict=True):
        libraries = [name for name in SHOWN if name in found]
        colours = ["tab:blue" if name == "ranvier" else "lightsteelblue" for name in libraries]
        for axis, title, values in (
            (left, f"{case}: ms", [1e3 * found[name]["seconds"] for name in libraries]),
            (right, "peak MiB", [found[name]["peak"] for name in libraries]),
        ):
            bars = axis.barh([NAMES.get(name, name) for name in libraries], values, color=colours)
            axis.bar_label(bars, fmt="%.3g", padding=2, fontsize=7)
            axis.set_title(title, fontsize=9)
            axis.invert_yaxis()
            axis.margins(x=0.15)
            axis.tick_params(labelsize=7)
            axis.spines[["top", "right"]].set_visible(False)
        if "limit" in found:
            left.axvline(1e3 * found["limit"]["seconds"], color="black", linestyle="--", linewidth=0.8)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
