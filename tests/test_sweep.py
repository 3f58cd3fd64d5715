"""Many runs: searched by Optuna, and set side by side."""

import pytest

from ranvier.beside import beside
from ranvier.sweep import Range
from ranvier.train.folder import Folder
from test_cli import main  # noqa: F401  # a fixture

SMALL = ("--set", "net.channels=2", "--set", "steps=2", "--set", "epochs=2", "--set", "batch=400")


@pytest.mark.parametrize("text", ["1..x", "3..1", "0..1:log", "1..2:lin", "1..inf"])
def test_what_is_no_range(text):
    with pytest.raises(ValueError, match="lr"):
        Range.read("lr", text)


def test_a_sweep_finds_goes_on_and_is_shown(main, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    line = ("sweep", "digits", "lr=1e-4..1e-1:log", "net.hidden=8,16", *SMALL, "--out", "found")
    status, _, error = main(*line, "--set", "whole=true")
    assert status == 2 and "leave out whole" in error and not (tmp_path / "found").exists()
    status, _, error = main("sweep", "digits", "whole=true,false", *SMALL, "--out", "found")
    assert status == 2 and "leave out whole" in error and not (tmp_path / "found").exists()
    status, output, error = main(*line, "--trials", "2")
    assert status == 0 and "trial 1: lr=" in output and "best validation accuracy" in output, error
    status, output, _ = main(*line, "--trials", "3")  # goes on with the third
    assert status == 0 and "trial 2:" in output and "trial 1:" not in output
    html = (tmp_path / "found" / "sweep.html").read_text()
    assert "All trials, the best first" in html and html.count("trained</td>") == 3 and 'aria-label="' in html
    runs = [str(tmp_path / "found" / name) for name in "01"]
    assert Folder(tmp_path / "found" / "0").finished
    status, output, _ = main("show", *runs, "--out", "both.html")
    assert status == 0 and "test accuracy" in output and "lr" in output
    found = beside(runs)
    assert [row[0] for row in found.settings] == ["lr"] or "net.hidden" in [row[0] for row in found.settings]
    assert "<script" not in found.page() and found.page().count("<svg") == 3 and "both.html" in output
    for wrong, said in (
        (("show", runs[0]), "name two or more"), (("show", "gone", runs[0]), "gone is no run"),
        (("sweep", "digits", "lr"), "NAME=VALUE"), (("sweep", "digits", "lr=2..1"), "low must be less than high"),
        (("sweep", "digits", "width=1,2"), "there is no field 'width'"),
        (("sweep", "digits", "epochs=0..5"), "epochs must be at least 1"),
    ):  # fmt: skip
        status, _, error = main(*wrong)
        assert status == 2 and said in error and "Traceback" not in error, error
    assert {p.name for p in tmp_path.iterdir()} == {"found", "both.html"}  # a mistake leaves nothing behind


def test_a_trial_that_falls_behind_is_given_up(tmp_path):
    from ranvier.sweep import Watch, optuna

    class Trial:
        def report(self, value, step):
            self.told = (value, step)

        def should_prune(self):
            return self.told[0] < 0.5

    class Trainer:
        current_epoch = 3
        callback_metrics = {"validation_accuracy": 0.25}  # noqa: RUF012

    with pytest.raises(optuna.TrialPruned):
        Watch(Trial(), "validation_accuracy").on_validation_end(Trainer(), None)
