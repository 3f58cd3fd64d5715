"""Recordings of different length in one batch: every layer gives what it gives for each recording by itself."""

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import ranvier as rv
from everything import EXAMPLES
from ranvier.doctor import diagnose
from ranvier.train.energy import energy
from ranvier.train.evaluate import spikes_of

LENGTHS = torch.tensor([9, 4, 1, 7])
LAYERS = [name for name in EXAMPLES if not name.startswith("Timed")]  # those take pairs (spikes, times)


def batch(features, dtype=torch.float64, seed=0):
    x = torch.rand(9, 4, *features, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 1.6 - 0.3
    return torch.where(rv.nn.padded.within(LENGTHS, 9).view(9, 4, *[1] * len(features)), x, torch.nan)


def one_by_one(layer, x, lengths=LENGTHS):
    """Outputs, gradients of x and of the parameters, each recording by itself, its loss weighted by step."""
    x = x.clone().requires_grad_()
    outputs = [layer(x[:n, b : b + 1])[:, 0] for b, n in enumerate(lengths.tolist())]
    loss(torch.cat(outputs)).backward()
    return outputs, x.grad, [p.grad for p in layer.parameters()]


def together(layer, x, lengths=LENGTHS):
    x = x.clone().requires_grad_()
    y = rv.padded(layer, x, lengths)
    loss(torch.cat([y[:n, b] for b, n in enumerate(lengths.tolist())])).backward()
    assert all(y[n:, b].abs().sum() == 0 for b, n in enumerate(lengths.tolist()))
    return [y[:n, b] for b, n in enumerate(lengths.tolist())], x.grad, [p.grad for p in layer.parameters()]


def loss(y):
    return (y * torch.linspace(0.5, 1.5, y.shape[0], dtype=y.dtype).view(-1, *[1] * (y.dim() - 1))).square().sum()


def agree(one, two):
    for a, b in zip(one[0], two[0], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(one[1], two[1], rtol=1e-6, atol=1e-6)
    for a, b in zip(one[2], two[2], strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_gives_what_it_gives_alone(name):
    example = EXAMPLES[name]
    layer = example.build().double().eval()
    if isinstance(layer, rv.Neuron) and len(layer.inputs) > 1:
        pytest.skip("a net has one input")
    with rv.backend("reference"):  # the backends agree with it by other tests
        x = batch(example.features)
        agree(one_by_one(layer, x), together(copy.deepcopy(layer), x))


NORMS = {
    "Sequential": lambda: rv.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)),
    "ThresholdBatchNorm1d": lambda: rv.ThresholdBatchNorm1d(3),
    "TemporalEffectiveBatchNorm1d": lambda: rv.TemporalEffectiveBatchNorm1d(3, steps=9),
}


@pytest.mark.parametrize("name", NORMS)
def test_batch_norms_see_only_the_steps_there_are(name):
    """In training: outputs, gradients and running statistics of a batch norm on the valid steps alone."""
    torch.manual_seed(1)
    net, x = NORMS[name]().double(), batch((3,))
    alone, valid = copy.deepcopy(net), rv.nn.padded.within(LENGTHS, 9)
    net.train(), alone.train()
    given = x.clone().requires_grad_()
    y = rv.padded(net, given, LENGTHS)
    loss(y[valid]).backward()
    plain = x[valid].clone().requires_grad_()
    scale = getattr(alone, "scale", torch.ones(9, dtype=torch.float64))
    norm = alone[1] if name == "Sequential" else alone
    h = alone[0](plain) if name == "Sequential" else plain
    wanted = nn.functional.batch_norm(h, norm.running_mean, norm.running_var, norm.weight, norm.bias, True, 0.1)
    wanted = wanted * scale.view(9, 1).expand(9, 4)[valid].unsqueeze(1)
    loss(wanted).backward()
    torch.testing.assert_close(y[valid], wanted)
    torch.testing.assert_close(given.grad[valid], plain.grad)
    assert given.grad[~valid].abs().sum() == 0
    mine = net[1] if name == "Sequential" else net
    torch.testing.assert_close(mine.running_mean, norm.running_mean)
    torch.testing.assert_close(mine.running_var, norm.running_var)
    for a, b in zip(net.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    assert not mine._forward_hooks and not mine._forward_pre_hooks and "normalise" not in vars(mine)


def test_a_norm_of_each_step_sees_the_recordings_that_have_it():
    net, x = rv.BatchNormThroughTime1d(3, steps=9).double().train(), batch((3,))
    lengths = torch.tensor([9, 9, 4, 7])
    x = x.nan_to_num()
    rv.padded(net, x, lengths)
    for t, norm in enumerate(net.norms):
        there = x[t, lengths > t]
        torch.testing.assert_close(norm.running_mean, 0.1 * there.mean(0))
        torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * there.var(0))


def test_a_net_on_its_fast_backend():
    """Fused stages, recurrence and batch norm, float32: as one by one."""
    torch.manual_seed(2)
    net = rv.Sequential(
        rv.Linear(5, 16), nn.BatchNorm1d(16), rv.LIF(), rv.Linear(16, 12), rv.Recurrent(rv.ALIF(), 12),
        rv.Linear(12, 3), rv.LI(),
    ).eval()  # fmt: skip
    x = batch((5,), torch.float32) * 3
    one, two = one_by_one(net, x), together(copy.deepcopy(net), x)
    for a, b in zip([*one[0], *one[2]], [*two[0], *two[2]], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert torch.stack([y.abs().sum() for y in two[0]]).min() > 0


def test_recordings_that_bear_their_length():
    x = batch((3,), torch.float32)
    assert rv.lengths_of(x).tolist() == LENGTHS.tolist()
    net = rv.Sequential(nn.Linear(3, 2), rv.LI())
    y = rv.Padded(net)(x)
    assert rv.lengths_of(y).tolist() == LENGTHS.tolist()
    assert torch.equal(y.nan_to_num(), rv.padded(net, x, LENGTHS))
    labels = torch.tensor([0, 1, 0, 1])
    rv.loss.mean_crossentropy()(y, labels, rv.lengths_of(y)).backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in net.parameters())
    x[1, 0] = torch.nan
    with pytest.raises(ValueError, match="recording 0 has NaN before its end"):
        rv.lengths_of(x)
    with pytest.raises(ValueError, match="recording 2 has no step"):
        rv.lengths_of(torch.where(torch.arange(4).view(1, 4, 1) == 2, torch.nan, torch.zeros(3, 4, 2)))


def test_what_padding_cannot_serve_is_refused():
    x, lengths = torch.rand(4, 2, 3), torch.tensor([4, 2])
    net = rv.Sequential(nn.Linear(3, 3), rv.PSN(4))
    with pytest.raises(ValueError, match=r"layer '1' \(PSN\) mixes all 4 steps"):
        rv.padded(net, x, lengths)
    assert rv.padded(net, x, torch.tensor([4, 4])).shape == x.shape
    with pytest.raises(ValueError, match="a state would include the padding"):
        rv.scan(rv.Padded(rv.LI()), x)
    assert list(rv.record(rv.Padded(rv.LIF()), x, "v")) == ["net"]
    for wrong, said in ((torch.tensor([4, 5]), "got 4 to 5"), (torch.tensor([0, 4]), "got 0 to 4"),
                        (torch.tensor([4]), r"lengths \[B\]"), ([4, 2], "got .* and list")):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            rv.padded(net, x, wrong)
    with pytest.raises(TypeError, match="whole numbers"):
        rv.padded(net, x, torch.tensor([4.0, 2.0]))
    with pytest.raises(ValueError, match=r"must return \[T, B, \*features\]"):
        rv.padded(nn.Flatten(0), x, lengths)


@pytest.mark.parametrize("ends", [[9, 9], [9, 5]], ids=["equally long", "padded"])
def test_output_and_input_have_memory_of_their_own(ends):
    class Same(nn.Module):
        def forward(self, x):
            return x

    x, lengths = torch.rand(9, 2, 3), torch.tensor(ends)
    before = x.clone()
    rv.padded(Same(), x, lengths).zero_()
    rv.Padded(Same())(x).zero_()
    rv.Padded(rv.Sequential(nn.LeakyReLU(0.1, inplace=True), nn.Linear(3, 4), rv.LI()))(x - 0.5)
    assert torch.equal(x, before)


@pytest.mark.filterwarnings("ignore")  # tracing is deprecated, and warns of every branch
def test_a_trace_of_equally_long_recordings_runs_others():
    net, x = rv.Padded(rv.Sequential(nn.Linear(3, 4), rv.LIF())), torch.rand(9, 2, 3)
    traced = torch.jit.trace(net, (x,), check_trace=False)
    x[5:, 1] = torch.nan
    assert traced(x)[5:, 1].isnan().all() and not traced(x)[:5].isnan().any()


def test_threads_evaluate_one_network_at_once():
    torch.manual_seed(0)
    net = rv.Padded(rv.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), rv.LIF(), nn.Linear(8, 2), rv.LI())).eval()
    ragged, whole = batch((3,), torch.float32), torch.rand(9, 4, 3)
    with torch.no_grad(), ThreadPoolExecutor(2) as pool:
        wanted = [net(x).nan_to_num() for x in (ragged, whole)]
        found = list(pool.map(lambda x: net(x).nan_to_num(), [ragged, whole] * 40))
    assert all(torch.equal(y, wanted[k % 2]) for k, y in enumerate(found))


@pytest.mark.parametrize("layer", [rv.Dropout(0.5), rv.Delay(2), rv.LearnedDelay(8, 4, delay=2.0)], ids=str)
def test_layers_that_pass_spikes_on_are_not_counted_again(layer):
    torch.manual_seed(0)
    net = rv.Sequential(nn.Linear(3, 8), rv.LIF(), layer, nn.Linear(8, 2), rv.LI()).eval()
    assert list(spikes_of(net, 3 * torch.rand(9, 4, 3))) == ["LIF 1"]


def test_padding_counts_in_no_rate_no_energy_and_no_diagnosis():
    torch.manual_seed(0)
    net = rv.Padded(rv.Sequential(nn.Linear(3, 8), rv.LIF(), rv.Dropout(0.5), nn.Linear(8, 2), rv.LI())).eval()
    x = batch((3,), torch.float32) * 3
    each = [x[:n, b : b + 1] for b, n in enumerate(LENGTHS.tolist())]
    net.requires_grad_(False)
    spikes = spikes_of(net, x)
    assert list(spikes) == ["LIF net.1"]  # dropout does not count them again
    assert sum(z.sum() for z in spikes.values()) == sum(spikes_of(net, one)["LIF net.1"].sum() for one in each)
    alone = [energy(net, one) for one in each]
    assert energy(net, x).steps == LENGTHS.float().mean()
    operations = [sum(e.operations for e in whole.layers if e.kind == "neurons") for whole in alone]
    assert energy(net, x).updates == pytest.approx(sum(operations) / 4)
    assert "net.1" in str(rv.explain(net, x))
    (layer,) = diagnose(net, x).layers
    assert layer.rate == pytest.approx(float(spikes["LIF net.1"].sum() / LENGTHS.sum() / 8))
