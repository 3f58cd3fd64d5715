"""When to go by events: measured once per machine, kept, the same for equal inputs, and never a matter of results."""

import json
import os
import subprocess
import sys
import time

import pytest
import torch

import ranvier as rv
from ranvier.spikes import crossover, measured, measures
from ranvier.spikes.crossover import FEW, MANY, Cost


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    monkeypatch.setattr(measured, "_found", {})
    monkeypatch.setattr(measured, "folder", lambda: tmp_path)
    crossover.cost.cache_clear()
    yield tmp_path
    crossover.cost.cache_clear()


def pinned(monkeypatch, share):
    monkeypatch.setattr(crossover, "crossover", lambda kind, columns, width: share)


def test_the_figures_give_back_what_they_were_made_of():
    cost, rows, columns, width = Cost(0.01, 30.0, 2.0), 64, 300, 256
    few, many = (rows * cost.events(columns, width, share) * 1e-9 for share in (FEW, MANY))
    found = crossover._figures((rows, columns, width), rows * cost.dense(columns, width) * 1e-9, few, many)
    assert Cost(**found).multiply == pytest.approx(0.01) and Cost(**found).event == pytest.approx(2.0)
    assert Cost(**found).row == pytest.approx(30.0)


def test_few_outputs_have_times_of_their_own(monkeypatch):
    monkeypatch.setattr(crossover, "cost", {"linear": Cost(0.01, 30.0, 2.0), "linear slim": Cost(0.01, 30.0, 8.0)}.get)
    at = {width: crossover.crossover("linear", 500, width) for width in (16, 32, 33)}
    assert at[16] == pytest.approx(0.0725) and at[32] == pytest.approx(0.1525) and at[33] == pytest.approx(0.45)
    told = crossover.estimate("linear", 10**6, 500, 3, 0.01)  # a dense product computes at least 16 outputs
    assert told == "about 18 ms by events, 80 ms dense"


@pytest.mark.parametrize("columns, width", [(1, 1), (300, 20), (300, 64), (784, 512), (4608, 512)])
def test_both_ways_cost_the_same_at_the_crossover(columns, width):
    cost = Cost(0.01, 30.0, 2.0)
    at = cost.crossover(columns, width)
    assert 0 <= at <= crossover.MOST
    if 0 < at < crossover.MOST:
        assert cost.events(columns, width, at) == pytest.approx(cost.dense(columns, width))


@pytest.mark.parametrize("kind", measures.MEASURES)
def test_it_is_measured_once_and_kept(kind, fresh, monkeypatch):
    found = crossover.cost(kind)
    (file,) = fresh.glob("cost-*.json")
    assert Cost(**json.loads(file.read_text())["found"]) == found
    monkeypatch.setattr(measured, "_found", {})
    monkeypatch.setattr(measured, "_apart", None)
    crossover.cost.cache_clear()
    assert crossover.cost(kind) == found


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"found": {"row": 1}}', '{"found": {"multiply": -1, "row": 1}}'])
def test_a_damaged_file_is_measured_again(text, fresh, monkeypatch):
    crossover.cost("linear")
    (file,) = fresh.glob(f"cost-linear-{crossover.EDITION}_*.json")
    file.write_text(text)
    monkeypatch.setattr(measured, "_found", {})
    crossover.cost.cache_clear()
    assert crossover.cost("linear").event > 0 and json.loads(file.read_text())["found"]["event"] > 0


@pytest.mark.parametrize("share", [0.0, 0.5], ids=["dense", "by events"])
@pytest.mark.parametrize("amount", [0.02, 0.1, 0.3])
def test_a_wrong_answer_costs_speed_only(share, amount, monkeypatch):
    pinned(monkeypatch, share)
    linear, pictures = rv.Linear(300, 65), rv.Conv2d(16, 40, 3, padding=1)
    for layer, shape in ((linear, (20, 16, 300)), (pictures, (20, 16, 16, 16))):
        x, exact = (torch.rand(shape) < amount).float(), type(layer).plain(*ARGUMENTS[type(layer)]).double()
        exact.load_state_dict(layer.state_dict())
        g = torch.randn_like(layer(x))
        one, two = x.clone().requires_grad_(), x.double().requires_grad_()
        ours = (layer(one), *torch.autograd.grad(layer(one), [one, *layer.parameters()], g))
        theirs = (exact(two), *torch.autograd.grad(exact(two), [two, *exact.parameters()], g.double()))
        for a, b in zip(ours, theirs, strict=True):
            assert (a - b).norm() <= 1e-5 * b.norm()


ARGUMENTS = {rv.Linear: (300, 65), rv.Conv2d: (16, 40, 3, 1, 1)}


def test_it_neither_draws_random_numbers_nor_obeys_the_caller_s_defaults(fresh):
    before = torch.get_rng_state()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            crossover.cost("convolution")
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(before, torch.get_rng_state())


def test_a_cache_that_cannot_be_written(fresh, monkeypatch):
    def refused(*_, **__):
        raise PermissionError("read-only")

    monkeypatch.setattr(measured.tempfile, "NamedTemporaryFile", refused)
    assert crossover.cost("linear").row > 0 and not list(fresh.iterdir())


@pytest.mark.slow
def test_processes_side_by_side(tmp_path):
    code = (
        "from ranvier.spikes import crossover, dense\nprint(dense.way('forward'), crossover.cost('linear').event > 0)"
    )
    environment = {**os.environ, "RANVIER_CACHE": str(tmp_path)}
    started = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(4)]
    assert [one.wait() for one in started] == [0] * 4
    kept = {p.name.partition("_")[0] for p in tmp_path.glob("*.json")}  # products for the threads asked, and for one
    assert kept == {"products", f"cost-linear-{crossover.EDITION}"} and not list(tmp_path.glob("*.tmp"))


def test_explain_says_both_times():
    told = str(rv.explain(rv.Linear(700, 256), (torch.rand(400, 700) < 0.02).float()))
    assert "by events, 2.0% of the inputs are not zero (about" in told and "ms dense)" in told


@pytest.mark.slow
def test_it_takes_less_than_a_fifth_of_a_second(fresh):
    for kind in measures.MEASURES:  # kernels are loaded by whoever uses them, too
        for way in measures.MEASURES[kind]()[1]:
            way()
    start = time.perf_counter()
    for kind in measures.MEASURES:
        crossover.cost(kind)
    assert time.perf_counter() - start < 0.2 * 5, "five times that is noise of a busy machine, more is not"


def test_the_report_says_what_was_measured():
    told = rv.machine_report().splitlines()
    assert [line.split("  ")[0] for line in told[:2]] == ["processor", "torch"]
    assert all(any(line.startswith(kind) for line in told) for kind in ("forward product", *measures.MEASURES))
