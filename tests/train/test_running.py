"""A run from Python and from a file of one's own: any net, any data, any loss; and what is refused before it begins."""

import io
import sys

import pytest
import torch
from rich.console import Console
from torch import nn
from torch.utils.data import DataLoader, Dataset

import ranvier as rv
from ranvier.recipes.start import write_start
from ranvier.train.folder import Folder
from ranvier.train.health import Diverged
from ranvier.train.running import go_on

SILENT = Console(quiet=True)


class Recordings(Dataset):
    """Spike trains of different length in which one half of the channels fires more."""

    def __init__(self, count, longest=9):
        draw = torch.Generator().manual_seed(count)
        self.labels = torch.randint(2, (count,), generator=draw)
        self.x = [
            (torch.rand(6 + k % (longest - 5), 6, generator=draw) < (torch.arange(6) // 3 == label) * 0.5 + 0.1).float()
            for k, label in enumerate(self.labels)
        ]

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], self.labels[index]


def net(width=12):
    torch.manual_seed(0)
    return rv.Sequential(nn.Linear(6, width), rv.LIF(), nn.Linear(width, 2), rv.LI())


def run(net, folder, **settings):
    return rv.train.run(net, folder, **{"console": SILENT, "epochs": 3, "batch": 16, "lr": 2e-2, **settings})


def weights(result):
    return torch.cat([w.detach().flatten() for w in result.net.parameters()])


def test_a_dataset_of_recordings_of_different_length(tmp_path):
    result = run(net(), tmp_path / "run", data=(Recordings(80), Recordings(30)))
    assert result.accuracy > 0.8 and result.samples == 30 and len(result.history) == 3
    assert {p.name for p in result.folder.iterdir()} == {
        "config.toml", "weights.safetensors", "checkpoint.ckpt", "metrics.csv", "result.json", "report.html",
    }  # fmt: skip
    html, text = result._repr_html_(), repr(result)
    assert "test accuracy" in html and "validation_accuracy" in html and text.startswith("test accuracy")
    assert 0 < result.history[0]["rate LIF 1"] < 1  # the activity of each layer, epoch by epoch


def test_loaders_of_your_own_and_a_loss_without_classes(tmp_path):
    x = torch.rand(40, 5, 6)
    pairs = list(zip(x, x.mean((1, 2)), strict=True))
    collate = lambda batch: (torch.stack([x for x, _ in batch], 1), torch.stack([y for _, y in batch]))  # noqa: E731
    loader = DataLoader(pairs, 8, shuffle=True, collate_fn=collate)
    loss = lambda traces, wanted: nn.functional.mse_loss(traces[-1, :, 0], wanted)  # noqa: E731
    settings = {
        "data": (loader, loader), "loss": loss, "metric": None, "optimiser": lambda p: torch.optim.Adam(p, 0.02),
    }  # fmt: skip
    result = run(net(), tmp_path / "run", **settings)
    assert result.accuracy is None and result.loss < result.history[0]["train_loss"]
    assert repr(result).startswith("test loss") and "A loss of" in result.report.read_text()
    torch.manual_seed(7)  # a loader that shuffles draws from the run's seed, not from what went before
    again = run(net(), tmp_path / "again", **settings)
    assert torch.equal(weights(result), weights(again))


def test_a_net_without_a_neuron_is_a_net(tmp_path):
    plain = nn.Sequential(nn.Linear(6, 2))
    x, y = torch.rand(20, 4, 6), torch.randint(2, (20,))
    result = run(plain, tmp_path / "run", data=((x, y), (x, y)))
    assert result.history and "How much the neurons fire" not in result.report.read_text()


@pytest.mark.parametrize("as_tensors", [True, False])
def test_the_last_run_may_train_on_the_validation_part_too(tmp_path, as_tensors):
    def part(count):
        recordings = Recordings(count, longest=6)
        return (torch.stack(recordings.x), torch.stack(list(recordings.labels))) if as_tensors else recordings

    text = io.StringIO()
    parts = (part(40), part(24), part(20))
    result = run(net(), tmp_path / "run", data=parts, whole=True, console=Console(file=text))
    assert "4 batches an epoch" in text.getvalue() and "validation (trained on) " in text.getvalue()
    assert result.samples == 20 and Folder(tmp_path / "run").read_config()["whole"] is True
    assert "the validation data were trained on" in result.report.read_text()
    listed = [[(x, int(label)) for x, label in zip(*part, strict=True)] for part in parts] if as_tensors else parts
    assert len(run(net(), tmp_path / "lists", data=listed, whole=True).history) == 3  # a list of samples is a Dataset
    with pytest.raises(ValueError, match="it is the test part: give three parts"):
        run(net(), tmp_path / "two", data=parts[:2], whole=True)
    with pytest.raises(TypeError, match="joins two pairs of tensors or two Datasets, got tuple and DataLoader"):
        run(net(), tmp_path / "loader", data=((torch.rand(9, 4, 6), torch.ones(9)), DataLoader([]), 0), whole=True)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, kind = write_start("my_task")
    yield f"{path}:{kind}"
    sys.modules.pop("my_task", None)


def test_a_file_of_your_own_trains_and_goes_on(mine, tmp_path):
    with open("others.py", "w") as file:
        file.write("from my_task import samples\ndef splits():\n    return samples(60, 3), samples(20, 4)\n")
    result = rv.train.run(mine, "run", console=SILENT, data="others.py:splits", epochs=2, **{"net.hidden": 16})
    assert result.samples == 20 and result.net[0].out_features == 16
    again = go_on("run")  # finished: its weights and figures
    assert torch.equal(weights(again), weights(result)) and again.figures == result.figures
    longer = rv.train.run(mine, "run", resume=True, console=SILENT, epochs=4, **{"net.hidden": 16})
    assert len(longer.history) == 4 and longer.history[:2] == result.history
    assert Folder(tmp_path / "run").read_config()["epochs"] == 4
    with pytest.raises(ValueError, match="has 4 epochs already"):
        go_on("run", epochs=3)
    with pytest.raises(ValueError, match="leave out lr"):
        go_on("run", lr=0.5)
    with pytest.raises(FileExistsError, match="choose another name"):
        write_start("my_task")
    with pytest.raises(ValueError, match="letters, digits"):
        write_start("my-task")


def test_a_recipe_inside_a_run_is_not_run(mine, tmp_path):
    folder = Folder.create(tmp_path / "run")
    evil = folder.path / "evil.py"
    evil.write_text("raise SystemExit('ran')")
    folder.write_config({"recipe": f"{evil}:Recipe"})
    with pytest.raises(ValueError, match="lies inside the run's folder and is not run"):
        go_on(folder.path)


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    data = (Recordings(80), Recordings(30))
    with pytest.raises(Diverged, match=r"the loss became (nan|inf) in epoch 1, batch \d.*lower the learning rate"):
        run(net(), tmp_path / "run", data=data, loss=lambda t, y, n=None: t.square().sum() * 1e38)
    assert not Folder(tmp_path / "run").finished
    bad = (torch.full((30, 4, 6), float("nan")), torch.zeros(30, dtype=torch.int64))
    with pytest.raises(Diverged, match="the input of the network contains NaN or inf; look for it in the data"):
        run(nn.Sequential(nn.Linear(6, 2)), tmp_path / "data", data=(bad, bad))


def test_dead_and_saturated_layers_are_told_while_it_trains(tmp_path):
    text = io.StringIO()
    dead = rv.Sequential(nn.Linear(6, 12), rv.LIF(threshold=99.0), nn.Linear(12, 2), rv.LI())
    data = (Recordings(40), Recordings(20))
    result = run(dead, tmp_path / "run", data=data, console=Console(file=text, width=1000))
    assert text.getvalue().count("LIF 1 is dead after epoch 1: 100% of its neurons never fire") == 1
    assert result.figures["told"] == [line for line in text.getvalue().splitlines() if "is dead" in line]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"devices": 0}, "devices must be at least 1"),
        ({"accelerator": "cuda"}, "there is no accelerator 'cuda'"),
        ({"accelerator": "abacus"}, "there is no accelerator 'abacus'"),
        ({"precision": "12-ish"}, "precision must be one of 32-true, .* got '12-ish'"),
        ({"logger": "paper"}, "logger must be one of csv, tensorboard, wandb"),
        ({"clip": -1.0}, "clip must be a number >= 0"),
        ({"tbptt": 3, "devices": 2}, "tbptt runs in one process"),
        ({"devices": 2, "strategy": "magic"}, "must be ddp or fsdp"),
        ({"batch": 1000, "epochs": 1}, "a run of 1 update is too short"),
        ({"epoch": 3}, "there is no field 'epoch'; did you mean 'epochs'"),
        ({"loss": lambda t, y, n=None: t}, "a loss must be one number"),
        ({"data": (Recordings(20),)}, "must come in parts"),
        ({"data": (Recordings(20), 3)}, "a part of the data must be tensors"),
        (
            {"data": ((torch.rand(4, 5, 3), torch.zeros(4).long()),) * 2},
            r"layer 0 \(Linear\): Linear\(in_features=6, ",
        ),
        ({"data": ((torch.rand(4, 5, 6), torch.rand(4)),) * 2}, "where labels are no classes, pass a loss of your own"),
        ({"data": ((torch.rand(4, 5, 6).numpy(), torch.zeros(4)),) * 2}, "must be tensors: pass torch.as_tensor"),
        (
            {"loss": nn.CrossEntropyLoss()},
            r"the loss does not work .* got traces \[T, B, C\] of \[9, 16, 2\], labels .* and lengths",
        ),
        ({"loss": "ce"}, "loss must be a function of traces and labels, .* got 'ce'"),
        ({"metric": "acc"}, "metric must be a function that returns"),
        ({"optimiser": 3}, "optimiser must be a function from parameters to an optimiser"),
        ({"recipe": nn.LSTM(6, 2), "data": ((torch.rand(4, 5, 6), torch.zeros(4).long()),) * 2}, "got a tuple"),
        ({"recipe": rv.LIF()}, "nothing can be trained"),
    ],
)
def test_what_cannot_work_is_refused_before_a_folder_is_made(tmp_path, settings, message):
    settings = {"data": (Recordings(40), Recordings(20)), **settings}
    with pytest.raises((ValueError, TypeError), match=message):
        run(settings.pop("recipe", net()), tmp_path / "run", **settings)
    assert not list(tmp_path.iterdir())


class Early(nn.Module):
    """A net that sums over time itself, and heeds lengths."""

    def __init__(self):
        super().__init__()
        self.inner = net()

    def forward(self, x, lengths=None):
        return (self.inner(x) if lengths is None else rv.padded(self.inner, x, lengths)).sum(0, keepdim=True)


@pytest.mark.parametrize("tbptt", [0, 4])
def test_what_is_behind_the_end_of_a_recording_changes_nothing(tmp_path, tbptt):
    """One update on a padded batch is that of its recordings one by one, whatever the padding holds."""
    pairs = [Recordings(12)[k] for k in range(12)]
    garbage = lambda batch: ((x := rv.data.pad([x for x, _ in batch], torch.nan))[0],  # noqa: E731
                             torch.stack([y for _, y in batch]), x[1])  # fmt: skip
    loaders = [DataLoader(pairs, 12, collate_fn=garbage)] * 2
    settings = {"epochs": 1, "tbptt": tbptt, "optimiser": lambda p: torch.optim.SGD(p, 1.0)}
    result = run(net(), tmp_path / "run", data=loaders, **settings)
    alone, chunk, loss = net(), tbptt or 99, rv.loss.mean_crossentropy(0.1)
    for x, label in pairs:
        state, outputs = None, []
        for part in x.unsqueeze(1).split(chunk):
            y, state = rv.scan(alone, part, rv.detach(state) if state else None)
            outputs.append(y)
        (loss(torch.cat(outputs), label[None]) / 12).backward()
    for mine, wanted in zip(result.net.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(mine, wanted - wanted.grad, rtol=1e-5, atol=1e-6)
    rates = [z.mean() for x, _ in pairs for z in rv.record(result.net, x.unsqueeze(1), "z").values()]
    assert result.figures["firing_rate"]["LIF 1"] == pytest.approx(
        float(torch.stack(rates[::2]).detach().mean()), abs=1e-4
    )


def test_a_net_that_heeds_lengths_itself(tmp_path):
    result = run(Early(), tmp_path / "run", data=(Recordings(40), Recordings(20)), epochs=2)
    assert result.history[0]["rate LIF inner.1"] > 0 and "LIF inner.1" in result.figures["firing_rate"]
    shrinks = nn.Sequential(net(), nn.Flatten(0, 1))
    with pytest.raises(ValueError, match="one that sums over time itself must use the lengths"):
        run(shrinks, tmp_path / "not", data=(Recordings(40), Recordings(20)))


class MeanLoss(nn.Module):
    def forward(self, traces, labels, lengths=None):
        return rv.loss.mean_crossentropy()(traces, labels, lengths)


@pytest.mark.parametrize("loss", [None, rv.loss.mean_crossentropy(), MeanLoss()], ids=["default", "ours", "a module"])
def test_a_padded_network_is_trained_on_tensors_whose_ends_are_nan(tmp_path, loss):
    torch.manual_seed(0)
    x, labels = torch.randn(40, 12, 3), torch.arange(40) % 2
    x += labels.view(-1, 1, 1)
    x[::3, 8:] = torch.nan
    net = rv.Padded(rv.Sequential(nn.Linear(3, 8), rv.LIF(), nn.Linear(8, 2), rv.LI()))
    found = run(net, tmp_path / "run", data=((x, labels),) * 3, epochs=6, batch=8, loss=loss)
    assert found.accuracy > 0.8 and all(p.isfinite().all() for p in net.parameters())
