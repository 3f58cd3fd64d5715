import pytest
import torch
from torch import nn

import ranvier as rv
from ranvier.train.energy import addition, energy, product
from ranvier.train.torchmetric import IntegralAccuracy, SpikeRate, SynapticOperations


def spikes(*shape, rate=0.2):
    return (torch.rand(*shape) < rate).float()


def test_operations_are_counted():
    x = spikes(10, 4, 30)
    report = energy(rv.Sequential(nn.Linear(30, 7), rv.LIF()), x)
    weights, neurons = report.layers
    assert weights.operations == pytest.approx(x.sum().item() * 7 / 4)
    assert weights.activity == pytest.approx(x.mean().item()) and weights.dense == 210
    assert neurons.operations == 70 and neurons.dense == 0
    assert report.activation_bits == 4  # counts 0..10


def test_convolution_counts_its_edges():
    x = spikes(3, 2, 2, 6, 6)
    (weights,) = energy(rv.Sequential(nn.Conv2d(2, 4, 3, padding=1, stride=2)), x).layers
    expected = 0
    for t, b, _, i, j in x.nonzero().tolist():
        del t, b
        rows = sum(1 for o in range(3) if 0 <= i - 2 * o + 1 < 3)
        columns = sum(1 for o in range(3) if 0 <= j - 2 * o + 1 < 3)
        expected += rows * columns * 4
    assert weights.operations == pytest.approx(expected / 2)


def test_analogue_input_is_multiplied_and_constant_input_once():
    net = rv.Sequential(nn.Linear(5, 5), rv.LIF())
    anew, once = energy(net, torch.rand(8, 2, 5)), energy(net, torch.rand(2, 5).expand(8, 2, 5))
    assert anew.layers[0].activity is None
    assert anew.layers[0].operations == 8 * 25 and once.layers[0].operations == 25
    assert anew.layers[0].spiking_pj == pytest.approx(8 * once.layers[0].spiking_pj)


def test_feedback_is_counted_once():
    net = rv.Sequential(nn.Linear(6, 9), rv.Recurrent(rv.LIF(threshold=0.2), 9))
    x = spikes(12, 3, 6)
    report = energy(net, x)
    assert [layer.path for layer in report.layers] == ["0", "1", "1.feedback"]
    assert report.layers[2].operations == pytest.approx(net(x).sum().item() * 9 / 3)


def test_at_its_break_even_it_breaks_even():
    net = rv.Sequential(nn.Linear(400, 300))
    at = energy(net, spikes(10, 2, 400)).break_even
    assert 0 < at < 1
    there = energy(net, spikes(10, 50, 400, rate=at))
    assert there.spiking_pj == pytest.approx(there.dense_pj, rel=0.02)


def test_states_alone_can_cost_more():
    report = energy(rv.Sequential(nn.Linear(2, 500), rv.LIF()), spikes(50, 2, 2))
    assert report.break_even == 0 and "alone cost more" in str(report) and report.spiking_pj > report.dense_pj


def test_constants_are_those_of_the_table():
    """Horowitz 2014, 45 nm, integers: add 8 bits 0.03 pJ, 32 bits 0.1; multiply 8 bits 0.2, 32 bits 3.1."""
    assert addition(32) == pytest.approx(0.1) and addition(8) == pytest.approx(0.03, rel=0.2)
    assert product(32, 32) == pytest.approx(3.1) and product(8, 8) == pytest.approx(0.2, rel=0.05)


def test_refusals():
    with pytest.raises(ValueError, match="sequence"):
        energy(nn.Linear(3, 3), torch.rand(2, 3))
    with pytest.raises(ValueError, match="count"):
        energy(nn.Flatten(2), torch.rand(2, 2, 3))


def test_torchmetrics_sum_over_batches():
    accuracy, rate, operations = IntegralAccuracy(), SpikeRate(), SynapticOperations()
    net = rv.Sequential(nn.Linear(4, 3), rv.LIF())
    for size in (3, 5):
        traces = torch.zeros(2, size, 3)
        traces[..., 1] = 1.0
        accuracy.update(traces, torch.ones(size, dtype=torch.int64) if size == 3 else torch.zeros(size).long())
        rate.update(torch.full((2, size, 3), float(size == 3)))
        operations.update(net, torch.ones(2, size, 4))
    assert accuracy.compute().item() == pytest.approx(3 / 8) == rate.compute().item()
    assert operations.compute().item() == 2 * 4 * 3
    accuracy.reset()
    assert accuracy.seen == 0


def test_steps_behind_the_end_cost_nothing():
    net = rv.Sequential(
        nn.Conv1d(2, 3, 3, padding=1), nn.BatchNorm1d(3), rv.LIF(threshold=0.3), nn.Flatten(),
        rv.Linear(15, 6), rv.Recurrent(rv.LIF(threshold=0.2), 6),
    ).eval()  # fmt: skip
    x, lengths = spikes(9, 3, 2, 5), torch.tensor([9, 2, 4])
    report = energy(net, x, lengths)
    alone = [energy(net, x[:n, b : b + 1]) for b, n in enumerate(lengths.tolist())]
    assert report.steps == 5 and str(report).startswith("per sample, 5 steps")
    for k, layer in enumerate(report.layers):
        assert layer.operations == pytest.approx(sum(one.layers[k].operations for one in alone) / 3)
        assert layer.spiking_pj == pytest.approx(sum(one.layers[k].spiking_pj for one in alone) / 3)
        assert layer.dense == alone[0].layers[k].dense


def test_delayed_connections_are_counted_as_connections():
    x = spikes(10, 4, 30)
    delayed, plain = (energy(rv.Sequential(m, rv.LIF()), x) for m in (rv.DelayedLinear(30, 7, 4), nn.Linear(30, 7)))
    assert delayed.layers[0] == plain.layers[0] and not delayed.uncounted


def test_layers_with_weights_that_are_not_counted_are_named():
    net = rv.Sequential(
        nn.Linear(6, 6), rv.Recurrent(rv.LIF(), 6), rv.DropConnectLinear(6, 5), nn.BatchNorm1d(5), rv.LIF()
    )
    report = energy(net, spikes(4, 3, 6))
    assert report.uncounted == ("2",) and "not counted, though they have weights: 2" in str(report)

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.matrix = nn.Parameter(torch.eye(6))

        def forward(self, z):
            return z @ self.matrix

    for feedback, left in ((Own(), "1.feedback"), (nn.Sequential(nn.Linear(6, 6)), "1.feedback.0")):
        back = rv.Sequential(nn.Linear(6, 6), rv.Recurrent(rv.LIF(), feedback))
        assert energy(back, spikes(4, 3, 6)).uncounted == (left,)
