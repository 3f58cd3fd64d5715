"""The report of a run: one self-contained page about the task, the results, and the activity inside the network."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ranvier import plot
from ranvier.extras import needed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ranvier.train.evaluate import Evaluation, Watched

# Colours in which matplotlib draws. The page replaces them by its own colours, light or dark.
INK, LINE, FIRST, SECOND, SOFT = "#010101", "#020202", "#030303", "#040404", "#999999"
THEME = {INK: "var(--ink)", LINE: "var(--line)", FIRST: "var(--first)", SECOND: "var(--second)", SOFT: "var(--soft)"}
MOST_WRONG = 24  # at most this many samples with wrong answers are shown
ROWS = 40  # at most this many neurons of a layer are drawn in a raster


@dataclass(frozen=True)
class Story:
    """The content of a report, as arrays and plain values.

    config: the recipe, as a nested dictionary. result: as in result.json.
    history: one row of values per epoch.
    evaluation: answers and firing rates on the test set. watched: the activity for one sample.
    wrong: (x `[*features]`, right class, answer) of samples with a wrong answer.
    fields: for a layer that learned without backward, the image that each neuron has learned, `[N, H, W]`; or None.
    """

    config: Mapping[str, Any]
    result: Mapping[str, Any]
    history: Sequence[Mapping[str, float]]
    evaluation: Evaluation
    watched: Watched
    wrong: Sequence[tuple[torch.Tensor, int, int]]
    fields: torch.Tensor | None = None


def page(story: Story) -> str:
    """Return the report as one page of HTML: pictures are inline, nothing is loaded from elsewhere."""
    with needed("the report"):
        import matplotlib  # noqa: F401

    return template("report.html.j2").render(
        story=story,
        neurons_drawn=ROWS,
        result=story.result,
        name=story.config.get("recipe", "").rpartition(":")[2] or "a net of your own",
        config=_rows(story.config),
        layers=_layers(story),
        picture=picture(story.watched.x),
        fields=picture(mosaic(story.fields)) if story.fields is not None else "",
        judged=story.evaluation.judged,
        answer=int(story.watched.traces.sum(0).argmax()) if story.evaluation.judged else None,
        spiking=bool(((story.watched.traces == 0) | (story.watched.traces == 1)).all()),
        wrong=[(picture(x), label, answer) for x, label, answer in story.wrong[:MOST_WRONG]],
        **{name: _svg(name, drawing, story) for name, drawing in FIGURES.items() if drawing.when(story)},
        beside=_svg("beside", BESIDE, story) if "beside" in story.result else "",
    )


def template(name: str) -> Any:
    """Load a template of a page; text that is inserted into it is escaped."""
    with needed("the report"):
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

    place = FileSystemLoader(Path(__file__).parent)
    return Environment(
        loader=place, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).get_template(name)


def picture(x: torch.Tensor) -> str:
    """Return an image `[1, H, W]` or `[H, W]` in [0, 1] as a data URI without background; "" if it is not an image."""
    if x.ndim not in (2, 3) or (x.ndim == 3 and len(x) != 1):
        return ""
    from matplotlib.image import imsave

    ink = x.reshape(x.shape[-2:]).clamp(0, 1)
    content = io.BytesIO()
    imsave(content, torch.stack([torch.zeros_like(ink)] * 3 + [ink], dim=-1).numpy(), format="png")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def mosaic(fields: torch.Tensor) -> torch.Tensor:
    """Join images `[N, H, W]` to one image, with gaps of one pixel; each image is scaled to its own maximum."""
    count, height, width = fields.shape
    across = math.ceil(math.sqrt(1.5 * count))
    down = -(-count // across)
    shown = fields.new_zeros(down * across, height + 1, width + 1)
    shown[:count, :-1, :-1] = fields / fields.amax((1, 2), keepdim=True).clamp(min=1e-12)
    return shown.unflatten(0, (down, across)).transpose(1, 2).flatten(2).flatten(0, 1)


def _learning(story: Story, figure: Figure) -> None:
    # learning without backward has no loss
    scales = {k: scale for k, scale in (("loss", 1.0), ("accuracy", 100.0)) if f"train_{k}" in story.history[0]}
    rows = list(figure.subplots(len(scales), 1, sharex=True, squeeze=False).flat)
    for axes, (what, scale) in zip(rows, scales.items(), strict=True):
        names = {"train": "train", "validation": f"validation{' (trained on)' if story.config.get('whole') else ''}"}
        lines = {name: [scale * row[f"{part}_{what}"] for row in story.history] for part, name in names.items()}
        plot.curve(lines, axes, label=f"{what}, %" if what == "accuracy" else what)
        if what == "accuracy":
            axes.set_ylim(top=min(axes.get_ylim()[1], 101.0))  # accuracy is at most 100 %
    for upper, lower in pairwise(rows):
        upper.set_xlabel("")
        lower.get_legend().remove()


def _activity_of(story: Story) -> dict[str, list[float]]:
    """Return {layer: its spikes per neuron and step, as a list with one value per epoch}."""
    layers = [name for name in story.history[0] if name.startswith("rate ")]
    return {name.removeprefix("rate "): [row[name] for row in story.history] for name in layers}


def _activity(story: Story, figure: Figure) -> None:
    rows = _activity_of(story)
    grid = figure.subplots(len(rows), 1, sharex=True, squeeze=False)
    for axes, (layer, rates) in zip(grid.flat, rows.items(), strict=True):
        plot.curve({layer: rates}, axes)
        axes.get_legend().remove()
        axes.set(title=f"{layer}: {rates[-1]:.2f} spikes per step at the end", xlabel="", ylim=(0, None))
    grid.flat[-1].set_xlabel("epoch")


def _path(story: Story, figure: Figure) -> None:
    rows = {layer: z.flatten(1) for layer, z in story.watched.spikes.items()}
    heights = [*(max(0.5, min(ROWS, z.shape[1]) / ROWS) for z in rows.values()), 1.1]
    *rasters, readout = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    for axes, (layer, z) in zip(rasters, rows.items(), strict=True):
        plot.raster(z, axes, most=ROWS)
        axes.set(xlabel="", ylabel="", yticks=[], title=f"{layer}: {int(z.sum()):,} spikes of {z.shape[1]:,} neurons")
    traces, label = story.watched.traces.flatten(1), story.watched.label
    plot.traces(traces, readout, highlight=label)
    readout.set(title="readout" if label is None else f"readout: class {label}, and the others", ylabel="")
    readout.set_xlim(-0.6, len(traces) - 0.4)
    readout.locator_params(axis="x", integer=True)


def _firing(story: Story, figure: Figure) -> None:
    rates = story.evaluation.rates
    grid = figure.subplots(max(1, len(rates)), 1, sharex=True, squeeze=False)
    for axes, (layer, rate) in zip(grid.flat, rates.items(), strict=False):
        plot.histogram(rate, axes)
        axes.set(title=f"{layer}: {rate.mean():.2f} spikes per step", xlabel="", ylabel="")
        axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    grid.flat[-1].set_xlabel("spikes per step")


def _confused(story: Story, figure: Figure) -> None:
    classes = story.watched.traces.shape[-1]
    pairs = story.evaluation.labels * classes + story.evaluation.predictions
    plot.confusion(pairs.bincount(minlength=classes**2).view(classes, classes), figure.subplots())


def _beside(story: Story, figure: Figure) -> None:
    rows = {"this run": story.result["accuracy"], **story.result["beside"]}
    axes = figure.subplots()
    bars = axes.barh([*rows], [100 * share for share in rows.values()], 0.6, color=[FIRST] + [SOFT] * (len(rows) - 1))
    axes.bar_label(bars, fmt="%.1f %%", padding=3)
    axes.invert_yaxis()
    axes.set(xlabel="right answers on the test set, %", xlim=(0, 110), xticks=range(0, 101, 20))


def _learning_in_words(story: Story) -> str:
    first, last = story.history[0], story.history[-1]
    told = [
        name for name in ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy") if name in first
    ]
    course = ", ".join(f"{name.replace('_', ' ')} from {first[name]:.3g} to {last[name]:.3g}" for name in told)
    seen = "; the validation data were trained on" if story.config.get("whole") else ""
    return f"Curves over {len(story.history)} epochs: {course}{seen}"


def _activity_in_words(story: Story) -> str:
    rows = ", ".join(f"{layer} from {r[0]:.3f} to {r[-1]:.3f}" for layer, r in _activity_of(story).items())
    return f"Firing rate of each layer over {len(story.history)} epochs, in spikes per step: {rows}"


def _path_in_words(story: Story) -> str:
    rows = ", ".join(f"{layer} {int(z.sum()):,} spikes" for layer, z in story.watched.spikes.items())
    return f"Spikes of one sample over {len(story.watched.traces)} time steps: {rows or 'none'}; below, the readout"


def _firing_in_words(story: Story) -> str:
    rows = ", ".join(f"{layer} {float(rate.mean()):.3f}" for layer, rate in story.evaluation.rates.items())
    return f"Histograms of how often neurons fire; the means, in spikes per step: {rows}"


def _confused_in_words(story: Story) -> str:
    e = story.evaluation
    return f"Right classes against answers: {e.correct} of {len(e.labels)} lie on the diagonal"


def _beside_in_words(story: Story) -> str:
    rows = {"this run": story.result["accuracy"], **story.result["beside"]}
    return "Share of right answers: " + ", ".join(f"{what} {share:.1%}" for what, share in rows.items())


class Drawing(NamedTuple):
    """A figure of the report. draw: the function that draws it; says: its description for screen readers; width,
    height: inches; per_layer: inches that each layer adds to the height; when: whether the figure is drawn.
    """

    draw: Callable[[Story, Figure], None]
    says: Callable[[Story], str]
    width: float
    height: float
    per_layer: float = 0.0
    when: Callable[[Story], bool] = lambda story: True


FIGURES = {
    "learning": Drawing(_learning, _learning_in_words, 4.2, 3.5),
    "activity": Drawing(
        _activity, _activity_in_words, 4.2, 0.6, per_layer=0.85, when=lambda story: bool(_activity_of(story))
    ),
    "path": Drawing(_path, _path_in_words, 4.2, 1.3, per_layer=1.15),
    "firing": Drawing(
        _firing, _firing_in_words, 4.2, 0.5, per_layer=1.0, when=lambda story: bool(story.evaluation.rates)
    ),
    "confused": Drawing(_confused, _confused_in_words, 3.6, 3.6, when=lambda story: story.evaluation.judged),
}
BESIDE = Drawing(_beside, _beside_in_words, 4.2, 1.7)  # drawn if there are results to compare with


def _svg(name: str, drawing: Drawing, story: Story) -> str:
    """Return one figure as an `<svg>` element that uses the colours and fonts of the page."""
    size = drawing.width, drawing.height + drawing.per_layer * len(story.evaluation.rates)
    return svg(name, lambda figure: drawing.draw(story, figure), drawing.says(story), size)


def svg(name: str, draw: Callable[[Figure], None], says: str, size: tuple[float, float]) -> str:
    """Call `draw` with a figure of `size` inches, and return the figure as an `<svg>` element in the page's colours.
    `says` is its description for screen readers.
    """
    from matplotlib.figure import Figure

    with _style(name):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    drawn = text.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    for color, variable in THEME.items():
        drawn = drawn.replace(color, variable)
    drawn = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", drawn)
    drawn = re.sub(r'(<svg[^>]*?) width="[^"]*"', r'\1 width="100%"', drawn)
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r"""font-family: [^;"]+|'DejaVu Sans', [^;"]+""", "inherit", drawn)
    drawn = drawn.replace("<svg", f'<svg role="img" aria-label="{escape(says)}"', 1)
    return re.sub(r'<g id="[^"]*">', "<g>", drawn)


@contextmanager
def _style(name: str) -> Iterator[None]:
    from cycler import cycler
    from matplotlib import style

    spines = {f"axes.spines.{side}": False for side in ("top", "right")}
    colors = {key: INK for key in ("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor")}
    colors |= {key: LINE for key in ("axes.edgecolor", "xtick.color", "ytick.color")}
    text = {"font.size": 8.5, "axes.titlesize": 8.5, "axes.titlelocation": "left", "axes.titlepad": 4}
    files = {"svg.fonttype": "none", "svg.hashsalt": name}
    palette = {"axes.prop_cycle": cycler(color=[FIRST, SECOND])}
    with style.context(["default", spines | colors | text | files | palette]):
        yield


def _layers(story: Story) -> list[tuple[str, int, float]]:
    return [(layer, len(rate), float(rate.mean())) for layer, rate in story.evaluation.rates.items()]


def _rows(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in tree.items():
        rows += _rows(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(prefix + key, value)]
    return rows


def write_report(folder: Any, plan: Any, net: Any, evaluation: Evaluation, result: Any, rows: Any) -> None:
    """Write report.html into a run's folder, from the trained network and its evaluation."""
    from ranvier.recipes import to_config
    from ranvier.train.folder import write

    shown = evaluation.shown
    assert shown is not None  # a test set has at least one sample
    write(
        folder.report, page(Story(to_config(plan), result, rows, evaluation, shown, evaluation.wrong, plan.fields(net)))
    )
