"""What does not fit a chip is found, at its layer, with what to do; each number has its source."""

import pytest
import torch
from torch import nn

import ranvier as rv
from ranvier.export import TARGETS, check

X = torch.rand(3, 2, 16)


def told(net, x, target):
    return [str(misfit) for misfit in check(net, x, target)]


def test_every_target_says_where_its_numbers_stand():
    assert all(target.source for target in TARGETS.values()) and "microcontroller" in TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_a_small_network_fits(target):
    picture = target == "speck"
    first = nn.Conv2d(1, 4, 3) if picture else nn.Linear(16, 8)
    net = rv.Sequential(
        first, rv.LIF(), *([nn.Flatten(), nn.LazyLinear(2)] if picture else [nn.Linear(8, 2)]), rv.LIF()
    )
    x = torch.rand(3, 2, 1, 8, 8) if picture else X
    assert told(net, x, target) == [] and net.training and not net[1]._forward_hooks


WRONG = {
    "xylo": (
        lambda: rv.Sequential(nn.Linear(16, 80), rv.Recurrent(rv.ALIF(), 80), nn.Linear(80, 9), rv.LIF(reset="zero")),
        X,
        ["9 outputs of 8", "1: ALIF is not a neuron of this chip", "2: 80 connections to a neuron of 63",
         "1.feedback: 80 connections", "3: its reset is 'zero', not 'subtract'"],
    ),
    "speck": (
        lambda: rv.Sequential(nn.Conv2d(1, 2000, 17, stride=3, padding=8), rv.ALIF()),
        torch.rand(2, 1, 1, 130, 20),
        ["130 pixels a side", "0: 2,000 features of 1,024", "0: 17 pixels of a kernel", "0: 8 pixels of padding",
         "0: stride (3, 3)", "1: ALIF is not a neuron of this chip"],
    ),
    "microcontroller": (
        lambda: rv.Sequential(nn.Linear(16, 70_000), rv.LIF()), X, ["1,120,000 bytes of weights of 524,288",
                                                                    "140,000 bytes of states of 131,072"],
    ),
    "loihi2": (
        lambda: rv.Sequential(nn.Linear(1, 1_000_001), rv.IF()), torch.rand(2, 1, 1),
        ["1,000,001 neurons of 1,000,000"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("target", WRONG)
def test_what_does_not_fit_is_found_at_its_layer(target):
    build, x, wanted = WRONG[target]
    found = told(build(), x, target)
    assert len(found) == len(wanted)
    assert all(any(what in line for line in found) for what in wanted), found


def test_weights_that_are_pruned_do_not_count_as_connections():
    net = rv.Sequential(nn.Linear(80, 4), rv.LIF())
    net[0].weight.data[:, 40:] = 0.0
    assert [line for line in told(net, torch.rand(2, 1, 80), "xylo") if "connections" in line] == []


def test_an_unknown_target_is_refused():
    with pytest.raises(ValueError, match="there is no target 'tpu'; there are microcontroller, loihi2"):
        check(rv.LIF(), X, "tpu")


def test_the_doctor_tells_it():
    pytest.importorskip("typer")
    pytest.importorskip("sklearn")
    from typer.testing import CliRunner

    from ranvier.cli import app

    done = CliRunner().invoke(app, "doctor digits --target xylo".split())
    assert done.exit_code == 0 and "64 inputs of 16" in done.output and "rockpool.ai" in done.output
