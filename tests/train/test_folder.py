import pytest
from torch import nn

from ranvier.train.folder import Folder, write


def test_a_folder_in_use_is_not_taken(tmp_path):
    Folder.create(tmp_path / "empty")
    Folder.create(tmp_path / "empty").write_config({"recipe": "x"})
    with pytest.raises(FileExistsError, match="--resume"):
        Folder.create(tmp_path / "empty")
    assert Folder.free(tmp_path / "empty") == tmp_path / "empty-2"
    (tmp_path / "empty-2").write_text("a file")
    assert Folder.free(tmp_path / "empty") == tmp_path / "empty-3"
    assert Folder.free(tmp_path / "new") == tmp_path / "new"


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no run"):
        Folder.open(tmp_path)


def test_writing_replaces_whole_files(tmp_path):
    path = tmp_path / "file"
    write(path, "one")
    write(path, b"two")
    assert path.read_bytes() == b"two" and [p.name for p in tmp_path.iterdir()] == ["file"]


def test_weights_there_and_back(tmp_path):
    folder, net, other = Folder(tmp_path), nn.Linear(3, 2), nn.Linear(3, 2)
    with pytest.raises(FileNotFoundError, match="--resume"):
        folder.read_weights(other)
    folder.write_weights(net)
    folder.read_weights(other)
    assert (net.weight == other.weight).all()
    with pytest.raises(ValueError, match="does not fit"):
        folder.read_weights(nn.Linear(4, 2))


def test_metrics_and_result_there_and_back(tmp_path):
    folder = Folder(tmp_path)
    rows = [{"epoch": 1.0, "loss": 0.25}, {"epoch": 2.0, "loss": 0.125}]
    folder.write_metrics(rows)
    assert folder.read_metrics() == rows and not folder.finished
    result = {"accuracy": 0.5, "correct": 4, "samples": 8, "training_seconds": 1.5}
    folder.write_result(result)
    assert folder.read_result() == result and folder.finished


def test_broken_config_is_told(tmp_path):
    Folder(tmp_path).config.write_text("recipe = ")
    with pytest.raises(ValueError, match="not valid TOML"):
        Folder.open(tmp_path).read_config()
