import pytest
import torch
from torch import nn

import ranvier as rv
from ranvier.train import loss, regularise


@pytest.fixture
def net():
    torch.manual_seed(0)
    return rv.Sequential(nn.Linear(4, 6), rv.LIF(), rv.Recurrent(rv.LIF(), 6), nn.Linear(6, 3), rv.LI())


def test_watch_sees_what_record_sees_and_leaves_nothing(net):
    x = torch.rand(12, 5, 4)
    with regularise.watch(net) as spikes:
        net(x)
    recorded = rv.record(net, x, "z")
    assert list(spikes) == ["1", "2"]
    assert all(torch.equal(spikes[k], recorded[k]) for k in spikes)
    assert not any(m._forward_hooks for m in net.modules())


def test_penalties_train(net):
    x = torch.rand(12, 5, 4)
    with regularise.watch(net) as spikes:
        net(x)
    total = regularise.rate_target(6.0)(regularise.counts(spikes))
    total.backward()
    assert net[0].weight.grad.abs().sum() > 0


def test_reductions_and_padding():
    counts = {"a": torch.rand(4, 6) * 5, "b": [torch.rand(4, 2, 3)]}
    for make in (regularise.silence, regularise.sparsity, regularise.rate_target):
        assert make(2.0)(counts) <= make(2.0, reduction="sum")(counts)
        with pytest.raises(ValueError, match="reduction"):
            make(2.0, reduction="max")
    z = torch.ones(10, 2, 3)
    assert regularise.counts(z, torch.tensor([10, 4]))[""].tolist() == [[10.0] * 3, [4.0] * 3]
    with pytest.raises(ValueError, match="spiking layers"):
        regularise.silence(1.0)({})
    with pytest.raises(TypeError):
        regularise.silence(1.0)("spikes")


MAKERS = [loss.mean_crossentropy, loss.max_crossentropy, loss.first_spike_crossentropy, loss.temporal_crossentropy]


@pytest.mark.parametrize("maker", MAKERS)
def test_more_losses_ignore_padding_and_learn(maker):
    torch.manual_seed(0)
    traces = (torch.rand(9, 4, 3) < 0.3).float()
    labels, lengths = torch.tensor([0, 1, 2, 1]), torch.tensor([9, 4, 1, 6])
    padded = traces.clone()
    for b, n in enumerate(lengths):
        padded[n:, b] = float("nan")
    padded.requires_grad_()
    value = maker()(padded, labels, lengths)
    value.backward()
    assert torch.isfinite(padded.grad).all() and torch.isfinite(value)
    alone = torch.stack([maker()(traces[:n, b : b + 1], labels[b : b + 1]) for b, n in enumerate(lengths)])
    if maker is not loss.first_spike_crossentropy:  # a silent class comes at the end of the padded sequence there
        torch.testing.assert_close(value.detach(), alone.mean())
    torch.testing.assert_close(maker(time_axis=1)(traces.transpose(0, 1), labels), maker()(traces, labels))
    with pytest.raises(ValueError, match="labels"):
        maker()(traces, torch.tensor([0, 1, 3, 1]))


def test_first_spike_wants_the_right_class_earlier():
    traces = torch.full((6, 1, 2), 0.0)
    traces[4, 0, 0] = traces[2, 0, 1] = 1.0
    traces.requires_grad_()
    loss.first_spike_crossentropy()(traces, torch.tensor([0])).backward()
    assert (traces.grad[:4, 0, 0] < 0).all() and (traces.grad[:2, 0, 1] > 0).all()


def test_van_rossum():
    a = (torch.rand(50, 3, 4) < 0.2).float()
    assert loss.van_rossum()(a, a) == 0
    near, far = a.roll(1, 0), a.roll(9, 0)
    assert loss.van_rossum(5.0)(a, near) < loss.van_rossum(5.0)(a, far)
    cut = loss.van_rossum(5.0)(a, far, torch.tensor([50, 50, 1]))
    assert cut < loss.van_rossum(5.0)(a, far)
    with pytest.raises(ValueError, match="one shape"):
        loss.van_rossum()(a, a[:-1])
    with pytest.raises(ValueError, match="tau"):
        loss.van_rossum(0.0)


def test_losses_by_name():
    assert set(loss.LOSSES) >= {"integral_crossentropy", "van_rossum", "temporal_crossentropy"}
