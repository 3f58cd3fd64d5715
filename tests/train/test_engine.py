"""The engine on a tiny net: batches, exact resuming, safe files."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from ranvier.data import Split
from ranvier.nn.neurons.leaky import LI, LIF
from ranvier.nn.sequential import Sequential
from ranvier.recipes import Recipe
from ranvier.train.batches import batches, mix
from ranvier.train.engine import fit, new_net
from ranvier.train.evaluate import evaluate, summary
from ranvier.train.folder import Folder
from ranvier.train.keep import SafeFiles


@dataclass(frozen=True)
class Tiny(Recipe):
    """Two classes in the plane, noise everywhere: rate coding, dropout, augmentation."""

    name = "tiny"
    data: str = "yinyang"
    encoding: str = "rate"
    steps: int = 4
    epochs: int = 4
    batch: int = 10

    def build(self) -> nn.Module:
        return Sequential(nn.LazyLinear(16), LIF(), nn.Dropout(0.2), nn.Linear(16, 2), LI())

    def augment(self, x, generator):
        return (x + 0.05 * torch.rand(x.shape, generator=generator)).clamp(0, 1)


@pytest.fixture(scope="module")
def split():
    torch.manual_seed(0)
    x = torch.rand(34, 4)
    return Split(x, (x[:, 0] > 0.5).long())


@pytest.fixture(scope="module")
def whole(split, tmp_path_factory):
    """A run that nothing stopped: net, rows, folder."""
    return train(Tiny(), split, tmp_path_factory.mktemp("runs") / "whole")


def train(recipe, split, path, callbacks=()):
    net = new_net(recipe, split.x[:1])
    folder = Folder(path) if path.exists() else Folder.create(path)
    return net, fit(recipe, net, split, split, folder, callbacks), folder


def test_batches_cover_everything_in_a_new_order_each_epoch(split):
    drawn = batches(split, 10, seed=5)
    assert len(drawn) == 4 and [len(labels) for _, labels in drawn] == [10, 10, 10, 4]
    first, again = torch.cat([x for x, _ in drawn]), torch.cat([x for x, _ in drawn])
    drawn.set_epoch(1)
    later = torch.cat([x for x, _ in drawn])
    assert torch.equal(first, again) and not torch.equal(first, later)
    assert torch.equal(first.sort(0).values, split.x.sort(0).values)
    assert torch.equal(torch.cat([x for x, _ in batches(split, 10)]), split.x)


def test_mix_tells_parts_apart():
    seeds = {mix(seed, epoch, batch) for seed in range(5) for epoch in range(5) for batch in range(5)}
    assert len(seeds) == 125 and all(0 <= seed < 2**63 for seed in seeds)


def test_same_seed_same_weights_whatever_the_caller_drew(split, whole, tmp_path):
    a, rows, folder = whole
    torch.manual_seed(2)
    b, _, _ = train(Tiny(), split, tmp_path / "b")
    c, _, _ = train(Tiny(seed=1), split, tmp_path / "c")
    assert same(a, b) and not same(a, c)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert folder.read_metrics() == [{key: pytest.approx(value) for key, value in row.items()} for row in rows]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


# in the third epoch of four batches: after so many updates in all
MOMENTS = {"on_train_epoch_start": 8, "on_train_batch_end": 10, "on_validation_end": 12, "on_train_epoch_end": 12}


@pytest.mark.parametrize("where", MOMENTS)
def test_a_stopped_run_resumes_to_the_same_weights(split, whole, tmp_path, where):
    from lightning.pytorch import Callback

    error = KeyboardInterrupt if where == "on_train_batch_end" else RuntimeError
    net, rows, first = whole
    stop = Callback()

    def hook(trainer, *_):
        if trainer.current_epoch == 2 and trainer.global_step >= MOMENTS[where]:
            raise error("stop")

    setattr(stop, where, hook)
    with pytest.raises(error):
        train(Tiny(), split, tmp_path / "stopped", [stop])
    resumed, all_rows, folder = train(Tiny(), split, tmp_path / "stopped")
    assert same(net, resumed) and folder.weights.read_bytes() == first.weights.read_bytes()
    drop = lambda rows: [{k: v for k, v in row.items() if k != "seconds"} for row in rows]  # noqa: E731
    assert drop(rows) == drop(all_rows)


def test_resuming_a_finished_run_changes_nothing(split, tmp_path):
    first, rows, folder = train(Tiny(epochs=2), split, tmp_path / "run")
    second, again, _ = train(Tiny(epochs=2), split, folder.path)
    assert same(first, second) and rows == again


def test_a_pickle_in_a_checkpoint_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "touched"), "w"))

    torch.save({"state_dict": Evil()}, tmp_path / "checkpoint.ckpt")
    with pytest.raises(ValueError, match="is damaged, or is no checkpoint"):
        SafeFiles().load_checkpoint(tmp_path / "checkpoint.ckpt")
    assert not (tmp_path / "touched").exists()


def test_evaluation_answers_and_counts_spikes(split):
    net = new_net(Tiny(), split.x[:1])
    answers = evaluate(Tiny(), net, split)
    assert answers.predictions.shape == answers.labels.shape == (34,)
    assert list(answers.rates) == ["LIF 1"] and answers.rates["LIF 1"].shape == (16,)
    assert 0 <= answers.rates["LIF 1"].min() and answers.rates["LIF 1"].max() <= 1
    assert answers.accuracy == answers.correct / 34
    seen = answers.shown
    assert seen.spikes["LIF 1"].shape == (4, 16) and seen.traces.shape == (4, 2)
    assert torch.equal(seen.x, split.x[int((answers.predictions == answers.labels).int().argmax())])
    assert len(answers.wrong) == 34 - answers.correct and answers.loss > 0
    result = summary(Tiny(), net, answers, [{"seconds": 1.5}])
    assert result["parameters"] == 4 * 16 + 16 + 16 * 2 + 2 and result["training_seconds"] == 1.5
    assert result["versions"]["torch"] and result["machine"]["threads"]
