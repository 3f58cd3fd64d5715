"""hxtorch's example as a whole: its data set, and its first losses against a plain loop of the published equations."""

import runpy
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

import ranvier.compat.hxtorch as hxtorch
from ranvier.compat.hxtorch import spiking as hx
from ranvier.compat.hxtorch.spiking.datasets.yinyang import YinYangDataset

PROGRAM = Path(__file__).parents[3] / "examples" / "moving" / "hxtorch_yinyang.py"
DT, TAU = 1e-6, 6e-6


def loop(spikes, into, out):
    """The membranes of the readout: Euler, current one step late, silence of one step, the readout's C at 10 us."""
    v = i = silent = torch.zeros(spikes.shape[1], len(into))
    u = j = torch.zeros(spikes.shape[1], len(out))
    membranes = []
    for x in spikes @ into.T:
        v, i = v + DT / TAU * (i - v), i * (1 - DT / TAU) + x
        z = hx.functional.SuperSpike.apply(v - 1.0, 50.0)
        v = v * (1 - z.detach())
        v, z = v * (1 - silent), z * (1 - silent)
        silent = z.detach()
        u, j = u + DT / 10e-6 * (j - 10e-6 / TAU * u), j * (1 - DT / TAU) + z @ out.T
        membranes.append(u)
    return torch.stack(membranes)


def test_losses_are_those_of_the_equations():
    program = runpy.run_path(str(PROGRAM))
    losses = program["main"](3)
    torch.manual_seed(0)
    encode = hx.transforms.CoordinatesToSpikes(seq_length=38, t_early=2e-6, t_late=26e-6, dt=DT, t_bias=2e-6)
    batches = iter(DataLoader(YinYangDataset(size=150, seed=42), batch_size=50))
    net = program["Net"]()
    into, out = net.into.weight, net.out.weight
    optimizer = torch.optim.Adam([into, out], lr=2e-3)
    for loss, (points, classes) in zip(losses, batches, strict=True):
        scores = loop(encode(points).float(), into, out).amax(0)
        wanted = torch.nn.functional.cross_entropy(scores, classes) + 4e-4 * (scores**2).mean()
        assert loss == pytest.approx(wanted.item(), rel=1e-5)
        optimizer.zero_grad()
        wanted.backward()
        optimizer.step()


def test_data_set():
    points = YinYangDataset(size=5000, seed=42, transform=torch.from_numpy)
    x, c = points[0]
    assert x.tolist() == [0.6803075385877797, 0.450499251969543, 0.3196924614122203, 0.549500748030457] and c == 2
    counts = torch.bincount(torch.tensor([points[k][1] for k in range(len(points))]))
    assert counts.tolist() == [1681, 1702, 1617] and points.class_names == ["yin", "yang", "dot"]
    with pytest.raises(ValueError, match="r_small"):
        YinYangDataset(r_small=0.25)


def test_the_chip_is_refused():
    with pytest.raises(ValueError, match="mock=True"):
        hxtorch.init_hardware()
    with pytest.raises(ValueError, match="mock=True"):
        hx.utils.calib_helper.nightly_calix_native_path("spiking2")
    hxtorch.release_hardware()


def test_the_logger_is_pythons():
    hxtorch.logger.default_config(level=hxtorch.logger.LogLevel.ERROR)
    assert hxtorch.logger.get("ranvier.test").name == "ranvier.test"
