"""`ranvier export` and `ranvier eval FILE.nir` from the shell."""

import pytest

pytest.importorskip("typer")
pytest.importorskip("sklearn")
from rich.console import Console
from typer.testing import CliRunner

import ranvier as rv
from ranvier.cli import app
from ranvier.recipes import RECIPES, named, override

SMALL = {"epochs": "1", "batch": "256", "steps": "3", "net.channels": "2", "net.hidden": "16"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    return folder, rv.train.run(override(named(RECIPES, "digits"), SMALL), folder, console=Console(quiet=True))


def asked(*words):
    done = CliRunner().invoke(app, [*map(str, words)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return " ".join(done.output.split())


quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@quiet
@pytest.mark.parametrize(
    "to, more, says",
    [
        ("c", ["--bits", 4], "largest output as in floating point"),
        ("onnx", ["--step"], "within"),
        ("pt2", [], "within 0 of the network's"),
    ],
)
def test_a_run_is_written_and_checked(trained, tmp_path, to, more, says):
    path = tmp_path / f"digits.{to}"
    output = asked("export", trained[0], "--to", to, "--out", path, *more)
    assert says in output and path.is_file() and output.endswith(f"written: {path}".replace("\n", ""))


def test_a_graph_is_written_and_tested(trained, tmp_path):
    folder, _ = trained
    path = tmp_path / "digits.nir"
    output = asked("export", folder, "--to", "nir", "--out", path, "--approximate")
    assert "equal" in output and "differ" not in output and "changed: 1: its reset" in output
    score = asked("eval", path, "--data", "digits", "--set", "steps=3")
    assert score.endswith(asked("eval", folder).split("test accuracy")[1])


def test_wrong_wishes_are_told(trained, tmp_path):
    with pytest.raises(ValueError, match="--to takes nir, onnx, pt2, c, got 'tflite'"):
        asked("export", trained[0], "--to", "tflite")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        asked("export", trained[0], "--to", "c", "--out", tmp_path / "nowhere" / "net.c")
    with pytest.raises(ValueError, match="pass approximate=True"):
        asked("export", trained[0], "--to", "nir", "--out", tmp_path / "x.nir")
    (tmp_path / "x.nir").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="name the data set to test it on"):
        asked("eval", tmp_path / "x.nir")
    with pytest.raises(ValueError, match="--set is for a NIR graph"):
        asked("eval", trained[0], "--set", "steps=3")
