import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from ranvier import plot


@pytest.fixture
def ax():
    return Figure().subplots()


def test_raster_draws_every_spike(ax):
    z = torch.zeros(6, 2, 3)
    z[0, 0, 0] = z[5, 1, 2] = z[2, 0, 1] = 1.0
    assert plot.raster(z, ax) is ax
    drawn = [(row, float(x)) for row, line in enumerate(ax.collections) for x in line.get_positions()]
    assert drawn == [(0, 0.0), (1, 2.0), (5, 5.0)]


def test_raster_chooses_among_many_neurons(ax):
    plot.raster(torch.ones(4, 1000), ax, most=50)
    assert len(ax.collections) == 50


def test_curve_names_its_lines(ax):
    plot.curve({"train": [3.0, 2.0, 1.0], "validation": [3.0, 2.5, 2.4]}, ax, label="loss")
    assert [line.get_label() for line in ax.lines] == ["train", "validation"] and ax.get_ylabel() == "loss"
    assert ax.lines[0].get_xdata().tolist() == [1, 2, 3]


def test_histogram_shares_sum_to_one(ax):
    plot.histogram(torch.rand(300), ax)
    assert sum(bar.get_height() for bar in ax.patches) == pytest.approx(1.0)


def test_confusion_writes_every_count(ax):
    plot.confusion(np.array([[5, 1], [0, 7]]), ax, names=["no", "yes"])
    assert [text.get_text() for text in ax.texts] == ["5", "1", "7"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["no", "yes"]


def test_traces_highlight_one_line(ax):
    plot.traces(torch.rand(5, 3), ax, highlight=1)
    widths = [line.get_linewidth() for line in ax.lines]
    assert widths.index(max(widths)) == 1


def test_without_axes_a_figure_is_made():
    from matplotlib import pyplot

    assert plot.raster(torch.eye(3)).figure.number in pyplot.get_fignums()
    pyplot.close("all")


def test_bad_arrays_are_refused(ax):
    with pytest.raises(ValueError, match=r"spikes are \[5\]"):
        plot.raster(torch.ones(5), ax)
    with pytest.raises(ValueError, match=r"wanted \[T, N\]"):
        plot.traces(torch.ones(5, 2, 3), ax)
    with pytest.raises(ValueError, match="spikes per step"):
        plot.histogram(torch.tensor([0.5, 1.5]), ax)
    with pytest.raises(ValueError, match=r"wanted \[C, C\] counts"):
        plot.confusion(torch.ones(2, 3), ax)
