"""Networks that come trained: each loads, is small, and is as good as its card says where its data are at hand."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import ranvier
from ranvier import models
from ranvier.cli import app
from ranvier.train.running import go_on

NAMES = models.names()


def test_there_are_some():
    assert "digits" in NAMES and ranvier.models is models


@pytest.mark.parametrize("name", NAMES)
def test_each_loads_and_its_card_says_what_it_reads_and_how_good_it_is(name):
    net, card = models.load(name), models.card(name)
    files = {path.name: path for path in (models.HERE / name).iterdir()}
    result = json.loads(files["result.json"].read_text())
    assert not net.training
    assert sum(p.numel() for p in net.parameters()) == result["parameters"]
    assert files.keys() == {"README.md", "config.toml", "result.json", "weights.safetensors"}
    assert files["weights.safetensors"].stat().st_size <= 1 << 20
    assert "/" not in files["config.toml"].read_text()  # no path of the machine that trained it
    assert f"{result['correct']:,} of {result['samples']:,}" in card
    (given, wanted) = ([int(n) for n in re.findall(r"\d+", s)] for s in re.findall(r"`\[(.*?)\]`", card)[:2])
    if name != "yinyang":  # its input is pairs of times
        with torch.no_grad():
            y = net(torch.rand(given[0], 2, *given[1:]))
        assert [len(y), *y.shape[2:]] == wanted


def test_the_digits_are_read_as_well_as_the_card_says():
    answer = CliRunner().invoke(app, ["eval", "digits"])
    right = int(re.search(r"\((\d+) of 359\)", answer.output).group(1))
    assert abs(right - json.loads((models.HERE / "digits" / "result.json").read_text())["correct"]) <= 2


def test_an_unknown_name_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match=r"no trained network 'digit'; there are .*digits"):
        models.load("digit")


def test_a_run_of_that_name_has_priority(tmp_path, monkeypatch):
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert models.folder("digits") == (tmp_path / "digits").relative_to(tmp_path)
    assert models.folder("other") == Path("other")


def test_vgg_reads_every_position_of_images_of_one_side():
    net = models.vgg(widths=(4, 5, 6), halve=1, side=9)
    assert net(torch.rand(2, 3, 1, 9, 9)).shape == (2, 3, 10) and net[-2].in_features == 6 * 2 * 2
    with pytest.raises(ValueError, match="nothing of images with side=3"):
        models.vgg(widths=(4, 5, 6), halve=1, side=3)


def test_loading_draws_no_random_numbers():
    before = torch.get_rng_state()
    models.load("yinyang")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["digits", "yinyang"])
def test_the_program_of_a_card_runs(name):
    (program,) = re.findall(r"```python\n(.*?)```", models.card(name), re.DOTALL)
    known = {}
    exec(program, known)
    assert (known["answers"] == known["test"].labels[:100]).float().mean() > 0.9


def test_a_loaded_network_is_compiled_before_its_first_call():
    torch.testing.assert_close(
        torch.compile(models.load("digits"), backend="eager")(torch.ones(8, 2, 1, 8, 8)),
        models.load("digits")(torch.ones(8, 2, 1, 8, 8)),
    )


def test_a_shipped_run_cannot_be_continued_and_stays(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(models.HERE / "digits", run)
    for epochs in ({}, {"epochs": 30}):
        with pytest.raises(ValueError, match=r"has no checkpoint\.ckpt"):
            go_on(run, **epochs)
    assert (run / "weights.safetensors").read_bytes() == (models.HERE / "digits" / "weights.safetensors").read_bytes()


def test_commands_name_the_networks_that_there_are():
    answer = CliRunner().invoke(app, ["eval", "digit"])
    assert "there is no run digit" in str(answer.exception) and "yinyang" in str(answer.exception)
    answer = CliRunner().invoke(app, ["eval", "digits", "--data", "/no/such"])
    assert "/no/such is no folder" in str(answer.exception)
