"""Spyx's loaders, its `fit`, and its phasors."""

import inspect
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from ranvier.compat.spyx import axn, data, fn, nn, optimize, phasor
from ranvier.data import Packed, Recordings, Split, Splits, packed

GOLDEN = Path(__file__).parents[1] / "golden"


def recordings(steps, places, count=(20, 10, 7)):
    torch.manual_seed(0)
    return Recordings(*(Packed((torch.rand(n, steps, *places) < 0.3).float(), torch.arange(n) % 10) for n in count))


@pytest.mark.parametrize(
    "loader, where, places",
    [(data.SHD_loader, "shd", (16,)), (data.NMNIST_loader, "nmnist", (2, 34, 34))],
)
def test_recorded_sets(loader, where, places, monkeypatch):
    asked = []
    given = recordings(12, places)
    monkeypatch.setattr(f"ranvier.data.events.{where}", lambda *a, **k: asked.append((a, k)) or given)
    made = loader(batch_size=4, sample_T=12, download_dir="files")
    assert asked[0][0][:2] == ("files", 12)
    obs, labels = made.train_epoch(7)
    assert obs.shape == (5, 4, 2, *places) and obs.dtype == torch.uint8 and labels.shape == (5, 4)
    assert torch.equal(obs, made.train_epoch(7).obs) and not torch.equal(obs, made.train_epoch(8).obs)
    still = made.val_epoch()
    assert still.obs.shape == (2, 4, 2, *places) and made.test_epoch().labels.tolist() == [[0, 1, 2, 3]]
    assert torch.equal(still.obs, made.prestage("val").obs) and (made.train_len, made.val_len) == (20, 10)
    steps = packed.unpack(still.obs[0], 12, axis=1)
    assert torch.equal(steps, given.validation[:4][0].transpose(0, 1))
    assert np.array_equal(steps, np.unpackbits(still.obs[0].numpy(), axis=1)[:, :12])
    with pytest.raises(ValueError, match="must be one of"):
        made.prestage("validation")
    with pytest.raises(ValueError, match="not one batch of 8"):
        loader(batch_size=8).test_epoch()


def test_mnist_is_drawn_from_its_pixels(monkeypatch):
    x, labels = torch.zeros(40, 1, 28, 28), torch.arange(40) % 10
    x[:, 0, 5] = 1.0
    parts = Splits(Split(x[:30], labels[:30]), Split(x[30:], labels[30:]), Split(x[:20], labels[:20]))
    monkeypatch.setattr("ranvier.data.sets.mnist", lambda folder: parts)
    made = data.MNIST_loader(batch_size=5, sample_T=16, max_rate=0.5)
    obs, labels = made.train_epoch(0)
    assert obs.shape == (6, 5, 2, 1, 28, 28) and made.val_len == 10 and made.test_len == 20
    spikes = packed.unpack(obs.flatten(0, 1), 16, axis=1)
    assert spikes[..., 5, :].mean() == pytest.approx(0.5, abs=0.02) and spikes[..., 6, :].sum() == 0


def test_absent_files_are_told(tmp_path, monkeypatch):
    monkeypatch.delenv("RANVIER_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="zenkelab"):
        data.SHD_loader(download_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        data.NMNIST_loader(download_dir=tmp_path / "typo")


def test_fit_trains_the_quickstart():
    torch.manual_seed(0)
    model = nn.Sequential(
        torch.nn.Linear(8, 32), nn.LIF((32,), activation=axn.triangular()), torch.nn.Linear(32, 3), nn.LI((3,))
    )
    loss, accuracy = fn.integral_crossentropy(time_axis=0), fn.integral_accuracy(time_axis=0)

    def batches():
        draws = torch.Generator().manual_seed(1)
        for _ in range(8):
            labels = torch.randint(3, (32,), generator=draws)
            chance = torch.full((32, 8), 0.05)
            chance[torch.arange(32), labels] = 0.5
            yield (torch.rand(16, 32, 8, generator=draws) < chance).float(), labels

    def score(model, x, labels):
        y = nn.run(model, x)[0]
        return accuracy(y, labels)[0], loss(y, labels)

    seen = []
    history = optimize.fit(
        model, lambda parameters: torch.optim.Adam(parameters, 5e-3), lambda m, x, y: loss(nn.run(m, x)[0], y), batches,
        epochs=8, eval_iter=batches, eval_fn=score, on_epoch_end=lambda epoch, row: seen.append((epoch, row)),
    )  # fmt: skip
    assert [row for _, row in seen] == history and list(history[0]) == ["train_loss", "eval_acc", "eval_loss"]
    assert history[-1]["train_loss"] < history[0]["train_loss"] and history[-1]["eval_acc"] > 0.8
    adam = torch.optim.Adam(model.parameters())
    with pytest.raises(RuntimeError, match="no batch"):
        optimize.fit(model, adam, loss, lambda: [], epochs=1)


def test_phasors():
    (case,) = (
        c
        for c in json.loads((GOLDEN / "spyx_phasor_experimental.json").read_text())["cases"]
        if c["fn"] == "PhasorActivation"
    )
    z, wanted = (torch.complex(*(torch.tensor(case[k][part]) for part in ("re", "im"))) for k in ("z", "y"))
    assert_close(phasor.PhasorActivation()(z), wanted)
    x = torch.tensor([0.0, 0.25, 0.9])
    z = phasor.real_to_phasor(x)
    assert z.dtype == torch.complex64
    assert_close(phasor.phase_of(z), math.pi * x)
    assert_close(phasor.phasor_to_real(z), torch.cos(math.pi * x))


def test_phasor_layers():
    layer = phasor.PhasorLinear(400, 300, rngs=0)
    assert layer.weight.std().item() == pytest.approx(800**-0.5, rel=0.02) and layer.bias.abs().sum() == 0
    assert torch.equal(layer.weight, phasor.PhasorLinear(400, 300, rngs=0).weight)
    z = phasor.real_to_phasor(torch.rand(5, 400))
    by_hand = z @ torch.complex(layer.weight[..., 0], layer.weight[..., 1]).t()
    assert_close(layer(z), by_hand)
    with pytest.raises(TypeError, match="must be complex"):
        layer(torch.rand(5, 400))
    net = phasor.PhasorMLP(8, 16, 3, depth=2, rngs=1)
    y = net(torch.rand(5, 8))
    y.square().sum().backward()
    assert y.shape == (5, 3) and all(p.grad.abs().sum() > 0 for p in net.parameters())
    with pytest.raises(ValueError, match="depth"):
        phasor.PhasorMLP(8, 16, 3, depth=0)


def test_spiking_phasor_says_what_the_phasors_say():
    layer = phasor.PhasorLinear(6, 4, rngs=2)
    theta = torch.rand(5, 6) * 2 - 1
    spikes = phasor.SpikingPhasor(layer, 256)(phasor.phase_to_spikes(theta, 256))
    assert spikes.shape == (256, 5, 4) and torch.equal(spikes.sum(0), torch.ones(5, 4))
    wanted = layer(phasor.real_to_phasor(theta, 1.0)).angle()
    off = torch.remainder(phasor.spikes_to_phase(spikes) - wanted + math.pi, 2 * math.pi) - math.pi
    assert off.abs().max() < 0.2
    with pytest.raises(ValueError, match="period_T"):
        phasor.SpikingPhasor(layer, 0)


SIGNATURES = {
    data.SHD_loader: "batch_size sample_T channels val_size",
    data.NMNIST_loader: "batch_size sample_T data_subsample val_size key download_dir",
    data.MNIST_loader: "batch_size sample_T max_rate val_size data_subsample key download_dir",
    optimize.fit: "model tx loss_fn train_iter epochs eval_iter eval_fn on_epoch_end",
    phasor.PhasorLinear: "in_features out_features use_bias rngs",
    phasor.PhasorReadout: "in_features out_features rngs",
    phasor.PhasorMLP: "in_features hidden_features out_features depth rngs",
    phasor.SpikingPhasor: "phasor_layer period_T",
}


@pytest.mark.parametrize("function", SIGNATURES, ids=lambda f: f.__name__)
def test_signatures(function):
    wanted = SIGNATURES[function].split()
    assert list(inspect.signature(function).parameters)[: len(wanted)] == wanted
