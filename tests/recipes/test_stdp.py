"""Recipes that learn without backward: stopped, resumed, tested again."""

import pytest
import torch

from ranvier.data import Split
from ranvier.recipes import DigitsSTDP, MnistSTDP, override
from ranvier.train.engine import new_net
from ranvier.train.folder import Folder
from ranvier.train.running import go_on, run

PLAN = override(DigitsSTDP(), {"epochs": 3, "steps": 20, "net.hidden": 12})


class Stop:
    """A console that is told to stop after some epochs."""

    def __init__(self, epochs: int):
        self.console, self.left = self, epochs

    def print(self, text: str) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def parts() -> tuple[Split, Split]:
    splits = PLAN.splits()
    return Split(*(p[:150] for p in splits.train)), Split(*(p[:60] for p in splits.validation))


def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path):
    train, validation = parts()
    runs = []
    for name, stops in (("whole", [9]), ("stopped", [1, 1, 9])):
        folder = Folder.create(tmp_path / name)
        for stop in stops:
            net = new_net(PLAN, train.x[:1])
            try:
                rows = PLAN.fit(net, train, validation, folder, [Stop(stop)])
            except KeyboardInterrupt:
                continue
        runs.append((folder.weights.read_bytes(), [{k: v for k, v in r.items() if k != "seconds"} for r in rows]))
    assert runs[0] == runs[1] and len(runs[0][1]) == 3


def test_a_pass_in_many_legs_is_the_same_pass(tmp_path):
    train, validation = parts()
    runs = []
    for legs in (1, 3):
        plan = override(PLAN, {"epochs": 2 * legs, "legs": legs, "batch": 16})
        net = new_net(plan, train.x[:1])
        rows = plan.fit(net, train, validation, Folder.create(tmp_path / str(legs)))
        runs.append((net[1].weight.clone(), net[1].theta.clone(), net[2].weight.clone(), rows[-1]["train_accuracy"]))
        assert len(rows) == 2 * legs
    assert all(torch.equal(a, b) for a, b in zip(runs[0][:3], runs[1][:3], strict=True)) and runs[0][3] == runs[1][3]


def test_labels_only_name_the_neurons(tmp_path):
    """Other labels, the same neurons: what is learned does not know them."""
    train, validation = parts()
    learned = []
    for labels in (train.labels, train.labels.flip(0)):
        net = new_net(PLAN, train.x[:1])
        PLAN.fit(net, Split(train.x, labels), validation, Folder.create(tmp_path / str(len(learned))))
        learned.append((net[1].weight.clone(), net[1].theta.clone(), net[2].weight.clone()))
    (w, theta, names), (w_other, theta_other, names_other) = learned
    assert torch.equal(w, w_other) and torch.equal(theta, theta_other) and not torch.equal(names, names_other)


def test_learns_on_the_cpu_and_says_so(tmp_path):
    train, validation = parts()
    with pytest.raises(ValueError, match="learns on the CPU"):
        PLAN.fit(new_net(PLAN, train.x[:1]), train, validation, Folder(tmp_path), accelerator="cuda")


def test_fields_are_pictures_of_the_weights():
    net = new_net(PLAN, torch.zeros(1, 1, 8, 8))
    assert PLAN.fields(net).shape == (12, 8, 8)
    wide = MnistSTDP()
    assert wide.fields(wide.build()).shape == (400, 28, 28)


def test_a_finished_run_is_lengthened_from_its_weights(tmp_path):
    short = {"steps": 4, "net.hidden": 5, "epochs": 1}
    run("digits-stdp", tmp_path / "run", **short)
    first = Folder(tmp_path / "run").read_metrics()
    go_on(tmp_path / "run", epochs=2)
    assert Folder(tmp_path / "run").read_result()["epochs"] == 2
    assert Folder(tmp_path / "run").read_metrics()[:1] == first  # the first epoch is not trained again
    (tmp_path / "run" / "metrics.csv").unlink()
    for longer in ({}, {"epochs": 3}):
        with pytest.raises(ValueError, match=r"is finished and has no metrics\.csv"):
            go_on(tmp_path / "run", **longer)
