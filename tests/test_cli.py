"""The command line for real: in processes of its own, with signals."""

import re
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from ranvier import cli
from ranvier.recipes import RECIPES, named, override, to_config
from ranvier.train.folder import Folder
from ranvier.train.running import read_config
from ranvier.train.scale import Scale

SMALL = ["--set", "net.channels=2", "--set", "net.hidden=16", "--set", "steps=3", "--batch", "256"]


def ranvier(*arguments, cwd):
    command = [sys.executable, "-m", "ranvier", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True)


@pytest.fixture
def main(monkeypatch, capsys):
    """Runs the command line in this process; returns its exit status and what it wrote."""
    for name, value in cli.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ranvier", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return stop.value.code, " ".join(captured.out.split()), " ".join(captured.err.split())

    return run


def test_train_then_eval_then_resume(main, tmp_path, monkeypatch):
    done = ranvier("train", "digits", "--epochs", 2, *SMALL, cwd=tmp_path)
    folder = Folder.open(tmp_path / "runs" / "digits")
    files = {"config.toml", "weights.safetensors", "checkpoint.ckpt", "metrics.csv", "result.json", "report.html"}
    assert {path.name for path in folder.path.iterdir()} == files
    assert done.stderr == ""  # no warnings
    *_, score, report = done.stdout.splitlines()
    assert re.fullmatch(r"test accuracy [\d.]+% \(\d+ of 359\), trained in [\d.]+ s", score)
    assert report == "report: runs/digits/report.html"
    result = folder.read_result()
    assert result["epochs"] == 2 and len(folder.read_metrics()) == 2
    assert set(result["firing_rate"]) == {"LIF 1", "LIF 3", "LIF 6"}

    monkeypatch.chdir(tmp_path)
    status, output, error = main("eval", "runs/digits")
    assert (status, error) == (0, "") and output.endswith(f"({result['correct']} of 359)")
    status, output, _ = main("train", "--resume", "runs/digits")  # finished: nothing to do
    assert (status, output) == (0, f"{score} {report}")


def test_runs_that_learn_without_backward_are_tested_again_and_resumed(main, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, error = main("train", "digits-stdp", "--epochs", "1", "--set", "net.hidden=20", *SMALL[4:6])
    folder = Folder.open(tmp_path / "runs" / "digits-stdp")
    result = folder.read_result()
    assert (status, error) == (0, "") and "What the neurons have learned to see" in folder.report.read_text()
    status, tested, _ = main("eval", "runs/digits-stdp")
    assert status == 0 and tested.endswith(f"({result['correct']} of 359)")
    folder.result.unlink()  # as if it had been stopped before its last line
    status, _, _ = main("train", "--resume", "runs/digits-stdp")
    assert status == 0 and folder.read_result()["correct"] == result["correct"]


def test_a_chip_is_compared_with_software_and_with_weights_that_were_only_moved(main, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ("--epochs", "1", "--set", "net.hidden=20", "--set", "net.copies=1", "--batch", "500")
    status, output, error = main("train", "yinyang-in-the-loop", *small)
    folder = Folder.open(tmp_path / "runs" / "yinyang-in-the-loop")
    beside = folder.read_result()["beside"]
    assert (status, error) == (0, "") and list(beside) == [
        "trained and tested in software",
        "those weights on the chip",
    ]
    assert all(f"{what} {share:.2%}" in output for what, share in beside.items())
    assert "those weights on the chip" in folder.report.read_text()
    alone = Folder.open(folder.path / "software")  # a run of its own
    assert alone.read_config()["chip"]["loop"] is False
    status, tested, _ = main("eval", str(alone.path))
    assert status == 0 and f"{beside['trained and tested in software']:.2%}" in tested
    status, tested, _ = main("eval", str(folder.path))
    assert status == 0 and f"({folder.read_result()['correct']} of 1000)" in tested


def test_resuming_needs_no_more_than_the_folder(main, tmp_path):
    plan = override(named(RECIPES, "digits"), {"epochs": 3})
    folder = Folder.create(tmp_path / "run")
    scale = Scale(accelerator="cpu", precision="bf16-mixed")
    folder.write_config({**to_config(plan), "trainer": scale.settings(), "data_folder": str(tmp_path)})
    assert read_config(folder) == (plan, scale, tmp_path)
    folder.config.write_text(folder.config.read_text().replace("epochs = 3", "epochs = 3\nepoch = 4"))
    status, _, error = main("train", "--resume", str(folder.path))
    assert status == 2 and "config.toml: there is no field 'epoch'; did you mean 'epochs'?" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digit"], "error: there is no recipe 'digit'; did you mean 'digits'? There are: digits, digits-stdp, "),
        ([], "error: name a recipe to train (digits, "),
        (["digits", "--set", "net.hiden=3"], "error: there is no field 'net.hiden'; did you mean 'net.hidden'?"),
        (["digits", "--set", "net.hidden=many"], "error: net.hidden wants a whole number, got 'many'"),
        (["digits", "--set", "net.hidden"], "error: --set takes NAME=VALUE"),
        (["digits", "--epochs", "0"], "error: epochs must be at least 1"),
        (["digits", "--epochs", "x"], "error: --epochs wants a whole number, got 'x'"),
        (["digits", "--set", "net.beta=1.5"], "beta"),
        (
            ["digits", "--set", "data=mnist", "--data", "/nowhere"],
            "error: mnist: the data folder /nowhere",
        ),
        (["digits", "--resume", "runs"], "error: --resume continues a run with its own settings"),
        (["--resume", "nowhere"], "error: nowhere is no run"),
    ],
)
def test_mistakes_are_told_in_a_sentence(main, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, _, error = main("train", *arguments)
    assert status == 2 and message in error and "Traceback" not in error
    assert not list(tmp_path.iterdir())  # a mistake leaves nothing behind


def test_a_loss_that_is_no_number_ends_with_exit_code_1(main, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, error = main("train", "digits", "--lr", "1e30", "--epochs", "3", *SMALL)
    assert (
        status == 1 and "error: the loss became nan in epoch 1, batch" in error and "lower the learning rate" in error
    )


def test_a_folder_in_use_is_not_overwritten(main, tmp_path):
    (tmp_path / "mine").write_text("precious")
    status, _, error = main("train", "digits", "--out", str(tmp_path))
    assert status == 2 and "exists already" in error


def test_eval_of_an_unfinished_run_says_how_to_finish_it(main, tmp_path):
    Folder(tmp_path).write_config({"recipe": "digits"})
    status, _, error = main("eval", str(tmp_path))
    assert status == 2 and "ranvier train --resume" in error


def test_recipes_are_listed_with_their_fields(main):
    status, output, _ = main("recipes")
    assert status == 0 and "digits" in output and "handwritten" in output and "yinyang" in output
    status, output, _ = main("recipes", "digits")
    assert status == 0 and "net.hidden 128" in output


def test_the_doctor_does_not_judge_what_learns_without_gradients(main):
    for recipe in ("digits-stdp", "delayed-xor"):
        status, _, error = main("doctor", recipe)
        assert status == 2 and "learns without them" in error


def test_explain_names_a_machine_for_every_layer(main):
    status, output, _ = main("explain", "digits", *SMALL[:6])
    assert status == 0 and output.count("LIF numba:") == 3


def test_help_names_the_commands(main):
    status, output, _ = main("--help")
    assert status == 0 and all(name in output for name in cli.COMMANDS)
    status, output, _ = main("train", "--help")
    assert status == 0 and "--resume" in output and "Examples" in output


LONG = ["train", "digits", "--epochs", "40", *SMALL]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The weights of a run that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    ranvier(*LONG, "--out", "run", cwd=folder)
    return (folder / "run" / "weights.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("blow", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_killed_run_resumes_to_the_same_weights(whole, tmp_path, blow, status):
    command = [sys.executable, "-m", "ranvier", *LONG, "--out", "run"]
    # what a shell runs in the background ignores SIGINT, and so would its children
    heeds = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=tmp_path, text=True, preexec_fn=heeds, **pipes)
    folder = Folder(tmp_path / "run")
    while not (folder.metrics.exists() and len(folder.read_metrics()) > 4):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(blow)
    _, error = process.communicate()
    assert process.returncode == status and not folder.finished
    assert error == ("" if blow is signal.SIGKILL else "stopped; go on with: ranvier train --resume run\n")
    ranvier("train", "--resume", "run", cwd=tmp_path)
    assert folder.weights.read_bytes() == whole and len(folder.read_metrics()) == 40


@pytest.mark.slow
def test_digits_are_learned(tmp_path):
    ranvier("train", "digits", cwd=tmp_path)
    assert Folder(tmp_path / "runs" / "digits").read_result()["accuracy"] >= 0.975


@pytest.mark.slow
def test_yinyang_is_learned(tmp_path):
    ranvier("train", "yinyang", "--epochs", "60", cwd=tmp_path)
    assert Folder(tmp_path / "runs" / "yinyang").read_result()["accuracy"] >= 0.97


def test_the_doctor_looks_at_recipes_and_tells_their_energy(main):
    status, output, _ = main("doctor", "digits", *SMALL[:6])
    assert status == 0 and "LIF 6" in output and "than the dense network" in output and "synaptic operations" in output
