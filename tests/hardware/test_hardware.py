"""Weight clamps, records, the simulated chip, and training with it in the loop."""

import pytest
import torch
from torch import nn

import ranvier as rv
from ranvier import hardware as hw

TAUS = dict(tau_mem=6e-6, tau_syn=6e-6, dt=1e-6)


@pytest.fixture(autouse=True)
def backend():
    with rv.backend("reference"):
        yield


def test_exponential_clamp_is_smooth_and_bounded():
    w = torch.linspace(-5, 5, 10001, dtype=torch.float64, requires_grad=True)
    for start in (1.0, 40.0, 61.0, 62.9):
        y = hw.exponential(w, 1.5, start)
        (g,) = torch.autograd.grad(y.sum(), w)
        assert (y.abs() <= 1.5 + 1e-12).all() and torch.isfinite(g).all() and (g >= 0).all()
        assert (y[1:] - y[:-1]).abs().max() < 1.1e-3  # no jump
    for wrong in (0.0, 63.0, 70.0):
        with pytest.raises(ValueError):
            hw.exponential(w, 1.5, wrong)


def test_masked_weights_get_no_gradient_and_are_not_written():
    layer = hw.MaskedLinear(torch.tensor([[True, False], [False, True]]))
    before = layer.weight.detach().clone()
    layer(torch.ones(3, 2)).sum().backward()
    assert torch.equal(layer.weight.detach(), before) and not layer.weight.grad[~layer.mask].any()
    assert "mask" in layer.state_dict()


def test_batch_dropout_is_one_mask_for_a_run_and_its_chunks():
    layer = hw.BatchDropout(0.5)
    y, state = layer.scan(torch.ones(4, 3, 50))
    assert torch.equal(y, y[:1, :1].expand_as(y)) and set(y.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(layer.scan(torch.ones(4, 3, 50), state)[0], y)


def test_records_on_the_grid():
    zero = torch.zeros(4, dtype=torch.long)
    grid = hw.spike_bins(torch.tensor([0.0, 1.2e-6, 0.9e-6, 9e-6]), zero, zero, (4, 1, 1), 1e-6)
    assert grid.flatten().tolist() == [1.0, 1.0, 0.0, 0.0]
    v = torch.tensor([1.0, 3.0]).reshape(2, 1, 1)
    assert hw.sample_bins(torch.tensor([1e-6, 3e-6]), v, 6, 1e-6).flatten().tolist() == pytest.approx(
        [1, 1, 2, 3, 3, 3]
    )
    near = hw.sample_bins(torch.tensor([1e-6, 3e-6]), v, 6, 1.1e-6, "nearest").flatten().tolist()
    assert near == [1, 1, 3, 3, 3, 3]
    assert hw.record.steps(30e-6, 1e-6) == 31


def test_the_same_seed_makes_the_same_chip_and_another_another():
    x = torch.ones(30, 2, 4)
    runs = []
    for seed in (0, 0, 1):
        chip = hw.SimulatedChip([4, 6, 2], seed=seed)
        chip.write([torch.full((6, 4), 30.0), torch.full((2, 6), 20.0)])
        torch.manual_seed(0)  # of the noise
        runs.append(chip.run(x))
    assert isinstance(chip, hw.Substrate)
    assert torch.equal(runs[0][1].voltage, runs[1][1].voltage) and not torch.equal(
        runs[0][1].voltage, runs[2][1].voltage
    )
    v = runs[0][1].voltage
    assert not torch.equal(chip.run(x)[1].voltage, runs[2][1].voltage)  # the noise is new at every run
    assert torch.equal(v, v.round()) and v.min() >= 0 and v.max() <= 255
    with pytest.raises(ValueError):
        chip.write([torch.zeros(1, 1)])


def model(inputs=4, hidden=10, out=3):
    net = rv.Sequential(
        nn.Linear(inputs, hidden, bias=False), rv.PhysicalLIF(**TAUS),
        nn.Linear(hidden, out, bias=False), rv.PhysicalLI(**TAUS),
    )  # fmt: skip
    with torch.no_grad():
        net[0].weight.normal_(0.8, 0.3)
    return net


def test_calibration_is_measured_and_right_on_an_ideal_chip():
    net = model()
    chip = hw.SimulatedChip([4, 10, 3], mismatch=0.0, noise=0.2)
    hidden, readout = hw.calibrate(chip, [net[1], net[3]])
    assert abs(hidden.trace_scale * 70 - 1) < 0.1  # 70 levels from rest to threshold
    assert abs(hidden.weight_scale * 1.4 / 70 - 1) < 0.15 and readout.weight_scale == 20.0
    assert (hidden.offset - 80).abs().max() < 0.5


def test_in_the_loop_values_are_the_chips_and_gradients_the_models():
    net = model()
    chip = hw.SimulatedChip([4, 10, 3], seed=3)
    loop = hw.InTheLoop(net, chip, hw.calibrate(chip, [net[1], net[3]]))
    x = (torch.rand(38, 8, 4) > 0.8).float()
    y = loop(x)
    records = chip.run(x)
    wanted = loop.calibrations[1].trace(records[1].voltage)
    assert y.shape == (38, 8, 3) and (y - wanted).abs().mean() < 3 * loop.calibrations[1].trace_scale  # the noise
    y.amax(0).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    with pytest.raises(ValueError):
        hw.InTheLoop(net, chip, [])
