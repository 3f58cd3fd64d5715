"""What a network keeps for backward, told layer by layer."""

import torch
from torch import nn

import ranvier as rv


def test_each_tensor_is_counted_once_and_parameters_not_at_all():
    net = rv.Sequential(rv.Recurrent(rv.LIF(), 4), nn.ReLU(), nn.Linear(4, 8), rv.LIF(), nn.Dropout(), rv.LI())
    kept = rv.saved_memory(net, torch.rand(10, 3, 4))
    sizes = {path: size for path, _, size, _ in kept.rows}
    assert sizes["1"] == 4 * 10 * 3 * 4  # what it gave
    assert sizes["2-3"] == 4 * (10 * 3 * 8)  # the input of the neurons
    assert "float32 [10, 3, 8]" in str(kept) and str(kept).splitlines()[-1].startswith("together")
    assert kept.total == sum(sizes.values())


def test_spikes_are_handed_on_as_bits():
    net = rv.Sequential(nn.Linear(40, 300), rv.LIF(), rv.Linear(300, 7), rv.LI())
    first, second = rv.saved_memory(net, torch.rand(50, 8, 40)).rows
    assert first[0] == "0-1" and first[3].startswith("float32 [50, 8, 300]")
    assert second[1] == "Linear, LI" and second[3].startswith("int64 [50, 8, 5], float32 [50, 8, 7]")


def test_spikes_are_kept_as_bits():
    layer = rv.Recurrent(rv.LIF(), 64)
    (row,) = rv.saved_memory(layer, torch.rand(20, 4, 64)).rows
    assert "int64 [80, 1]" in row[3] and row[3].count("float32 [20, 4, 64]") == 1


def test_a_stage_keeps_what_the_convolution_gave_and_its_output():
    stage = nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), rv.LIF(), nn.AvgPool2d(2)
    kept = rv.saved_memory(
        rv.Sequential(*stage, nn.Flatten(), nn.Linear(8 * 13 * 13, 10), rv.LI()), torch.rand(4, 2, 1, 28, 28)
    )
    row = next(r for r in kept.rows if r[0] == "0-3")
    assert row[1] == "Conv2d, BatchNorm2d, LIF, AvgPool2d"
    assert "float32 [8, 8, 26, 26]" in row[3] and row[2] < 4 * 8 * 8 * 26 * 26 * 1.5


def test_nothing_is_left_behind_when_the_network_fails():
    net = rv.Sequential(nn.Linear(4, 8), rv.LIF())
    try:
        rv.saved_memory(net, torch.rand(10, 3, 5))
    except RuntimeError:
        pass
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in net.modules())


def test_explain_tells_of_linear_layers_too():
    net = rv.Sequential(rv.Linear(300, 40), rv.LIF(), rv.Linear(40, 2))
    told = str(rv.explain(net, (torch.rand(20, 16, 300) < 0.05).float()))
    assert len(told.splitlines()) == 3 and "by events" in told.splitlines()[0] and "dense" in told.splitlines()[2]
