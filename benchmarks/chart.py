"""The table as bars: time (forward and backward) and peak memory of every library, one row a case."""

from pathlib import Path
from typing import Any

SHOWN = ("ranvier", "spikingjelly", "snntorch", "norse", "sinabs", "rockpool", "spyx", "loop")
NAMES = {"loop": "plain loop"}


def draw(kept: dict[str, dict[str, Any]], path: Path, threads: str = "1") -> None:
    """kept: what table.json holds. The dashed line is the limit, see limit.py."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.fonttype"] = "none"  # letters as letters: a tenth of the file
    from matplotlib import pyplot

    cases = {name: by[threads]["libraries"] for name, by in kept.items() if threads in by}
    figure, axes = pyplot.subplots(len(cases), 2, figsize=(9, 2.1 * len(cases)), squeeze=False, layout="constrained")
    for (time, memory), (case, found) in zip(axes, cases.items(), strict=True):
        rows = {NAMES.get(name, name): found[name] for name in SHOWN if "seconds" in found.get(name, {})}
        names = list(rows)
        colours = ["tab:blue" if name == "ranvier" else "lightsteelblue" for name in names]
        both = time.barh(names, [1e3 * row["seconds"] for row in rows.values()], color=colours)
        peak = memory.barh(names, [row["peak"] for row in rows.values()], color=colours)
        for axis, bars in ((time, both), (memory, peak)):
            axis.bar_label(bars, fmt="%.3g", padding=2, fontsize=7)
            axis.invert_yaxis()
            axis.margins(x=0.15)
            axis.tick_params(labelsize=7)
            axis.spines[["top", "right"]].set_visible(False)
        if "seconds" in found.get("limit", {}):
            time.axvline(1e3 * found["limit"]["seconds"], color="black", linestyle="--", linewidth=0.8)
        time.set_title(f"{case}: ms", fontsize=9)
        memory.set_title("peak MiB", fontsize=9)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
