import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

import ranvier
from ranvier import plot
from ranvier.train.energy import energy


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


def test_membranes_draw_threshold_and_spikes(ax):
    v, z = torch.rand(20, 3), torch.zeros(20, 3)
    z[4, 0] = z[9, 2] = 1.0
    plot.membranes(v, z, ax, threshold=1.0)
    assert len(ax.lines) == 6 and sum(len(c.get_segments()) for c in ax.collections) == 2
    assert plot.alt_text(ax) == "Membranes of 3 neurons over 20 steps, 2 spikes."


def test_comparison_marks_what_only_one_has(ax):
    a = torch.eye(4)
    b = a.clone()
    b[0, 0], b[1, 0] = 0.0, 1.0
    plot.comparison(a, b, ax)
    assert ax.collections[-1].get_offsets().tolist() == [[0.0, 0.0], [1.0, 0.0]]


def test_weights_and_fields_keep_zero_in_the_middle(ax):
    plot.weights(torch.tensor([[-1.0, 0.5], [0.0, 0.25]]), ax)
    assert ax.images[0].get_clim() == (-1.0, 1.0)
    other = Figure().subplots()
    plot.fields(torch.rand(5, 12), other, shape=(3, 4), most=4)
    assert other.images[0].get_array().shape == (8, 15)  # two rows of fields, three in each, with a gap


def test_fi_curve_is_the_rate_of_the_neuron(ax):
    plot.fi_curve(ranvier.IF(), torch.tensor([0.0, 0.25, 0.5]), ax, steps=80)
    assert ax.lines[0].get_ydata().tolist() == pytest.approx([0.0, 0.25, 0.5])


def test_phase_plane_follows_the_neuron(ax):
    neuron = ranvier.ALIF()
    plot.phase_plane(neuron, 0.3, ax, steps=50)
    x = torch.full((50, 1, 1), 0.3)
    assert ax.lines[0].get_xdata().tolist() == pytest.approx(ranvier.record(neuron, x, "v")[""].flatten().tolist())
    assert len(ax.lines[1].get_xdata()) == int(neuron(x).sum())


def test_network_and_energy_have_a_box_and_two_bars_a_layer(ax):
    net = ranvier.Sequential(torch.nn.Linear(3, 4), ranvier.LIF(), torch.nn.Linear(4, 2), ranvier.LI())
    plot.network(net, ax, rates={"1": torch.tensor(0.25)})
    assert len(ax.patches) >= 4 and "0.250 spikes a step" in [t.get_text() for t in ax.texts]
    other = Figure().subplots()
    found = energy(net, torch.ones(5, 2, 3))
    plot.energy_bars(found, other)
    assert len(other.patches) == 2 * len(found.layers)


@pytest.mark.parametrize("shape", [(4, 7), (4, 3, 5), (4, 2, 3, 5)])
def test_animation_writes_every_step(tmp_path, shape):
    from PIL import Image

    with Image.open(plot.animation(torch.rand(shape), tmp_path / "film.gif")) as film:
        assert film.n_frames == 4


def test_pictures_without_axes_have_no_background_and_leave_the_style_alone():
    import matplotlib
    from matplotlib import pyplot

    before = dict(matplotlib.rcParams)
    for axes in (plot.raster(torch.eye(3)), plot.comparison(torch.eye(3), torch.eye(3), None, ("a", "b"))):
        assert axes.figure.get_facecolor()[3] == 0 and plot.alt_text(axes)
    assert dict(matplotlib.rcParams) == before
    pyplot.close("all")


def test_more_bad_arguments_are_refused(ax):
    wrong = [
        (lambda: plot.membranes(torch.rand(4, 2), torch.rand(4, 3), ax), "wanted v and spikes"),
        (lambda: plot.comparison(torch.eye(3), torch.eye(4), ax), "of one shape"),
        (lambda: plot.fields(torch.rand(3, 10), ax, shape=(3, 3)), "shape"),
        (lambda: plot.weights(torch.rand(3), ax), r"wanted \[out, in\]"),
        (lambda: plot.fi_curve(ranvier.LIF(), None, ax), "pass the currents"),
        (lambda: plot.phase_plane(ranvier.LIF(), 0.1, ax), "two states"),
        (lambda: plot.raster(torch.zeros(0, 3), ax), "wanted time and neurons"),
        (lambda: plot.membranes(torch.rand(4, 3), ax=ax, threshold=[1.0, 2.0]), "one per neuron"),
        (lambda: plot.curve({}, ax), "no line to draw"),
        (lambda: plot.histogram(torch.tensor([float("nan")]), ax), "spikes per step"),
        (lambda: plot.fields(torch.rand(0, 3, 3), ax), "wanted weights"),
        (lambda: plot.animation(torch.rand(0, 4), None), "nothing to show"),
        (lambda: plot.animation(torch.rand(3), None), "wanted values"),
        (lambda: plot.animation(torch.rand(3, 4), "film.mp4"), "must end with"),
    ]
    for call, said in wrong:
        with pytest.raises(ValueError, match=said):
            call()
    with pytest.raises(TypeError, match=r"train\.energy"):
        plot.energy_bars(3.0, ax)
    with pytest.raises(TypeError, match="wanted a neuron"):
        plot.fi_curve(torch.nn.ReLU(), torch.ones(3), ax)
